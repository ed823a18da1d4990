"""The picture of evidence: what was questioned, what it was compared with, and why the answer is what it is, for a
clerk who decides about the cheque."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from service import drawing
from service.drawing import BLACK, BOLD, COLOURS, GREY, QUESTION, SPECIMEN, WHITE, Picture
from service.reasons import sentence

WIDTH = 1200
MARGIN = 24
INNER = WIDTH - 2 * MARGIN
WHOLE = (INNER - 2, 460)  # room for the image that was sent
TILES = (352, 352, 400)
TILE_HEIGHT = 200
BAR_HEIGHT = 26
HEAD, TEXT, SMALL = 30, 18, 15  # heights of letters
LINE = 26
VERDICTS = {
    "accept": "ACCEPT",
    "refer": "REFER: a person decides",
    "reject": "REJECT",
}


@dataclass(frozen=True)
class Compared:
    """A signature found: its box, the part of the image in it, its ink as a canvas, and what it was compared with.
    `specimen` is the specimen's image and `specimen_ink` its canvas, where there is one; `whose` says in words."""

    box: tuple[int, int, int, int]
    part: Picture
    ink: NDArray[np.float32]
    whose: str
    score: float | None
    specimen: Picture | None = None
    specimen_ink: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Evidence:
    """`image` is grey (h, w). `passing` and `failing` are the shares of skilled forgeries that pass and of genuine
    signatures that do not at the threshold that decided; scores below `reject_at` reject, from `accept_at` accept."""

    verification_id: str
    account_id: str
    outcome: str
    reasons: Sequence[str]
    accept_at: float
    reject_at: float
    passing: float
    failing: float
    model_version: str
    created_at: datetime
    asked: str
    image: Picture
    signatures: Sequence[Compared]


def draw(evidence: Evidence) -> bytes:
    """PNG bytes, 1200 pixels wide, as high as it takes."""
    parts = [_header(evidence), _reasons(evidence)]
    if not _is_whole(evidence):
        parts += [_title("The image that was sent"), _whole(evidence)]
    for number, compared in enumerate(evidence.signatures, start=1):
        parts += [_signature(evidence, number, compared), _bar(evidence, compared.score)]
    parts.append(_footer(evidence))
    return drawing.png(np.vstack([_inset(part) for part in parts]))


def _is_whole(evidence: Evidence) -> bool:
    """Is one signature all that there is on the image? Then it is shown beside its specimen anyway."""
    height, width = evidence.image.shape[:2]
    return [compared.box for compared in evidence.signatures] == [(0, 0, width, height)]


def _header(evidence: Evidence) -> Picture:
    band = drawing.blank(WIDTH, 72, COLOURS[evidence.outcome])
    drawing.write(band, VERDICTS[evidence.outcome], (MARGIN, 47), HEAD, WHITE, BOLD)
    lines = (f"account {evidence.account_id}", evidence.asked)
    room = WIDTH - 3 * MARGIN - drawing.text_width(VERDICTS[evidence.outcome], HEAD, BOLD)
    for row, line in enumerate(lines):
        line = drawing.shortened(line, room, TEXT)
        left = WIDTH - MARGIN - drawing.text_width(line, TEXT)
        drawing.write(band, line, (left, 31 + LINE * row), TEXT, WHITE)
    return band


def _reasons(evidence: Evidence) -> Picture:
    rows: list[tuple[str, bool]] = []
    for code in evidence.reasons:
        lines = drawing.wrapped(sentence(code), INNER - 20, TEXT)
        rows += [(line, place == 0) for place, line in enumerate(lines)]
    text = drawing.blank(INNER, LINE * len(rows) + 18)
    for row, (line, is_first) in enumerate(rows):
        base = 32 + LINE * row
        if is_first:
            cv2.circle(text, (6, base - 6), 4, COLOURS[evidence.outcome], cv2.FILLED, cv2.LINE_AA)
        drawing.write(text, line, (20, base), TEXT)
    return text


