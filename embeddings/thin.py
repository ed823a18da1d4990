"""Thinning: strokes of any pen become lines of one width, so that pen and scanner do not show."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

# A pixel's eight neighbours, clockwise from the one above, as one bit each.
NEIGHBOURS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def thin(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Skeleton, 8-connected and one pixel wide, of `mask` (h, w) uint8 of 0 and 1 (Guo and Hall, 1989)."""
    x, y, w, h = cv2.boundingRect(mask)
    box = np.s_[y : y + h, x : x + w]
    ink, pixels = mask[box], cv2.countNonZero(mask)
    idle = 0  # peelings in a row that took nothing: after one of each kind, no more can
    for table in itertools.cycle(TABLES if pixels else ()):
        ink, before = peel(ink, table), pixels
        pixels = cv2.countNonZero(ink)
        idle = idle + 1 if pixels == before else 0
        if idle == len(TABLES):
            break
    skeleton = np.zeros_like(mask)
    skeleton[box] = ink
    return skeleton


def peel(mask: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    around = cv2.filter2D(mask, cv2.CV_8U, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.bitwise_and(mask, cv2.LUT(around, table)), np.uint8)


def removable(around: int, second: bool) -> bool:
    p2, p3, p4, p5, p6, p7, p8, p9 = ((around >> bit) & 1 for bit in range(8))
    pieces = (~p2 & (p3 | p4)) + (~p4 & (p5 | p6)) + (~p6 & (p7 | p8)) + (~p8 & (p9 | p2))
    pairs = min((p9 | p2) + (p3 | p4) + (p5 | p6) + (p7 | p8), (p2 | p3) + (p4 | p5) + (p6 | p7) + (p8 | p9))
    side = (p2 | p3 | ~p5) & p4 if second else (p6 | p7 | ~p9) & p8
    return pieces == 1 and pairs in (2, 3) and not side


TABLES = [np.array([not removable(c, s) for c in range(256)], np.uint8) for s in (False, True)]
