"""From a page to the small picture that the cheque network sees, and from the map it answers to marks on the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.ink import PAPER, flatten, halve

INPUT = (256, 512)
STRIDE = 8  # pixels of the picture to a cell of the map
# A cell answers: is it the middle of a signature, of a cheque (logits); how far from it the signature's ink reaches
# to the left, top, right and bottom, in cells; how far its field; cosine and sine of its writing; how far the cheque
# reaches; cosine and sine of its print.
CHANNELS = 18
NOTICED = 0.02  # least heat of a mark
SAME = 0.3  # overlap from which two marks are one: of signatures over their union, of cheques over the smaller

Box = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True)
class Mark:
    """A signature: its ink and its field (left, top, width, height) in pixels of the page, and the direction in which
    its line of writing runs, in radians clockwise from level; near pi on a page that lies upside down."""

    confidence: float
    ink: Box
    field: Box
    angle: float


@dataclass(frozen=True)
class Sheet:
    """A cheque on a page, likewise."""

    confidence: float
    box: Box
    angle: float


@dataclass(frozen=True)
class Marks:
    """What is on a page, best first."""

    signatures: list[Mark]
    cheques: list[Sheet]


def scale_of(shape: tuple[int, ...]) -> float:
    """Pixels of the picture to a pixel of the page (h, w)."""
    return min(INPUT[0] / shape[0], INPUT[1] / shape[1])


def picture(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Picture float32 (256, 512), 0 paper to 1 black, of a page (h, w) uint8: the page fills its left top corner."""
    scale = scale_of(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = grey
    while small.shape[1] >= 3 * size[0] and small.shape[0] >= 3 * size[1]:
        small = halve(small)
    small = np.asarray(
        cv2.resize(small, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )
    dark = np.zeros(INPUT, np.float32)
    dark[: size[1], : size[0]] = (PAPER - np.minimum(flatten(small), PAPER)) * np.float32(1 / PAPER)
    return dark


def read(answer: NDArray[np.float32], shape: tuple[int, ...]) -> Marks:
    """Marks on a page (h, w) of the network's `answer` (32, 64, 18).

    Which of some neighbouring cells holds the middle is often a toss-up: a signature's confidence is the mean heat of
    nine, and its boxes are theirs, each counting by its heat.
    """
    scale = STRIDE / scale_of(shape)  # pixels of the page to a cell
    heat = 1 / (1 + np.exp(-answer[:, :, :2].astype(np.float64)))
    warm = np.asarray(cv2.boxFilter(heat[:, :, 0], -1, (3, 3), borderType=cv2.BORDER_CONSTANT), np.float64)

    def signature(y: int, x: int) -> Mark:
        mean = shared_answer(answer, heat[:, :, 0], y, x)
        return Mark(float(warm[y, x]), box(mean[2:6], x, y, scale), box(mean[6:10], x, y, scale), way(mean[10:12]))

    def cheque(y: int, x: int) -> Sheet:
        cell = answer[y, x]
        return Sheet(float(heat[y, x, 1]), box(cell[12:16], x, y, scale), way(cell[16:18]))

    return Marks(
        distinct([signature(*at) for at in peaks(warm, 3, NOTICED)], lambda one, two: overlap(one.ink, two.ink)),
        distinct(
            [cheque(*at) for at in peaks(heat[:, :, 1], 5, NOTICED)], lambda one, two: covered(one.box, two.box)
        ),
    )


def shared_answer(answer: NDArray[np.float32], heat: NDArray[np.float64], y: int, x: int) -> NDArray[np.float64]:
    """What a cell and its neighbours say, on average by their heat, as distances from that cell's middle."""
    rows, columns = np.mgrid[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
    inside = (rows < heat.shape[0]) & (columns < heat.shape[1])
    rows, columns = rows[inside], columns[inside]
    said = answer[rows, columns].astype(np.float64)
    for first in (2, 6):
        said[:, first : first + 4] += np.column_stack([x - columns, y - rows, columns - x, rows - y])
    weights = heat[rows, columns]
    return np.asarray(weights @ said / weights.sum())


def box(sides: NDArray[np.floating], x: int, y: int, scale: float) -> Box:
    """The box that reaches so far from the middle of a cell."""
    left, top, right, bottom = (float(side) for side in sides)
    return (
        (x + 0.5 - left) * scale,
        (y + 0.5 - top) * scale,
        max(left + right, 0.5) * scale,
        max(top + bottom, 0.5) * scale,
    )


def way(direction: NDArray[np.floating]) -> float:
    return math.atan2(float(direction[1]), float(direction[0]))


def peaks(heat: NDArray[np.float64], size: int, least: float) -> list[tuple[int, int]]:
    """Rows and columns of cells that no other within `size` cells exceeds."""
    high = cv2.dilate(heat, np.ones((size, size), np.uint8))
    return [(int(y), int(x)) for y, x in np.argwhere((heat >= high) & (heat >= least))]


Found = TypeVar("Found", Mark, Sheet)


def distinct(marks: list[Found], alike: Callable[[Found, Found], float]) -> list[Found]:
    """Best first, without marks of what a better one marks already."""
    kept: list[Found] = []
    for mark in sorted(marks, key=lambda one: -one.confidence):
        if all(alike(mark, other) < SAME for other in kept):
            kept.append(mark)
    return kept


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    both = shared(one, other)
    return both / max(one[2] * one[3] + other[2] * other[3] - both, 1e-9)


def covered(one: Box, other: Box) -> float:
    """Part of the smaller box that lies in the larger: half a cheque is not a second one."""
    return shared(one, other) / max(min(one[2] * one[3], other[2] * other[3]), 1e-9)


def shared(one: Box, other: Box) -> float:
    """Area that lies in both."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)
