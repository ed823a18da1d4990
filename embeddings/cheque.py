"""Finds the signatures on an image of a whole cheque, and lifts them off it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import cv2
import numpy as np

from embeddings.cheque_map import Mark
from embeddings.decode import decode
from embeddings.errors import UnusableImage
from embeddings.finder import Box, Finder, Grey, rounded, within
from embeddings.lift import around, lift

MODEL = Path(__file__).parent / "cheques" / "1.0.0"
LEVEL = math.radians(1.5)  # a page that lies straighter than this is not turned, which would soften its strokes
CUT = 2  # pixels from the image's side at which ink counts as cut off


@dataclass(frozen=True)
class Region:
    """A signature on a page: `box` holds its ink and the caption that is printed for it, `ink_box` the ink alone,
    both (left, top, width, height) in pixels of the decoded image; `is_cut` says that the ink reaches the image's
    side."""

    box: Box
    ink_box: Box
    confidence: float
    angle: float  # radians, clockwise, by which the page is turned here; near pi it lies upside down
    is_cut: bool
    page: Grey = field(repr=False, compare=False)

    @cached_property
    def mask(self) -> Grey:
        """The lifted ink, upright: uint8 (h, w) of 0 and 1, as large as what was looked at."""
        crop, box = upright(self.page, self.ink_box, self.angle)
        return lift(crop, box)

    @cached_property
    def ink(self) -> bytes:
        """The lifted signature as a PNG, black on white."""
        return cv2.imencode(".png", (1 - self.mask) * 255)[1].tobytes()


def find(image: bytes) -> list[Region]:
    """The signatures on a cheque, best first; none where nobody signed, or on the back of one.

    Raises `UnusableImage` as `decode` does, with `not_a_cheque` (no signature and nothing else that looks
    like one) or `two_cheques`.
    """
    return find_in(decode(image))


def find_in(grey: Grey) -> list[Region]:
    """`find` on pixels (h, w) uint8 that `decode` answered."""
    shipped = finder()
    marks = shipped.marks(grey)
    if shipped.is_pair(marks):
        raise UnusableImage(0, "two_cheques")
    signed = [mark for mark in marks.signatures if mark.confidence >= shipped.thresholds.signature]
    if not signed and (not marks.cheques or marks.cheques[0].confidence < shipped.thresholds.cheque):
        raise UnusableImage(0, "not_a_cheque")
    return [_region(grey, mark) for mark in signed]


def lift_box(grey: Grey, box: Box, angle: float = 0.0) -> Region:
    """The signature in a box that the caller knows, on a page turned by `angle` radians; ValueError if no pixel of it
    lies on the page."""
    x, y, w, h = within(box, grey.shape)
    if w <= 0 or h <= 0:
        raise ValueError(f"box {box} lies outside an image of {grey.shape[1]} x {grey.shape[0]} pixels")
    return Region((x, y, w, h), (x, y, w, h), 1.0, angle, False, grey)


def _region(grey: Grey, mark: Mark) -> Region:
    ink, around = within(rounded(mark.ink), grey.shape), within(rounded(mark.field), grey.shape)
    left, top, width, height = rounded(mark.ink)
    sides = (left, top, grey.shape[1] - left - width, grey.shape[0] - top - height)
    return Region(around, ink, mark.confidence, mark.angle, min(sides) < CUT, grey)


def upright(grey: Grey, box: Box, angle: float) -> tuple[Grey, Box]:
    """What surrounds a box of a page, turned upright, and where the box lies in it."""
    x, y, w, h = box
    quarters = round(angle / (math.pi / 2))
    is_lying = quarters % 2 == 1
    (left, top, _, _), _ = around((0, 0, h, w) if is_lying else (0, 0, w, h))  # as much as lifting looks at
    dx, dy = (-top, -left) if is_lying else (-left, -top)
    left, top, width, height = within((x - dx, y - dy, w + 2 * dx, h + 2 * dy), grey.shape)
    crop, place = grey[top : top + height, left : left + width], (x - left, y - top, w, h)
    for _ in range(quarters % 4):  # a page turned clockwise is turned back to the left
        place = (place[1], crop.shape[1] - place[0] - place[2], place[3], place[2])
        crop = np.rot90(crop)
    rest = angle - quarters * math.pi / 2
    crop = np.ascontiguousarray(crop)
    if abs(rest) < LEVEL:
        return crop, place
    middle = (place[0] + place[2] / 2, place[1] + place[3] / 2)
    turn = cv2.getRotationMatrix2D(middle, math.degrees(rest), 1.0)
    level = cv2.warpAffine(crop, turn, crop.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(level, np.uint8), place


@cache
def finder() -> Finder:
    """The model that ships, loaded once a process; raises `BrokenModel`."""
    return Finder(MODEL)
