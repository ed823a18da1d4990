"""How a hand moves a pen: from targets to a pen path, by the sigma-lognormal model.

Each stroke towards the next target follows a lognormal speed that overlaps its neighbours (Plamondon, 1995), as used
for synthetic signatures by Ferrer, Diaz-Cabrera and Morales (2015).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Runs = list[np.ndarray]
SAMPLES = 8  # points of a path for each stroke; with fewer, tight loops get corners


@dataclass(frozen=True)
class Hand:
    """How somebody writes whatever is written; lengths in x-heights, angles as tangents. `steady` is the share of
    the pen's width that does not follow its speed."""

    slant: float
    width: float
    tall: float
    slope: float
    arch: float
    smooth: float
    pen: float
    tremor: float = 0.0
    steady: float = 0.0


def draw_hand(rng: np.random.Generator) -> Hand:
    """Somebody's hand."""
    return Hand(
        slant=rng.normal(0.25, 0.22),
        width=np.exp(rng.normal(0.05, 0.25)),
        tall=np.exp(rng.normal(0.0, 0.18)),
        slope=rng.normal(0.08, 0.07),
        arch=rng.normal(0, 0.006),
        smooth=rng.uniform(1.5, 2.3),
        pen=rng.uniform(0.07, 0.14),
    )


def wobble(hand: Hand, rng: np.random.Generator, amount: float) -> Hand:
    """The same hand at another moment."""
    return replace(
        hand,
        slant=hand.slant + rng.normal(0, 0.8 * amount),
        width=hand.width * np.exp(rng.normal(0, 0.9 * amount)),
        tall=hand.tall * np.exp(rng.normal(0, 0.9 * amount)),
        slope=hand.slope + rng.normal(0, 0.5 * amount),
        smooth=hand.smooth * np.exp(rng.normal(0, amount)),
        pen=hand.pen * np.exp(rng.normal(0, 2 * amount)),
    )


def pen_path(plan: Runs, hand: Hand, rng: np.random.Generator) -> Runs:
    """Runs of pen positions and ink widths float64 (k, 3) in x-heights, y upwards, of runs of targets (k, 2)."""
    path = []
    for run in plan:
        drawn = lognormal_strokes(run * [hand.width, hand.tall], hand.smooth)
        if hand.tremor:
            drawn = drawn + hand.tremor * 2.5 * _soften(rng.normal(0, 1, drawn.shape), 2.5)
        x = drawn[:, 0] + hand.slant * drawn[:, 1]
        y = drawn[:, 1] + hand.slope * drawn[:, 0] + hand.arch * drawn[:, 0] ** 2
        speed = np.hypot(*np.gradient(drawn, axis=0).T)
        thinner = (1 - hand.steady) * 0.35 * (speed / (np.median(speed) + 1e-9) - 0.7)
        ink = hand.pen * np.clip(1 - thinner, 0.6, 1.2)
        path.append(np.column_stack([x, y, _soften(ink[:, None], 3)[:, 0]]))
    return path


def lognormal_strokes(targets: np.ndarray, smooth: float) -> np.ndarray:
    """Positions float64 (k, 2) of a pen that starts a stroke to the next target every unit of time, each stroke
    covering its way as a lognormal distribution function; `smooth` is how long a stroke lasts."""
    targets = _beyond(targets)
    strokes = np.diff(targets, axis=0)
    # Every stroke has the same timing, so its course is computed once and laid where the stroke begins.
    lasts = int(np.ceil(4 * smooth)) + 1
    course = _lognormal_cdf(np.arange(1, lasts * SAMPLES + 1) / SAMPLES, np.log(0.75 * smooth), 0.4)
    moved = np.zeros(((len(strokes) + lasts) * SAMPLES, 2))
    pace = np.diff(course, prepend=0)
    for number, stroke in enumerate(strokes):
        moved[number * SAMPLES : number * SAMPLES + len(pace)] += pace[:, None] * stroke
    end = len(strokes) * SAMPLES + int(2 * smooth * SAMPLES)
    return targets[0] + np.cumsum(moved[:end], axis=0)


def _beyond(targets: np.ndarray, reach: float = 0.7) -> np.ndarray:
    """Virtual targets: overlapping strokes cut corners, so a hand aims beyond the corner that it means to reach."""
    aimed = targets.copy()
    aimed[1:-1] += reach * (targets[1:-1] - (targets[:-2] + targets[2:]) / 2) / 2
    return aimed


def _lognormal_cdf(time: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    z = (np.log(time) - mu) / (sigma * np.sqrt(2))
    # Abramowitz and Stegun 7.1.26: numpy has no erf, and 1.5e-7 is far below a pixel.
    t = 1 / (1 + 0.3275911 * np.abs(z))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return 0.5 * (1 + np.sign(z) * (1 - series * np.exp(-z * z)))


def _soften(rows: np.ndarray, spread: float) -> np.ndarray:
    """Gaussian smoothing along the first axis."""
    reach = np.arange(-int(4 * spread), int(4 * spread) + 1)
    kernel = np.exp(-0.5 * (reach / spread) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(rows, ((len(reach) // 2,) * 2, (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
