"""The frozen split: five folds of eleven CEDAR writers, never to change once figures were published.
Writers of other collections are split alike, by `draw`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

FOLDS = Path(__file__).with_name("folds.json")


def split(fold: int) -> tuple[list[str], list[str], list[str]]:
    """Owners to fit on (36), to calibrate on (8) and to test on (11) of a fold 0 to 4. They share nobody."""
    folds = json.loads(FOLDS.read_text("utf-8"))
    test, calibrate = folds[fold]["test"], folds[fold]["calibrate"]
    everyone = sorted(owner for one in folds for owner in one["test"])
    fit = [owner for owner in everyone if owner not in {*test, *calibrate}]
    assert not set(fit) & set(calibrate)
    assert not set(test) & {*fit, *calibrate}
    return fit, calibrate, test


def draw(owners: Sequence[str], seed: int = 1, folds: int = 5) -> list[tuple[list[str], list[str]]]:
    """Owners to test on and to calibrate on, by fold, of a collection that has no frozen split: everyone is tested
    once, and a seventh of the rest calibrates, two at least. The order of `owners` does not matter. ValueError below
    `folds`."""
    if len(owners) < folds:
        raise ValueError(f"writer-disjoint folds need at least {folds} writers, there are {len(owners)}")
    shuffled = sorted(owners, key=lambda owner: hashlib.sha256(f"{seed} {owner}".encode()).digest())
    drawn = []
    for fold in range(folds):
        test = shuffled[fold::folds]
        rest = [owner for owner in shuffled[fold:] + shuffled[:fold] if owner not in test]
        drawn.append((sorted(test), sorted(rest[: max(2, len(rest) // 7)])))
    return drawn
