"""Is this a picture of one signature, and a good one?

Every limit stands beside the extreme that was measured on 6944 real signatures (CEDAR, SigComp 2011 Dutch,
SVC 2004 and a quarter of cross-media), so that a change can be weighed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.ink import (
    PAPER,
    SPECK,
    Histogram,
    Ink,
    darker,
    drop_specks,
    histogram,
    paper_noise,
    stroke_width,
    threshold,
)
from embeddings.moments import moments_of, profile

BLOCKING = ("not_on_paper", "no_ink", "only_lines", "too_faint", "too_small", "print_not_ink")
DOUBTFUL = ("clipped", "two_signatures")

LEAST_CONTRAST = 32  # grey levels of 224 between paper and ink; measured 48 and more
LEAST_SPREAD = 9.4  # pixels; less would be enlarged more than four times; measured 31 and more
MOST_NOISE = 16.0  # standard deviation of the paper in grey levels of 224; measured 9.5 and less
LEAST_PAPER = 0.55  # of the image within 32 levels of the paper's grey; measured 0.63 and more
MOST_BETWEEN = 0.2  # of the image neither like paper nor like ink; measured 0.095 and less
LENGTHS = (3.0, 100.0)  # length of all strokes in spreads; measured 10 to 75
THICKEST = 0.4  # stroke width in spreads; measured 0.29 and less
FAINT = 4  # grey levels of 224: after smoothing, what is darker than its surroundings by this may be ink
GLYPHS, ALIGNED = 14, 0.6  # printed letters stand on common lines; measured less in every signature
CUTS = 3  # strokes that run off one side; a signature cropped to its ink has fewer
SHARE = 0.25  # of all ink, in the lesser of two signatures
NARROW = 8  # pixels; no gap between two signatures is less
BESIDE, BELOW = (1.0, 0.7), (0.35, 0.15)  # gap between two, and length of each, in their height and width


@dataclass(frozen=True)
class Quality:
    """`codes` are keys of `embeddings.errors.CODES`; `ok` means that there are none."""

    ok: bool
    codes: tuple[str, ...]


def assess(ink: Ink) -> Quality:
    """Quality of an image by its ink, `read_ink(grey)`: one code of `BLOCKING`, or any of `DOUBTFUL`."""
    code = blocking(ink)
    if code:
        return Quality(False, (code,))
    found = (("clipped", is_clipped(ink.mask, ink.stroke)), ("two_signatures", is_two(ink)))
    codes = tuple(code for code, holds in found if holds)
    return Quality(not codes, codes)


def assess_lifted(mask: NDArray[np.uint8]) -> Quality:
    """Quality of ink that was lifted off a page, by its mask alone: paper, print and neighbours were judged when it
    was lifted, so what is left to ask is whether there is a signature and enough of it. `no_ink`, `too_small` and
    `print_not_ink` never pass; `clipped` does."""
    pen = stroke_width(mask)
    if not cv2.countNonZero(mask):
        return Quality(False, ("no_ink",))
    columns, rows = profile(mask, 0), profile(mask, 1)
    spread = moments_of(columns, rows)[2]
    if int(rows.sum()) / pen < LENGTHS[0] * spread:
        return Quality(False, ("no_ink",))
    if spread < LEAST_SPREAD:
        return Quality(False, ("too_small",))
    if is_print(mask):
        return Quality(False, ("print_not_ink",))
    clipped = is_clipped(mask, pen)
    return Quality(not clipped, ("clipped",) if clipped else ())


def blocking(ink: Ink) -> str | None:
    if not is_paper(ink.histogram):
        return "not_on_paper"
    area = int(ink.rows.sum())
    if not area:
        return why_no_ink(ink)
    inked = histogram(ink.flat[ink.mask.view(bool)])
    spread = moments_of(ink.columns, ink.rows)[2]
    length = area / ink.stroke / spread
    if length > LENGTHS[1] or between(ink.histogram, inked) > MOST_BETWEEN * ink.flat.size:
        return "not_on_paper"
    if PAPER - mean(inked) < LEAST_CONTRAST:
        return "too_faint"
    if length < LENGTHS[0] and ruled(ink):
        return "only_lines"
    if spread < LEAST_SPREAD:
        return "too_small"
    if length < LENGTHS[0] or ink.stroke > THICKEST * spread:
        return "not_on_paper"
    return "print_not_ink" if ink.pieces >= GLYPHS and is_print(ink.mask) else None


def mean(counts: Histogram) -> float:
    return float(counts @ np.arange(256) / max(counts.sum(), 1.0))


def is_paper(everything: Histogram) -> bool:
    paper, noise = paper_noise(everything)
    near = everything[max(0, paper - 32) :].sum()
    return noise <= MOST_NOISE and bool(near >= LEAST_PAPER * everything.sum())


def between(everything: Histogram, inked: Histogram) -> float:
    """Pixels in the middle of the way from paper to ink: edges of strokes on a page, all of a photograph."""
    ink, paper = mean(inked), mean(everything - inked)
    third = 0.3 * (paper - ink)
    return float(everything[math.ceil(ink + third) : math.floor(paper - third) + 1].sum())


def why_no_ink(ink: Ink) -> str:
    """Only lines, ink too faint for the threshold, or blank paper."""
    if ruled(ink):
        return "only_lines"
    flat = ink.flat
    around = max(flat.shape) // 4 | 1
    smooth, local = cv2.blur(flat, (5, 5)), cv2.blur(flat, (around, around))
    faint = np.asarray(cv2.subtract(local, smooth) >= FAINT, np.uint8)
    drop_specks(faint, max(30.0, flat.shape[1] / 4))
    _, _, width, height = cv2.boundingRect(faint)
    return "too_faint" if max(width, height) >= 40 and faint.mean() < LEAST_PAPER / 2 else "no_ink"


def ruled(ink: Ink) -> bool:
    """Was most of what is dark taken out as lines?"""
    dark = darker(ink.flat, threshold(ink.histogram))
    drop_specks(dark, SPECK * stroke_width(dark) ** 2)
    return cv2.countNonZero(dark) > 5 * int(ink.rows.sum()) + 100


def is_print(mask: NDArray[np.uint8]) -> bool:
    """Do most pieces of ink stand on common lines, as no hand can do it?"""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(outlines) < GLYPHS:
        return False
    boxes = np.array([cv2.boundingRect(outline) for outline in outlines])
    heights = boxes[:, 3]
    letter = np.median(heights[heights >= 0.35 * np.percentile(heights, 90)])
    letters = boxes[(heights >= 0.5 * letter) & (heights <= 2.5 * letter)]
    feet = np.sort(letters[:, 1] + letters[:, 3])
    tolerance = max(1.0, 0.06 * letter)
    lines = np.split(feet, np.flatnonzero(np.diff(feet) > tolerance) + 1)
    aligned = sum(line.size for line in lines if line.size >= 4 and np.ptp(line) <= 3 * tolerance)
    return bool(feet.size >= GLYPHS and aligned >= ALIGNED * feet.size)


def is_clipped(mask: NDArray[np.uint8], stroke: float) -> bool:
    """Does any side cut through `CUTS` strokes? Strokes that only touch a side widen, or end, a width further in."""
    return any(cuts(side, stroke) >= CUTS for side in (mask, mask[::-1], mask.T, mask.T[::-1]))


def cuts(mask: NDArray[np.uint8], stroke: float) -> int:
    """Strokes cut by the first row."""
    step = max(1, round(stroke))
    if len(mask) <= 3 * step or not mask[0].any():
        return 0
    edges = np.flatnonzero(np.diff(mask[0].view(np.int8), prepend=0, append=0))
    runs = [(start, end) for start, end in edges.reshape(-1, 2) if 0.6 * stroke <= end - start <= 4 * stroke]
    return sum(
        all(
            0.5 * stroke <= mask[row, max(0, start - 2 * step) : end + 2 * step].sum() <= 1.7 * (end - start)
            for row in (step, 2 * step)
        )
        for start, end in runs
    )


def is_two(ink: Ink) -> bool:
    """Does an empty strip, upright or level, part two pieces that could each be a signature?"""
    return is_parted(ink.mask, ink.columns, *BESIDE) or is_parted(ink.mask.T, ink.rows, *BELOW)


def is_parted(mask: NDArray[np.uint8], columns: NDArray[np.int32], gap: float, least: float) -> bool:
    along = np.flatnonzero(columns)
    steps = np.diff(along)
    if not steps.size or steps.max() < NARROW:
        return False
    widest = int(np.argmax(steps))
    turned = np.ascontiguousarray(mask)
    left, right = turned[:, along[0] : along[widest] + 1], turned[:, along[widest + 1] : along[-1] + 1]
    height = max(int(np.count_nonzero(profile(part, 1))) for part in (left, right))
    inks = cv2.countNonZero(left), cv2.countNonZero(right)
    return bool(
        steps[widest] > gap * height
        and min(inks) > SHARE * sum(inks)
        and min(left.shape[1], right.shape[1]) > least * height
    )
