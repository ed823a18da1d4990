"""The model that finds signatures on cheques, a folder with a network, checksum and thresholds, and how it looks."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings import cheque_map
from embeddings.cheque_map import Mark, Marks, Sheet
from embeddings.runtime import Network

Grey = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, width, height

NETWORK, MANIFEST = "cheque.tflite", "cheque.json"
NEAR = 0.62  # of the picture's width; a cheque that takes up less is looked at again, nearer
LYING = 0.7  # sine of the angle from which a cheque lies on its side
EDGE = 0.06  # of a cheque's longer side: how much around it is looked at then
LEAST = 64  # pixels; less is no cheque


class BrokenModel(ValueError):
    """The folder is not a model that this version can serve; the message says which part and why."""


@dataclass(frozen=True)
class Thresholds:
    """Confidences from which a mark is a signature, and from which a page is a cheque or holds two."""

    signature: float
    cheque: float
    second_cheque: float


class Finder:
    """Loads once, then marks pages from any thread."""

    def __init__(self, folder: Path) -> None:
        manifest = _read(folder)
        self.version = str(manifest["version"])
        self.thresholds = Thresholds(**manifest["thresholds"])
        self._slope, self._shift = (float(manifest["calibration"][name]) for name in ("slope", "shift"))
        self._network = Network(folder / NETWORK)

    def marks(self, grey: Grey) -> Marks:
        """Everything on a page (h, w) uint8 that may be a signature or a cheque, with its confidence.

        One look at the whole page; where a cheque takes up little of it or lies on its side, a second one at that.
        """
        whole = self._look(grey)
        if not whole.cheques or self.is_pair(whole):
            return whole
        sheet = whole.cheques[0]
        is_lying = abs(math.sin(sheet.angle)) > LYING
        if not is_lying and sheet.box[2] * cheque_map.scale_of(grey.shape) >= NEAR * cheque_map.INPUT[1]:
            return along(sheet, whole.signatures)
        nearer = self._look_nearer(grey, sheet, is_lying)
        return along(max([sheet, *nearer.cheques], key=lambda one: one.confidence), nearer.signatures)

    def is_pair(self, marks: Marks) -> bool:
        return len(marks.cheques) > 1 and marks.cheques[1].confidence >= self.thresholds.second_cheque

    def _look(self, grey: Grey) -> Marks:
        found = cheque_map.read(self._network(cheque_map.picture(grey)[:, :, np.newaxis]), grey.shape)
        return Marks(
            [replace(mark, confidence=self._sure(mark.confidence)) for mark in found.signatures], found.cheques
        )

    def _sure(self, heat: float) -> float:
        """The share of marks this hot, on drawn cheques, that were signatures (Platt, 1999)."""
        return 1 / (1 + math.exp(-self._slope * math.log(heat) - self._shift))

    def _look_nearer(self, grey: Grey, sheet: Sheet, is_lying: bool) -> Marks:
        x, y, w, h = rounded(sheet.box)
        edge = round(EDGE * max(w, h))
        left, top, width, height = within((x - edge, y - edge, w + 2 * edge, h + 2 * edge), grey.shape)
        if width < LEAST or height < LEAST:
            return Marks([], [])
        part = grey[top : top + height, left : left + width]
        found = self._look(np.ascontiguousarray(np.rot90(part) if is_lying else part))

        def box(one: cheque_map.Box) -> cheque_map.Box:
            if is_lying:  # `rot90` made columns of rows, the last one first
                one = (width - one[1] - one[3], one[0], one[3], one[2])
            return one[0] + left, one[1] + top, one[2], one[3]

        turn = math.pi / 2 if is_lying else 0.0
        return Marks(
            [Mark(one.confidence, box(one.ink), box(one.field), one.angle + turn) for one in found.signatures],
            [Sheet(one.confidence, box(one.box), one.angle + turn) for one in found.cheques],
        )


def along(sheet: Sheet, signatures: list[Mark]) -> Marks:
    """A cheque and the signatures on it: nobody signs against the way that its print runs."""
    return Marks([mark for mark in signatures if math.cos(mark.angle - sheet.angle) > 0], [sheet])


def rounded(box: cheque_map.Box) -> Box:
    left, top = round(box[0]), round(box[1])
    return left, top, round(box[0] + box[2]) - left, round(box[1] + box[3]) - top


def within(box: Box, shape: tuple[int, ...]) -> Box:
    """The part of a box that lies on an image (h, w); of no width or height where none does."""
    left, top = max(0, box[0]), max(0, box[1])
    return left, top, min(shape[1], box[0] + box[2]) - left, min(shape[0], box[1] + box[3]) - top


def _read(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        checksum = hashlib.sha256((folder / NETWORK).read_bytes()).hexdigest()
    except (OSError, ValueError) as problem:
        raise BrokenModel(f"{folder} lacks a readable {MANIFEST} or {NETWORK}") from problem
    if checksum != manifest["sha256"]:
        raise BrokenModel(f"{folder / NETWORK} was changed: its checksum is not the one in {MANIFEST}")
    return manifest
