"""How forgers fail: skilled forgeries by mechanism.

Whoever imitates a signature has only its picture. What goes wrong then is known from casework (Osborn, 1929) and from
measured movements (van Galen and van Gemmert, 1996): slow drawing, tremor, pen lifts in odd places, strokes planned
otherwise, wrong proportions, or a line that is traced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from training.kinematics import Hand, Runs, draw_hand

Copied = tuple[Runs, Hand]


def copy(plan: Runs, hand: Hand, forger: np.random.Generator, error: float, mechanism: str | None = None) -> Copied:
    """What a forger has learned of somebody's plan and hand: the eye's errors, always, and one mechanism more, drawn
    or named. `error` scales how far shapes and proportions are off."""
    chosen = str(forger.choice(list(MECHANISMS))) if mechanism is None else mechanism
    if chosen == "traced":
        return _traced(plan, hand, forger, error)
    own = draw_hand(forger)
    learned = forger.uniform(0.5, 0.85)
    seen = replace(
        hand,
        slant=learned * hand.slant + (1 - learned) * own.slant,
        width=hand.width * np.exp(forger.normal(0, 0.08 * error)),
        tall=hand.tall * np.exp(forger.normal(0, 0.08 * error)),
        slope=hand.slope + forger.normal(0, 0.03 * error),
        smooth=0.85 * hand.smooth,
        pen=own.pen,
        tremor=forger.uniform(0.005, 0.02),
    )
    return MECHANISMS[chosen](_misread(plan, forger, 0.06 * error), seen, forger, error)


def _misread(plan: Runs, forger: np.random.Generator, amount: float) -> Runs:
    """Targets read off a picture: each a little wrong, each run a little large or small."""
    read = []
    for run in plan:
        middle = run.mean(0)
        scaled = middle + (run - middle) * np.exp(forger.normal(0, 0.8 * amount, 2))
        read.append(scaled + forger.normal(0, amount, run.shape) + forger.normal(0, amount, 2))
    return read


def _slower(plan: Runs, hand: Hand, forger: np.random.Generator, _error: float) -> Copied:
    """Strokes that no longer overlap: corners, and a line of one width."""
    return plan, replace(hand, smooth=hand.smooth * forger.uniform(0.5, 0.65), steady=0.9)


def _shakier(plan: Runs, hand: Hand, forger: np.random.Generator, error: float) -> Copied:
    return plan, replace(hand, tremor=forger.uniform(0.03, 0.06) * min(error, 2), steady=0.5)


def _lifted(plan: Runs, hand: Hand, forger: np.random.Generator, error: float) -> Copied:
    """The pen stops to look, and goes on beside where it stopped."""
    runs: Runs = []
    for run in plan:
        rest = run
        while len(rest) > 5 and forger.random() < 0.6:
            cut = int(forger.integers(2, len(rest) - 2))
            runs.append(rest[: cut + 1])
            rest = rest[cut:] + forger.normal(0, 0.07 * error, 2)
        runs.append(rest)
    return runs, hand


def _replanned(plan: Runs, hand: Hand, forger: np.random.Generator, error: float) -> Copied:
    """Other strokes make the same picture: some are split, some drawn the other way round, some left out."""
    runs: Runs = []
    for run in plan:
        points = [run[0]]
        for before, after in pairwise(run):
            if forger.random() < 0.3:
                points.append((before + after) / 2 + forger.normal(0, 0.06 * error, 2))
            if forger.random() > 0.06 * error or after is run[-1]:
                points.append(after)
        seen = np.array(points)
        runs.append(seen[::-1] if forger.random() < 0.25 else seen)
    return runs, hand


def _misproportioned(plan: Runs, hand: Hand, forger: np.random.Generator, error: float) -> Copied:
    """Parts too wide or too narrow, too high or too low, more so the further they lie apart."""
    every = np.concatenate(plan)
    low, high = every[:, 0].min(), every[:, 0].max()
    knots = np.linspace(low, high, 5)
    stretch = np.exp(forger.normal(0, 0.16 * error, 5))
    along = np.concatenate([[0.0], np.cumsum((stretch[:-1] + stretch[1:]) / 2)]) * (high - low) / 4
    lift = forger.normal(0, 0.12 * error, 5)
    size = np.exp(forger.normal(0, 0.12 * error, 5))

    def moved(run: np.ndarray) -> np.ndarray:
        x, y = run.T
        wide = np.interp(x, knots, along) + (x - np.clip(x, low, high))
        return np.column_stack([wide, y * np.interp(x, knots, size) + np.interp(x, knots, lift)])

    return [moved(run) for run in plan], hand


def _traced(plan: Runs, hand: Hand, forger: np.random.Generator, error: float) -> Copied:
    """Every point in its place, give or take the width of a line, and none of the movement: slow, shaky, lifted."""
    followed, _ = _lifted(plan, hand, forger, 0.4 * error)
    slow = replace(
        hand,
        smooth=hand.smooth * forger.uniform(0.55, 0.7),
        tremor=forger.uniform(0.02, 0.045),
        steady=0.9,
        pen=draw_hand(forger).pen,
    )
    return [run + forger.normal(0, 0.03 * error, run.shape) for run in followed], slow


MECHANISMS: dict[str, Callable[[Runs, Hand, np.random.Generator, float], Copied]] = {
    "slower": _slower,
    "shakier": _shakier,
    "lifted": _lifted,
    "replanned": _replanned,
    "misproportioned": _misproportioned,
    "traced": _traced,
}
