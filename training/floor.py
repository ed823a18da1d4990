"""The floor: a direction grid with nothing learned. Whatever is trained must beat it on the same writers.

Gradient directions of the ink's edges, gathered in coarse overlapping cells: the descriptor family of
histograms of oriented gradients (Dalal and Triggs, 2005) and of Chinese character recognition's direction maps.
"""

from __future__ import annotations

import cv2
import numpy as np

DIRECTIONS, CELLS, BLUR = 8, (8, 16), 10.0


def gather(size: int, cells: int, blur: float) -> np.ndarray:
    """Gaussian weights float32 (cells, size) that blur an axis of `size` pixels and sample it at cell centres;
    `blur` is a standard deviation in pixels and every row sums to one."""
    centres = (np.arange(cells) + 0.5) * size / cells - 0.5
    weights = np.exp(-0.5 * ((np.arange(size)[None] - centres[:, None]) / blur) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def direction_grid(pixels: np.ndarray) -> np.ndarray:
    """Canvases uint8 (n, h, w) with 1 = ink to descriptors float32 (n, 8 * 16 * 8), to be compared by L1."""
    rows, columns = (gather(size, cells, BLUR) for size, cells in zip(pixels.shape[1:], CELLS, strict=True))
    described = np.empty((len(pixels), CELLS[0] * CELLS[1] * DIRECTIONS), np.float32)
    for index, canvas in enumerate(pixels):
        maps = _direction_maps(canvas)
        cells = np.sqrt(np.maximum(rows @ maps @ columns.T, 0))
        norm = np.linalg.norm(cells**2)
        described[index] = (cells / np.sqrt(max(norm, 1e-12))).transpose(1, 2, 0).ravel()
    return described


def _direction_maps(canvas: np.ndarray) -> np.ndarray:
    """Edge strength float32 (DIRECTIONS, h, w), shared between the two directions nearest to each edge's own."""
    smooth = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 1.0)
    dx, dy = (
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3),
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3),
    )
    strength = np.hypot(dx, dy)
    turn = np.mod(np.arctan2(dy, dx), np.pi) * (DIRECTIONS / np.pi)
    lower = np.floor(turn)
    share = turn - lower
    maps = np.zeros((DIRECTIONS, *canvas.shape), np.float32)
    y, x = np.indices(canvas.shape)
    low = lower.astype(int) % DIRECTIONS
    maps[low, y, x] = strength * (1 - share)
    maps[(low + 1) % DIRECTIONS, y, x] += strength * share
    return maps
