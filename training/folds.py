"""The frozen split: five folds of eleven CEDAR writers, never to change once figures were published."""

from __future__ import annotations

import json
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
