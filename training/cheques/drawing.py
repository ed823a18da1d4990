"""Cheques that no bank issued: layouts, fields, print and handwriting, all from a seed.

What is known of each signature on one: the outline of its ink, and the outline of its field, the ink with the caption
printed for it and a small margin, as a person would frame it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from training.cheques import paper
from training.cheques.fields import body, crossing, foot, head, stamp
from training.cheques.ink import Bank, resized
from training.cheques.printing import gibberish, text
from training.cheques.sheet import WIDTH, Sheet, caption, draw_style, fill
from training.cheques.zones import Outline, draw_zones, sign


@dataclass
class Cheque:
    """A sheet uint8 (h, w), dark on light, upright, and the outlines of the signatures' ink and fields on it."""

    grey: np.ndarray
    inks: list[Outline] = field(default_factory=list)
    fields: list[Outline] = field(default_factory=list)


def draw(rng: np.random.Generator, bank: Bank, signed: bool | None = None) -> Cheque:
    """A cheque; `signed` says whether anybody signed it, by default five in six are."""
    height = int(WIDTH / rng.uniform(1.95, 2.75))
    sheet = Sheet(paper.draw((height, WIDTH), rng), rng)
    style = draw_style(rng, bank)
    head(sheet, style, rng)
    body(sheet, style, rng)
    zones = draw_zones(sheet, style, rng)
    foot(sheet, style, rng)
    if rng.random() < 0.22:
        stamp(sheet, rng)
    inks, fields = [], []
    will = rng.random() < 0.84 if signed is None else signed
    for number, zone in enumerate(zones):
        if will and (number == 0 or rng.random() < 0.7):
            ink, around = sign(sheet, zone, bank, style, rng)
            inks.append(ink)
            fields.append(around)
    if rng.random() < 0.1:
        stamp(sheet, rng)
    if rng.random() < 0.12:
        crossing(sheet, style, rng)
    return Cheque(_printed(sheet.grey, rng), inks, fields)


def back(rng: np.random.Generator, bank: Bank) -> Cheque:
    """The other side: show-through of the front, printed notes, stamps, numbers; no signature is asked for."""
    front = draw(rng, bank)
    height = front.grey.shape[0]
    sheet = Sheet(
        paper.draw((height, WIDTH), rng)
        if rng.random() < 0.4
        else np.full((height, WIDTH), rng.uniform(215, 255), np.float32),
        rng,
    )
    if rng.random() < 0.6:
        shown = cv2.GaussianBlur(255 - front.grey[:, ::-1].astype(np.float32), (0, 0), rng.uniform(0.8, 2.5))
        sheet.grey -= shown * rng.uniform(0.02, 0.15)
    style = draw_style(rng, bank)
    for _ in range(int(rng.integers(0, 5))):
        ink = caption(style, rng, gibberish(int(rng.integers(10, 60)), rng))
        ink = np.ascontiguousarray(np.rot90(ink)) if rng.random() < 0.4 else ink
        sheet.put(ink, rng.uniform(10, 800), rng.uniform(10, height - 40), style.print_tone)
    for _ in range(int(rng.integers(0, 3))):
        fill(sheet, style, rng.uniform(20, 600), rng.uniform(50, height - 20), 250, "number")
    if rng.random() < 0.4:
        stamp(sheet, rng)
    return Cheque(_printed(sheet.grey, rng))


def letter(rng: np.random.Generator, bank: Bank) -> Cheque:
    """No cheque: a page of text, a few words, a lone signature, or empty paper."""
    shape = (int(rng.uniform(300, 1000)), WIDTH)
    sheet = Sheet(np.full(shape, rng.uniform(190, 255), np.float32), rng)
    style = draw_style(rng, bank)
    kind = rng.choice(["text", "hand", "signature", "empty"], p=[0.3, 0.25, 0.3, 0.15])
    if kind == "text":
        for y in np.arange(40, shape[0] - 30, style.small * rng.uniform(1.6, 3)):
            sheet.put(text(gibberish(70, rng), style.small, style.face), rng.uniform(40, 60), y, style.print_tone)
    elif kind == "hand":
        style.filled = 1.0
        for y in np.arange(80, shape[0] - 30, rng.uniform(50, 120)):
            fill(sheet, style, 60, y, 850, "words")
    elif kind == "signature":
        ink = bank.signatures[rng.integers(len(bank.signatures))]
        ink = resized(ink, rng.uniform(0.3, 0.9) * min(WIDTH / ink.shape[1], shape[0] / ink.shape[0]))
        sheet.put(ink, rng.uniform(0, WIDTH - ink.shape[1]), rng.uniform(0, shape[0] - ink.shape[0]), style.pen_tone)
    return Cheque(_printed(sheet.grey, rng))


def _printed(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The finished sheet uint8: as it is, or cut to black and white as clearing houses do."""
    if rng.random() < 0.28:
        limit = rng.uniform(110, 185)
        soft = cv2.GaussianBlur(grey, (0, 0), 0.5)
        speckled = soft + rng.normal(0, rng.uniform(1, 14), grey.shape).astype(np.float32)
        grey = np.where(speckled > limit, rng.uniform(240, 255), rng.uniform(0, 30))
    return np.asarray(np.clip(grey, 0, 255), np.uint8)
