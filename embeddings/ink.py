"""Which pixels are ink: paper, noise, specks and ruled lines away, one bit a pixel left."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.lines import remove_lines
from embeddings.moments import profile

Mask = NDArray[np.uint8]
Histogram = NDArray[np.float64]  # pixels of each grey, (256,)

PAPER = 224  # grey of paper after `flatten`: below white, so that noise on both sides of it can be seen
NOISE = 4.0  # ink is at least so many standard deviations of the paper's noise darker than paper
CONTRAST = 16  # ... and so many grey levels of 224
SPECK = 0.5  # smallest piece kept, in squares of the stroke width; 12 px on a 300 dpi scan


@dataclass(frozen=True)
class Ink:
    """The ink of an image, and what was learned on the way to it, which quality is judged by."""

    flat: NDArray[np.uint8]  # the image with even paper
    histogram: Histogram  # of `flat`
    mask: Mask
    pieces: int  # connected ones, those that others surround among them
    stroke: float  # width in pixels
    columns: NDArray[np.int32]  # ink in each
    rows: NDArray[np.int32]


def find_ink(grey: NDArray[np.uint8]) -> Mask:
    """Mask (h, w) uint8 of `grey` (h, w) uint8: 1 ink, 0 paper, at the image's own resolution.

    The paper is flattened, thresholded after Otsu (1979) with a bound from the paper's own noise, freed of
    ruled and border lines, and of pieces smaller than a dot of this pen. No grey of the ink is left, because
    it names the scanner better than the writer.
    """
    return read_ink(grey).mask


def read_ink(grey: NDArray[np.uint8]) -> Ink:
    """`find_ink` with all that it learned."""
    flat = flatten(grey)
    counts = histogram(flat)
    mask = remove_lines(darker(flat, threshold(counts)))
    pieces = drop_specks(mask, SPECK * stroke_width(mask) ** 2)
    return Ink(flat, counts, mask, pieces, stroke_width(mask), profile(mask, 0), profile(mask, 1))


def darker(flat: NDArray[np.uint8], limit: float) -> Mask:
    return np.asarray(cv2.threshold(flat, limit, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)


def flatten(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Divide by the paper's brightness, so that shadows and tints go and paper is `PAPER` everywhere."""
    height, width = grey.shape
    coarse = grey
    for _ in range(max(2, (max(height, width) // 32).bit_length() - 1)):
        coarse = halve(coarse)
    paper = cv2.GaussianBlur(cv2.dilate(coarse, np.ones((5, 5), np.uint8)), (5, 5), 0)
    full = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.divide(grey, full, scale=PAPER), np.uint8)


def halve(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of 2 x 2 pixels, an odd last row or column dropped: four times as fast as any other ratio."""
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    if not height or not width:
        return grey
    even = grey[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def histogram(grey: NDArray[np.uint8]) -> Histogram:
    if not grey.size:
        return np.zeros(256)
    return cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64)


def threshold(counts: Histogram) -> float:
    """Otsu's threshold, never inside the noise of the paper: on faint ink it would split the paper itself."""
    paper, noise = paper_noise(counts)
    return min(otsu(counts), paper - max(NOISE * noise, CONTRAST))


def otsu(histogram: Histogram) -> float:
    """Grey at or below which pixels are dark: the split with the most variance between its classes."""
    weight = np.cumsum(histogram)
    moment = np.cumsum(histogram * np.arange(256))
    rest = weight[-1] - weight
    between = (weight[-1] * moment - weight * moment[-1]) ** 2 / np.maximum(weight * rest, 1.0)
    return float(np.argmax(between))


def paper_noise(histogram: Histogram) -> tuple[int, float]:
    """Grey of the paper (the mode) and its noise, measured on the bright side, where there is no ink."""
    paper = 128 + int(np.argmax(histogram[128:]))
    bright = histogram[paper:]
    return paper, math.sqrt(float(bright @ np.arange(bright.size) ** 2) / max(float(bright.sum()), 1.0))


def stroke_width(mask: Mask) -> float:
    """Mean width in pixels: twice the area over the length of the edge."""
    area = cv2.countNonZero(mask)
    edge = area - cv2.countNonZero(cv2.erode(mask, np.ones((3, 3), np.uint8)))
    return 2 * area / max(edge, 1)


def drop_specks(mask: Mask, least: float) -> int:
    """Clear connected pieces of fewer than `least` pixels, in place; a ring counts with what it surrounds.

    Returns how many pieces are left.
    """
    outlines, levels = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return 0
    outer = [(line, hole) for line, (_, _, hole, ring) in zip(outlines, levels[0].tolist(), strict=True) if ring < 0]
    specks = [(line, hole) for line, hole in outer if len(line) < 2 * least and pixels(line) < least]
    if specks:
        cv2.drawContours(mask, [line for line, _ in specks], -1, 0, cv2.FILLED)
    if any(hole >= 0 for _, hole in specks):  # filled by parity: of a speck in a speck something can be left
        return cv2.connectedComponents(mask)[0] - 1
    return len(outer) - len(specks)


def pixels(outline: cv2.typing.MatLike) -> float:
    """Pixels inside and on an outline, by Pick's theorem."""
    return cv2.contourArea(outline) + len(outline) / 2 + 1
