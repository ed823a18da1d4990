"""Lifts a signature off a cheque: the writer's ink alone, without rules, captions, stamps and security background.

Print and pen are often equally black, so what tells them apart is shape. A small network reads a tile around the
signature and says of each spot whether a pen was there (a U-Net: Ronneberger, Fischer and Brox, 2015); which pixels
of a spot are ink is decided by their grey at the page's own resolution, as on a plain scan, so that strokes keep
their outline.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.ink import PAPER, SPECK, darker, drop_specks, flatten, histogram, otsu, stroke_width
from embeddings.lines import remove_lines
from embeddings.runtime import Network

Grey = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, width, height

TILE = (160, 320)  # what the network sees: height, width
AROUND = (1.5, 1.4)  # the tile is at least so many times as high and as wide as the box
ENLARGED = 1.5  # at most
MODEL = Path(__file__).with_name("lift.tflite")
FAINTEST = 16  # grey levels of 224 that ink is darker than paper
INSIDE = 0.2  # a connected piece belongs to the signature if this part of it lies in the box ...
MARGIN = 0.1  # ... or this part of its height beside it: dots and ends of strokes that a detector missed
GAP = 2.0  # widths of the pen: largest gap in a stroke that dark pixels may close
LEAST = 40  # pixels of ink in a tile; less is no signature


def lift(grey: Grey, box: Box) -> Mask:
    """Mask (h, w) uint8 of 0 and 1: the ink of the signature in `box` of `grey` (H, W), an upright cheque or a part.

    The mask covers the box and what surrounds it, at the resolution of `grey`, because strokes leave boxes; pieces
    that only pass by are not in it. It is empty (all 0) where no pen was. ValueError if the box is not in the image.
    """
    x, y, w, h = inside(box, grey.shape)
    region, scale = around((x, y, w, h))
    flat = flatten(cut(grey, region))
    pen = where(shrink(flat, scale))
    mask = ink(flat, pen)
    keep_own(mask, (x - region[0], y - region[1], w, h))
    return mask


def inside(box: Box, shape: tuple[int, ...]) -> Box:
    """The part of a box that lies in an image of this shape; ValueError if there is none."""
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(shape[1], box[0] + box[2]), min(shape[0], box[1] + box[3])
    if right <= left or bottom <= top:
        raise ValueError(f"box {box} does not lie in an image of {shape[1]} x {shape[0]} pixels")
    return left, top, right - left, bottom - top


def around(box: Box) -> tuple[Box, float]:
    """The region about a box that fills a tile, and tile pixels to one of its pixels."""
    left, top, width, height = box
    scale = min(TILE[0] / (AROUND[0] * height), TILE[1] / (AROUND[1] * width), ENLARGED)
    high, wide = round(TILE[0] / scale), round(TILE[1] / scale)
    return (left + (width - wide) // 2, top + (height - high) // 2, wide, high), scale


def cut(grey: Grey, region: Box) -> Grey:
    """A region of an image, what lies outside of it as white as its brightest border."""
    left, top, width, height = region
    x, y, w, h = inside(region, grey.shape)
    part = grey[y : y + h, x : x + w]
    sides = (y - top, top + height - y - h, x - left, left + width - x - w)
    return np.asarray(cv2.copyMakeBorder(part, *sides, cv2.BORDER_CONSTANT, value=int(part.max())), np.uint8)


def shrink(flat: Grey, scale: float) -> NDArray[np.float32]:
    """The network's input, float32 `TILE`: 0 paper, 1 black."""
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(flat, TILE[::-1], interpolation=how)
    return np.asarray(np.clip((PAPER - small.astype(np.float32)) / PAPER, 0, 1), np.float32)


def where(tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logit of "a pen was here" for each pixel of a tile."""
    fours = network()(tile[:, :, np.newaxis])  # four pixels at each of half as many rows and columns
    return fours.reshape(TILE[0] // 2, TILE[1] // 2, 2, 2).transpose(0, 2, 1, 3).reshape(TILE)


@cache
def network() -> Network:
    return Network(MODEL)


def ink(flat: Grey, pen: NDArray[np.float32]) -> Mask:
    """Pixels of `flat` that are dark where the pen was. How dark is judged in the pen's own surroundings, where ink
    and paper are about as many: over the whole region, print would decide it."""
    height, width = flat.shape
    penned = np.asarray(pen > 0, np.uint8)
    if cv2.countNonZero(penned) < LEAST:
        return np.zeros_like(flat)
    near = cv2.resize(cv2.dilate(penned, np.ones((5, 5), np.uint8)), (width, height), interpolation=cv2.INTER_NEAREST)
    limit = min(otsu(histogram(flat[near.view(bool)])), PAPER - FAINTEST)
    spots = cv2.resize(pen, (width, height), interpolation=cv2.INTER_LINEAR)
    dark = remove_lines(darker(flat, limit))  # long rules, better than the network does where strokes crowd on one
    mask = bridged(dark & np.asarray(spots > 0, np.uint8), dark)
    drop_specks(mask, SPECK * stroke_width(mask) ** 2)
    return mask


def bridged(mask: Mask, dark: Mask) -> Mask:
    """A stroke that crosses a rule or a letter comes out with a gap where the network saw print: what is dark between
    two ends of ink that are closer than a few widths of the pen is ink as well."""
    reach = 2 * round(GAP * stroke_width(mask) / 2) + 1
    around_it = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    closed = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around_it), np.uint8)
    return mask | (dark & closed)


def keep_own(mask: Mask, box: Box) -> None:
    """Clears, in place, connected pieces of which hardly anything lies in the box."""
    left, top, width, height = box
    x, y, w, h = cv2.boundingRect(mask)
    if not w:
        return
    mask, left, top = mask[y : y + h, x : x + w], left - x, top - y
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    near = round(MARGIN * height)
    edges = (top - near, top + height + near, left - near, left + width + near)
    first, last, start, end = (max(0, edge) for edge in edges)
    within = np.s_[first:last, start:end]
    own = np.bincount(labels[within][mask[within].view(bool)], minlength=len(stats))
    mask &= np.asarray(own >= INSIDE * stats[:, cv2.CC_STAT_AREA], np.uint8)[labels]