def _title(text: str, note: str = "") -> Picture:
    line = drawing.blank(INNER, 44)
    text = drawing.shortened(text, INNER, TEXT, BOLD)
    drawing.write(line, text, (0, 32), TEXT, BLACK, BOLD)
    after = drawing.text_width(text, TEXT, BOLD) + 14
    drawing.write(line, drawing.shortened(note, INNER - after, SMALL), (after, 32), SMALL, GREY)
    return line


def _whole(evidence: Evidence) -> Picture:
    """The image with a numbered box around each signature."""
    height, width = evidence.image.shape[:2]
    shown = drawing.fit(evidence.image, WHOLE)
    scale = drawing.fitting(width, height, WHOLE)
    for number, compared in enumerate(evidence.signatures, start=1):
        _box(shown, str(number), [round(side * scale) for side in compared.box])
    framed = cv2.copyMakeBorder(shown, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=drawing.FRAME)
    left = (INNER - framed.shape[1]) // 2
    page = drawing.blank(INNER, len(framed))
    page[:, left : left + framed.shape[1]] = framed
    return page


def _box(shown: Picture, number: str, box: Sequence[int]) -> None:
    left, top, width, height = box
    bottom, right = min(top + height, len(shown) - 2), min(left + width, shown.shape[1] - 2)
    cv2.rectangle(shown, (left, top), (right, bottom), QUESTION, 2, cv2.LINE_AA)
    side = 22
    label_top = top - side if top >= side else min(bottom, len(shown) - side)
    if label_top < 0 or shown.shape[1] < side:
        return
    label_left = min(left, shown.shape[1] - side)
    cv2.rectangle(shown, (label_left, label_top), (label_left + side, label_top + side), QUESTION, cv2.FILLED)
    drawing.write(shown, number, (label_left + 7, label_top + 17), TEXT, WHITE, BOLD)


def _signature(evidence: Evidence, number: int, compared: Compared) -> Picture:
    """Questioned, specimen, and one over the other."""
    many = len(evidence.signatures) > 1
    tiles = [
        drawing.framed(compared.part, (TILES[0], TILE_HEIGHT)),
        _specimen(compared),
        drawing.framed(
            drawing.laid_over(compared.ink, compared.specimen_ink, TILES[2] - 16), (TILES[2], TILE_HEIGHT)
        ),
    ]
    gap = drawing.blank(MARGIN, TILE_HEIGHT)
    row = np.hstack([tiles[0], gap, tiles[1], gap, tiles[2]])
    title = f"Signature {number}" if many else "The signature"
    return np.vstack([_title(title, compared.whose), row, _captions()])


