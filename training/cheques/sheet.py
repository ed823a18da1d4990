"""A page being printed and written on, and the manner in which everything on it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.cheques import printing
from training.cheques.ink import Bank, Ink, Script, resized
from training.cheques.printing import digits, foreign, gibberish, text

WIDTH = 1024  # pixels of every cheque that is drawn


@dataclass
class Sheet:
    """A page being printed and written on, float32 (h, w)."""

    grey: np.ndarray
    rng: np.random.Generator

    @property
    def height(self) -> int:
        return self.grey.shape[0]

    def put(self, ink: Ink, x: float, y: float, tone: float) -> tuple[int, int, int, int]:
        """Lays ink with its left top at (x, y) and answers the box that it takes up on the page."""
        x, y = round(x), round(y)
        left, top = max(0, x), max(0, y)
        right, bottom = min(self.grey.shape[1], x + ink.shape[1]), min(self.height, y + ink.shape[0])
        if right <= left or bottom <= top:
            return left, top, 0, 0
        place = self.grey[top:bottom, left:right]
        cover = ink[top - y : bottom - y, left - x : right - x].astype(np.float32) * (1 / 255)
        place -= cover * np.maximum(place - tone, 0)
        return left, top, right - left, bottom - top

    def line(
        self, a: tuple[float, float], b: tuple[float, float], tone: float, thick: int = 1, dash: int = 0
    ) -> None:
        start, end = np.array(a), np.array(b)
        if not dash:
            cv2.line(self.grey, *(tuple(int(v) for v in p) for p in (start, end)), tone, thick, cv2.LINE_AA)
            return
        count = max(1, int(np.hypot(*(end - start)) / dash))
        for part in range(0, count, 2):
            p, q = (start + (end - start) * share / count for share in (part, part + 1))
            cv2.line(self.grey, tuple(int(v) for v in p), tuple(int(v) for v in q), tone, thick)

    def frame(self, x: float, y: float, w: float, h: float, tone: float, thick: int = 1) -> None:
        cv2.rectangle(self.grey, (int(x), int(y)), (int(x + w), int(y + h)), tone, thick)


@dataclass
class Style:
    """What a cheque has in one manner throughout."""

    face: str
    small: float  # height of captions
    print_tone: float
    pen_tone: float
    script: Script
    write_scale: float
    filled: float  # share of fields that are filled in
    typed: bool
    thick: int
    dash: int


def draw_style(rng: np.random.Generator, bank: Bank) -> Style:
    return Style(
        face=str(rng.choice(printing.FACES)),
        small=rng.uniform(6, 10.5),
        print_tone=rng.uniform(0, 110),
        pen_tone=rng.uniform(0, 110),
        script=bank.scripts[rng.integers(len(bank.scripts))],
        write_scale=rng.uniform(0.45, 1.05),
        filled=rng.choice([1.0, 0.95, 0.6, 0.0], p=[0.4, 0.35, 0.15, 0.1]),
        typed=rng.random() < 0.15,
        thick=int(rng.choice([1, 1, 2])),
        dash=int(rng.choice([0, 0, 2, 4])),
    )


def caption(style: Style, rng: np.random.Generator, written: str, scale: float = 1.0) -> Ink:
    if rng.random() < 0.2:
        return foreign(len(written), style.small * scale * 1.1, rng)
    return text(written, style.small * scale, style.face, rng.uniform(0.85, 1.15))


def fill(sheet: Sheet, style: Style, x: float, base: float, room: float, what: str) -> None:
    """Words or a number in the writer's hand, or typed, on a base line from `x` on."""
    rng = sheet.rng
    if rng.random() > style.filled:
        return
    if style.typed:
        spelled = digits(6, rng) if what == "number" else gibberish(int(rng.integers(10, 40)), rng)
        ink = text(spelled, 11, "DejaVuSansMono")
        sheet.put(ink[:, : max(2, int(room))], x, base - ink.shape[0], style.pen_tone)
        return
    if what == "number":
        ink = resized(style.script.numbers[rng.integers(len(style.script.numbers))], style.write_scale)
        if ink.shape[1] > 1.1 * room:
            ink = resized(ink, 1.1 * room / ink.shape[1])
        sheet.put(
            ink,
            x + rng.uniform(0, max(1, 0.4 * room - 0.4 * ink.shape[1])),
            base - ink.shape[0] + rng.normal(0, 3),
            style.pen_tone,
        )
        return
    at = x + rng.uniform(0, 0.25 * room)
    for _ in range(int(rng.integers(1, 7))):
        ink = resized(style.script.words[rng.integers(len(style.script.words))], style.write_scale)
        if at + ink.shape[1] > x + room + 30:
            break
        sheet.put(ink, at, base - 0.75 * ink.shape[0] + rng.normal(0, 2), style.pen_tone)
        at += ink.shape[1] + rng.uniform(6, 22)
