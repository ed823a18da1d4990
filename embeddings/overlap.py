"""Is it the same ink? Two canvases laid over each other as well as they go.

Nobody signs twice alike. A copy, however it was scanned, printed and scanned again, leaves the same lines in the same
places; what preprocessing leaves of turn and size is taken out here.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.preprocess import CANVAS

Ink = NDArray[np.uint8]  # a canvas of 0 and 1
Points = NDArray[np.float64]

SAME = 0.9  # least overlap of copies; 7199 genuine signatures had 0.89 and less with the most alike of the same hand
NEAR = 1.5  # canvas pixels: half the width of a stroke
REACH = (6, 5, 4, 3, 3, 3)  # canvas pixels that each step of the alignment looks for its nearest ink
SPARSE = 3  # of the ink, one pixel in so many is enough to align by
LEAST = 20  # points to align by
ROUGHLY = 0.9  # share of ink near the other's before any alignment; 99 % of the copies that overlap have more
AROUND = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))  # three canvas pixels


def pack(canvas: NDArray[np.float32]) -> bytes:
    """A canvas (128, 256) as 4096 bytes, a bit a pixel."""
    bits: Ink = np.asarray(canvas > 0, np.uint8)
    return np.packbits(bits).tobytes()


def unpack(packed: bytes) -> Ink:
    """Back again: uint8 (128, 256) of 0 and 1."""
    return np.unpackbits(np.frombuffer(packed, np.uint8)).reshape(CANVAS)


def roughly_alike(ink: Ink, others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share float64 (n,) of the ink of each packed canvas of `others` (n, 4096) that lies within three pixels of
    `ink`, both as they are: a first look at many, 0.1 ms for a hundred."""
    around = np.packbits(np.asarray(cv2.dilate(ink, AROUND), np.uint8)).view(np.uint64)
    words = others.view(np.uint64)  # a quarter of the time that bytes take
    shared, inked = (np.bitwise_count(some).sum(axis=1, dtype=np.int64) for some in (words & around, words))
    return np.asarray(shared / np.maximum(inked, 1), np.float64)


def overlap(ink: Ink, other: Ink) -> float:
    """Share, 0 to 1, of the ink of either canvas that lies on the other's once `ink` is moved, turned and scaled to
    fit, whichever share is less. 0.0 where a canvas is empty.

    Iterated closest points after Besl and McKay (1992), with the closed form of Umeyama (1991) at each step.
    """
    points, targets = points_of(ink), points_of(other)
    if min(len(points), len(targets)) < LEAST:
        return 0.0
    turn, move = align(points[::SPARSE], other, targets)
    there = near(distance_to(other), points @ turn.T + move)
    back = near(distance_to(ink), (targets - move) @ np.linalg.inv(turn).T)
    return min(there, back)


def align(points: Points, other: Ink, targets: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A turn with scale (2, 2) and a move (2,) that bring points (n, 2) onto the ink of `other`."""
    distance, labels = cv2.distanceTransformWithLabels(
        1 - other, cv2.DIST_L2, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, 2))
    columns, rows = targets.T.astype(int)
    nearest[labels[rows, columns]] = targets
    turn, move = np.eye(2), np.zeros(2)
    for reach in REACH:
        columns, rows = pixels(points @ turn.T + move)
        close = distance[rows, columns] < reach
        if close.sum() < LEAST:
            break
        turn, move = similarity(points[close], nearest[labels[rows, columns][close]])
    return turn, move


def similarity(points: Points, targets: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn, scale and move that bring points (n, 2) closest to their targets (n, 2) in least squares."""
    centre, aim = points.mean(axis=0), targets.mean(axis=0)
    a, b = points - centre, targets - aim
    cosine, sine = np.array([np.sum(a * b), np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])]) / np.sum(a**2)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return turn, aim - turn @ centre


def near(distance: NDArray[np.float32], points: Points) -> float:
    columns, rows = pixels(points)
    return float(np.mean(distance[rows, columns] <= NEAR))


def distance_to(ink: Ink) -> NDArray[np.float32]:
    """Of every pixel to the nearest ink."""
    return np.asarray(cv2.distanceTransform(1 - ink, cv2.DIST_L2, cv2.DIST_MASK_3), np.float32)


def points_of(ink: Ink) -> Points:
    """Pixels of ink as (x, y), float64 (n, 2)."""
    rows, columns = np.nonzero(ink)
    return np.stack([columns, rows], axis=1).astype(np.float64)


def pixels(points: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and rows of the pixels that points lie in; beyond the canvas, of its border."""
    height, width = CANVAS
    return (
        np.clip(np.rint(points[:, 0]), 0, width - 1).astype(np.int64),
        np.clip(np.rint(points[:, 1]), 0, height - 1).astype(np.int64),
    )
