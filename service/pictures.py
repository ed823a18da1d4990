"""Pictures for people: signatures as they were sent, as the tower sees them, and what was answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.bundle import Thresholds
from embeddings.decode import decode
from embeddings.preprocess import prepare

Picture = NDArray[np.uint8]

COLOURS = {"accept": (70, 130, 40), "refer": (20, 130, 200), "reject": (50, 50, 180), None: (110, 110, 110)}  # BGR
PAIR_TILE = (480, 240)
SHEET_TILE = (300, 150)
BANNER = 28


@dataclass(frozen=True)
class Tile:
    image: bytes
    caption: str
    outcome: str | None


def draw_pair(image_a: bytes, image_b: bytes, score: float, thresholds: Thresholds) -> bytes:
    """PNG bytes: both images above their canvases, under the score and what it means."""
    outcome = "accept" if score >= thresholds.accept else "refer" if score >= thresholds.reject else "reject"
    columns = [np.vstack([_fit(decode(image), PAIR_TILE), _canvas(image)]) for image in (image_a, image_b)]
    pair = cv2.cvtColor(np.hstack(columns), cv2.COLOR_GRAY2BGR)
    return _png(np.vstack([_banner(f"score {score:.3f}  {outcome}", outcome, pair.shape[1]), pair]))


def draw_sheet(rows: Sequence[Sequence[Tile]]) -> bytes:
    """PNG bytes: one row a customer, the enrolled signature first, then each questioned one with its outcome."""
    width = max(len(row) for row in rows)
    blank = np.full((SHEET_TILE[1] + BANNER, SHEET_TILE[0], 3), 255, np.uint8)
    return _png(
        np.vstack([np.hstack([_captioned(tile) for tile in row] + [blank] * (width - len(row))) for row in rows])
    )


def _captioned(tile: Tile) -> Picture:
    picture = cv2.cvtColor(_fit(decode(tile.image), SHEET_TILE), cv2.COLOR_GRAY2BGR)
    caption = tile.caption if tile.outcome is None else f"{tile.caption}  {tile.outcome}"
    return np.vstack([_banner(caption, tile.outcome, SHEET_TILE[0]), picture])


def _banner(text: str, outcome: str | None, width: int) -> Picture:
    banner = np.full((BANNER, width, 3), COLOURS[outcome], np.uint8)
    cv2.putText(banner, text, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (255, 255, 255), 1, cv2.LINE_AA)
    return banner


def _fit(grey: Picture, tile: tuple[int, int]) -> Picture:
    """Scaled to fit the tile (width, height), centred on white, in a thin frame."""
    scale = min((tile[0] - 16) / grey.shape[1], (tile[1] - 16) / grey.shape[0])
    width, height = (max(1, round(side * scale)) for side in (grey.shape[1], grey.shape[0]))
    framed = np.full((tile[1], tile[0]), 255, np.uint8)
    top, left = (tile[1] - height) // 2, (tile[0] - width) // 2
    framed[top : top + height, left : left + width] = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    cv2.rectangle(framed, (0, 0), (tile[0] - 1, tile[1] - 1), (205,), 1)
    return framed


def _canvas(image: bytes) -> Picture:
    return _fit((255 * (1 - prepare(image).canvas)).astype(np.uint8), PAIR_TILE)


def _png(picture: Picture) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()
