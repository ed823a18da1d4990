"""Scenes by number: what the network learns from, what chooses its thresholds, and what tests draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.cheques import drawing, ink
from training.cheques.capture import Scene, photograph

VERSION = "4"
BACKS, LETTERS, PAIRS = 0.05, 0.08, 0.06  # shares of the scenes
VALIDATION = 1_000_000  # scenes from this number on are never learned from


def bank_of(first: int, cache: Path, data: Path | None) -> ink.Bank:
    """Who writes on scenes from number `first` on: those that are never learned from are written by other people."""
    if first >= VALIDATION:
        return ink.load(cache, None, people=240, hands=90, first=50_000)
    return ink.load(cache, data)


def scene(number: int, bank: ink.Bank) -> Scene:
    """Scene `number`: mostly one cheque; sometimes the back of one, something else, or two."""
    rng = np.random.default_rng([number, 3])
    kind = rng.random()
    if kind < BACKS:
        return photograph([drawing.back(rng, bank)], rng)
    if kind < BACKS + LETTERS:
        other = photograph([drawing.letter(rng, bank)], rng)
        return Scene(other.grey, [], [])
    if kind < BACKS + LETTERS + PAIRS:
        return photograph([drawing.draw(rng, bank), drawing.draw(rng, bank)], rng)
    return photograph([drawing.draw(rng, bank)], rng)
