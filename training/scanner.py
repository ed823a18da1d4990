"""From a pen path to the picture that a scanner makes of it: ink on paper, grey, encoded."""

from __future__ import annotations

import cv2
import numpy as np

from training.kinematics import Runs

FINE = 3  # drawn so many times larger, then averaged
MARGIN = 24


def scan(path: Runs, rng: np.random.Generator, height: int = 26) -> bytes:
    """A PNG: grey ink on light paper, `height` pixels to the x-height, reduced to 52 levels to keep it small."""
    ink = inked(path, height)
    shade = cv2.resize(rng.normal(0, 1.5, (3, 5)).astype(np.float32), ink.shape[::-1], interpolation=cv2.INTER_CUBIC)
    paper = rng.uniform(234, 244) + shade
    tone = rng.uniform(40, 95)
    noise = rng.standard_normal(ink.shape, np.float32)
    grey = paper + (tone - paper) * ink + 1.2 * noise
    levels = np.clip(np.round(grey / 5) * 5, 0, 255)
    return cv2.imencode(".png", levels.astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def inked(path: Runs, height: int) -> np.ndarray:
    """How much of each pixel is inked, float32 (h, w) in [0, 1]."""
    every = np.concatenate(path)
    left, top = every[:, 0].min(), every[:, 1].max()
    size = np.ceil((every[:, :2].max(0) - every[:, :2].min(0)) * height).astype(int) + 2 * MARGIN
    sheet = np.zeros((size[1] * FINE, size[0] * FINE), np.uint8)
    for run in path:
        spots = np.column_stack([run[:, 0] - left, top - run[:, 1]]) * height + MARGIN
        points = np.round(spots * FINE).astype(np.int32)
        widths = np.maximum(1, np.round(run[1:, 2] * height * FINE)).astype(int)
        # Stretches of one width are drawn at a time.
        for stretch in np.split(np.arange(len(widths)), np.flatnonzero(np.diff(widths)) + 1):
            line = points[stretch[0] : stretch[-1] + 2]
            cv2.polylines(sheet, [line], False, 255, int(widths[stretch[0]]), cv2.LINE_8)
    shrunk = cv2.resize(sheet, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(shrunk, (0, 0), 0.6), np.float32) / 255