def _specimen(compared: Compared) -> Picture:
    tile = (TILES[1], TILE_HEIGHT)
    if compared.specimen is not None:
        return drawing.framed(compared.specimen, tile)
    empty = drawing.framed(drawing.blank(8, 8), tile)
    text = "no specimen to show"
    drawing.write(empty, text, ((tile[0] - drawing.text_width(text, SMALL)) // 2, TILE_HEIGHT // 2 + 5), SMALL, GREY)
    return empty


def _captions() -> Picture:
    line = drawing.blank(INNER, 30)
    lefts = (0, TILES[0] + MARGIN, TILES[0] + TILES[1] + 2 * MARGIN)
    _key(line, lefts[0], QUESTION, "questioned")
    _key(line, lefts[1], SPECIMEN, "nearest specimen")
    _key(line, lefts[2], drawing.BOTH, "one over the other: dark where both have ink")
    return line


def _key(line: Picture, left: int, colour: tuple[int, int, int], text: str) -> None:
    cv2.rectangle(line, (left, 9), (left + 13, 22), colour, cv2.FILLED)
    drawing.write(line, text, (left + 22, 21), SMALL, GREY)


def _bar(evidence: Evidence, score: float | None) -> Picture:
    """The score between 0 and 1, and where it would reject, refer and accept."""
    bar = drawing.blank(INNER, 92)
    top, bottom = 34, 34 + BAR_HEIGHT
    edges = [round(INNER * min(max(at, 0.0), 1.0)) for at in (0, evidence.reject_at, evidence.accept_at, 1)]
    for outcome, (left, right) in zip(("reject", "refer", "accept"), pairwise(edges), strict=True):
        cv2.rectangle(bar, (left, top), (max(right - 1, left), bottom), COLOURS[outcome], cv2.FILLED)
        start, end = _clear_of(None if score is None else round(INNER * score), left, right)
        room, width = end - start, drawing.text_width(outcome, SMALL, BOLD)
        if room > width + 10:
            drawing.write(bar, outcome, (start + (room - width) // 2, top + 18), SMALL, WHITE, BOLD)
    _ticks(bar, evidence, bottom)
    if score is None:
        drawing.write(bar, "no score: there was nobody to compare with", (0, 24), SMALL, BLACK, BOLD)
        return bar
    at = min(max(round(INNER * score), 2), INNER - 3)
    cv2.rectangle(bar, (at - 2, top - 6), (at + 2, bottom + 4), BLACK, cv2.FILLED)
    cv2.rectangle(bar, (at - 3, top - 7), (at + 3, bottom + 5), WHITE, 1)
    text = f"score {score:.3f}"
    width = drawing.text_width(text, TEXT, BOLD)
    drawing.write(bar, text, (min(max(at - width // 2, 0), INNER - width), 22), TEXT, BLACK, BOLD)
    return bar


def _clear_of(marker: int | None, left: int, right: int) -> tuple[int, int]:
    """The longer part of a zone beside the marker."""
    if marker is None or not left - 10 < marker < right + 10:
        return left, right
    return (left, marker - 8) if marker - left > right - marker else (marker + 8, right)


def _ticks(bar: Picture, evidence: Evidence, bottom: int) -> None:
    """Both thresholds, and 0 and 1 at the ends where there is room for them."""
    ends = [(0, "0"), (INNER, "1")]
    accept = f"accepted from {evidence.accept_at:.3f}"
    thresholds = [
        (round(INNER * evidence.reject_at), f"rejected below {evidence.reject_at:.3f}"),
        (round(INNER * min(evidence.accept_at, 1)), accept if evidence.accept_at <= 1 else "no score is accepted"),
    ]
    taken: list[tuple[int, int]] = []
    for at, text in thresholds + ends:
        width = drawing.text_width(text, SMALL)
        left = min(max(at - width // 2, 0), INNER - width)
        clashing = [end for start, end in taken if left < end and left + width > start]
        if clashing and text in {"0", "1"}:
            continue
        left = min(max([left, *clashing]), INNER - width)
        taken.append((left - 14, left + width + 14))
        drawing.write(bar, text, (left, bottom + 21), SMALL, GREY)


def _footer(evidence: Evidence) -> Picture:
    facts = (
        f"{evidence.created_at:%Y-%m-%d %H:%M} UTC   ·   {evidence.verification_id}   ·   "
        f"model {evidence.model_version}"
    )
    lines = [*drawing.wrapped(_how_sure(evidence), INNER, SMALL), drawing.shortened(facts, INNER, SMALL)]
    footer = drawing.blank(INNER, 24 * len(lines) + 30)
    cv2.line(footer, (0, 8), (INNER, 8), drawing.FRAME, 1)
    for row, line in enumerate(lines):
        drawing.write(footer, line, (0, 34 + 24 * row), SMALL, GREY)
    return footer


def _how_sure(evidence: Evidence) -> str:
    if evidence.outcome == "reject":
        return (
            f"How sure is that? About {_hundred(evidence.failing)} of 100 genuine signatures are rejected at this "
            f"threshold, and about {_hundred(1 - evidence.passing)} of 100 skilled forgeries."
        )
    return (
        f"How sure is that? About {_hundred(evidence.passing)} of 100 skilled forgeries are accepted at this "
        f"threshold, and about {_hundred(1 - evidence.failing)} of 100 genuine signatures."
    )


def _hundred(share: float) -> str:
    """Of a hundred, no more exact than it was measured."""
    percent = 100 * share
    return "fewer than 1" if percent < 0.5 else f"{percent:.0f}"


def _inset(part: Picture) -> Picture:
    if part.shape[1] == WIDTH:
        return part
    return np.asarray(
        cv2.copyMakeBorder(part, 0, 0, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=drawing.WHITE), np.uint8
    )
