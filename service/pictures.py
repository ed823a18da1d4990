"""Pictures for people: two signatures side by side, as sent and as the tower sees them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.bundle import Thresholds
from embeddings.decode import decode
from embeddings.preprocess import CANVAS, prepare

Grey = NDArray[np.uint8]

WIDTH, HEIGHT = 480, 240
COLOURS = {"accept": (90, 140, 40), "refer": (30, 140, 210), "reject": (60, 60, 190)}  # BGR


def draw_pair(image_a: bytes, image_b: bytes, score: float, thresholds: Thresholds) -> bytes:
    """PNG bytes: both images above their canvases, and the score with what it means."""
    columns = [np.vstack([_fit(decode(image)), _canvas(image)]) for image in (image_a, image_b)]
    pair = cv2.cvtColor(np.hstack(columns), cv2.COLOR_GRAY2BGR)
    outcome = "accept" if score >= thresholds.accept else "refer" if score >= thresholds.reject else "reject"
    banner = np.full((48, pair.shape[1], 3), COLOURS[outcome], np.uint8)
    text = f"score {score:.3f}   {outcome}"
    cv2.putText(banner, text, (16, 33), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    return cv2.imencode(".png", np.vstack([banner, pair]))[1].tobytes()


def _fit(grey: Grey) -> Grey:
    """Scaled to fit the tile, centred on white, with a thin frame."""
    scale = min((WIDTH - 16) / grey.shape[1], (HEIGHT - 16) / grey.shape[0])
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    tile = np.full((HEIGHT, WIDTH), 255, np.uint8)
    top, left = (HEIGHT - size[1]) // 2, (WIDTH - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return np.asarray(cv2.rectangle(tile, (0, 0), (WIDTH - 1, HEIGHT - 1), 200, 1), np.uint8)


def _canvas(image: bytes) -> Grey:
    ink = prepare(image).canvas.reshape(CANVAS)
    return _fit((255 * (1 - ink)).astype(np.uint8))
