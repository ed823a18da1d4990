"""Pictures that tests draw for themselves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def png(grey: NDArray[np.generic], *options: int) -> bytes:
    return cv2.imencode(".png", grey, options)[1].tobytes()


def paper(height: int = 240, width: int = 500, grey: int = 238, noise: float = 2.0) -> NDArray[np.uint8]:
    drawn = np.random.default_rng(7).normal(grey, noise, (height, width))
    return np.clip(drawn, 0, 255).astype(np.uint8)


def path(seed: int = 0) -> NDArray[np.float64]:
    """A signature's pen path, about 300 x 100 pixels around the origin: waves of several lengths."""
    draw = np.random.default_rng(seed)
    t = np.linspace(0, 1, 600)
    x = 300 * (t - 0.5) + 22 * np.sin(2 * np.pi * (9 * t + draw.random()))
    y = sum(size * np.sin(2 * np.pi * (n * t + draw.random())) for n, size in ((1, 14), (3, 10), (8, 24), (13, 8)))
    return np.stack([x, y], axis=1)


def sign(
    page: NDArray[np.uint8],
    centre: tuple[float, float],
    seed: int = 0,
    scale: float = 1.0,
    ink: int = 60,
    pen: int = 3,
) -> NDArray[np.uint8]:
    """`page` with a signature around `centre` (x, y)."""
    points = np.rint((path(seed) * scale + centre) * 16).astype(np.int32)
    return cv2.polylines(page.copy(), [points[:, None]], False, ink, pen, cv2.LINE_AA, shift=4)


def signature(seed: int = 0, **options: int | float) -> NDArray[np.uint8]:
    return sign(paper(), (250, 120), seed, **options)


def rule(page: NDArray[np.uint8], *heights: int, ink: int = 120, slope: float = 0.0) -> NDArray[np.uint8]:
    page, width = page.copy(), page.shape[1]
    for y in heights:
        cv2.line(page, (0, y), (width - 1, y + round(slope * width)), ink, 2)
    return page


def text(scale: float, lines: int = 5, ink: int = 30) -> NDArray[np.uint8]:
    step = int(34 * scale) + 6
    page = paper(step * (lines + 1), int(520 * scale) + 40)
    for n in range(lines):
        words = "Pay the bearer the sum of ten"[n:]
        cv2.putText(page, words, (15, step * (n + 1)), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(2 * scale)))
    return page


def photo() -> NDArray[np.uint8]:
    """Smooth shapes of every grey, as in a picture of a place."""
    rough = np.random.default_rng(3).normal(0, 1, (300, 400)).astype(np.float32)
    blurred = sum(cv2.GaussianBlur(rough, (0, 0), s) * s for s in (2, 6, 20))
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
