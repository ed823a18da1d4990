"""Where ink is and how far it spreads (Hu 1962)."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def moments(mask: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Centre of mass (x, y) and the geometric mean of both standard deviations, in pixels, at least one."""
    return moments_of(profile(mask, 0), profile(mask, 1))


def moments_of(columns: NDArray[np.int32], rows: NDArray[np.int32]) -> tuple[float, float, float]:
    """`moments` of a mask whose profiles are known."""
    x, spread_x = centre(columns)
    y, spread_y = centre(rows)
    return x, y, max(1.0, math.sqrt(spread_x * spread_y))


def centre(ink: NDArray[np.int32]) -> tuple[float, float]:
    weights = ink.astype(np.float64)
    along = np.arange(weights.size)
    mean = float(weights @ along / weights.sum())
    return mean, max(0.5, math.sqrt(float(weights @ (along - mean) ** 2 / weights.sum())))


def profile(mask: NDArray[np.uint8], axis: int) -> NDArray[np.int32]:
    """Ink of each column (`axis` 0) or row (1); the sum, because the maximum takes 50 times as long."""
    return np.asarray(cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel(), np.int32)


def lean(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Angle in radians by which ink (h, w), more is darker, runs down to the right, and how surely, 0 to 1.

    The mean direction of the ink from its centre of mass, each pixel weighed by its distance: the principal axis
    weighs by the square of the distance, and one far stroke turns it more easily. Angles of half a turn apart are
    one direction, so they are doubled before they are averaged (Mardia, 1972).
    """
    weights = grey.astype(np.float64)
    total = max(float(weights.sum()), 1.0)
    down, right = (np.arange(size, dtype=np.float64) for size in grey.shape)
    dy, dx = down - weights.sum(1) @ down / total, right - weights.sum(0) @ right / total
    reach = np.hypot(dy[:, None], dx[None]) + 1e-6
    weights /= reach
    across, along = float(weights.sum(0) @ dx**2 - weights.sum(1) @ dy**2), 2 * float(dy @ weights @ dx)
    return 0.5 * math.atan2(along, across), math.hypot(along, across) / max(float((weights * reach**2).sum()), 1e-6)


def spread_when_turned(grey: NDArray[np.uint8], angle: float) -> float:
    """Geometric mean of both standard deviations of ink (h, w) after a turn by `-angle` radians, at least one."""
    m = cv2.moments(grey)
    xx, yy, xy = (m[name] / max(m["m00"], 1.0) for name in ("mu20", "mu02", "mu11"))
    c, s = math.cos(angle), math.sin(angle)
    wide = c * c * xx + 2 * c * s * xy + s * s * yy
    high = s * s * xx - 2 * c * s * xy + c * c * yy
    return max(1.0, math.sqrt(max(0.5, math.sqrt(max(wide, 0.0))) * max(0.5, math.sqrt(max(high, 0.0)))))
