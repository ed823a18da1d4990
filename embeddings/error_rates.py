"""What a threshold costs: error rates measured on people whom the tower was not fitted on.

False acceptance and rejection rates as in ISO/IEC 19795-1, forgers and strangers apart. A table gives them for each
number of references; several people to compare with are several chances to be let through.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
KINDS = ("skilled_far", "random_far", "frr")


@dataclass(frozen=True)
class Rate:
    """A measured error rate in [0, 1] with its 95 % interval over writers."""

    value: float
    low: float
    high: float

    def among(self, people: int) -> "Rate":
        """The chance of at least one such error in `people` independent comparisons: 1 - (1 - rate)^people."""
        return Rate(*(_any_of(people, rate) for rate in (self.value, self.low, self.high)))


@dataclass(frozen=True)
class ErrorRates:
    """What one threshold costs: forgeries and strangers let through, genuine signatures turned away."""

    skilled_far: Rate
    random_far: Rate
    frr: Rate


@dataclass(frozen=True)
class _Rows:
    """The rates of one number of references at rising scores: float64 (n,), and (3, n) of value, low and high."""

    score: Curve
    rates: Mapping[str, Curve]


class ErrorTable:
    """Error rates by number of references and threshold."""

    def __init__(self, by_references: Mapping[int, _Rows]) -> None:
        self._by_references = dict(sorted(by_references.items()))

    @classmethod
    def parse(cls, written: Mapping[str, Any]) -> "ErrorTable":
        """From a bundle's JSON: `{"1": {"score": [...], "frr": {"value": [...], "low": [...], "high": [...]}, ...}}`.
        ValueError where rows are missing, not finite, or do not fall or rise as the score rises."""
        table = {int(references): _parse_rows(rows) for references, rows in written.items()}
        if min(table, default=0) != 1:
            raise ValueError("error rates start with one reference")
        return cls(table)

    def at(self, threshold: float, references: int = 1, people: int = 1) -> ErrorRates:
        """The rates of a threshold (a score) for the best of `references` specimens, among `people` compared.

        A number of references that is not in the table counts as the next smaller one that is. Rejecting a genuine
        signature is an error of one person, however many others are compared.
        """
        rows = self._rows(references)
        found = {
            name: Rate(*(float(np.interp(threshold, rows.score, curve)) for curve in rows.rates[name]))
            for name in KINDS
        }
        return ErrorRates(found["skilled_far"].among(people), found["random_far"].among(people), found["frr"])

    def threshold_for(self, target_far: float, references: int = 1, people: int = 1) -> float | None:
        """The lowest score at which at most `target_far` of skilled forgeries pass, on an account with `people` to
        compare; None where so small a share was never measured."""
        each = _any_of(1 / people, target_far)
        rows = self._rows(references)
        far = rows.rates["skilled_far"][0]
        if each < far[far > 0].min(initial=1):  # that none passed in so many trials is no proof of a smaller rate
            return None
        after = int(np.flatnonzero(far <= each)[0])
        if after == 0:
            return float(rows.score[0])
        # Straight between two rows, as `at` reads it.
        share = (far[after - 1] - each) / (far[after - 1] - far[after])
        return float(rows.score[after - 1] + share * (rows.score[after] - rows.score[after - 1]))

    def threshold_for_frr(self, target_frr: float, references: int = 1) -> float:
        """The highest score below which at most `target_frr` of genuine signatures lie, and never more than was
        measured."""
        rows = self._rows(references)
        frr = rows.rates["frr"][0]
        within = int(np.searchsorted(frr, target_frr, side="right"))  # so many rows reject no more than that
        if within in (0, len(frr)):
            return float(rows.score[0 if within == 0 else -1])
        share = (target_frr - frr[within - 1]) / (frr[within] - frr[within - 1])
        return float(rows.score[within - 1] + share * (rows.score[within] - rows.score[within - 1]))

    def _rows(self, references: int) -> _Rows:
        return self._by_references[max(count for count in self._by_references if count <= max(references, 1))]


def _any_of(chances: float, rate: float) -> float:
    """1 - (1 - rate)^chances, exact for small rates too."""
    return 1.0 if rate >= 1 else -math.expm1(chances * math.log1p(-rate))


def _parse_rows(written: Mapping[str, Any]) -> _Rows:
    score = np.asarray(written["score"], np.float64)
    rates = {
        name: np.stack([np.asarray(written[name][part], np.float64) for part in ("value", "low", "high")])
        for name in KINDS
    }
    if len(score) < 2 or not np.all(np.diff(score) > 0) or not (score[0] > 0 and score[-1] < 1):
        raise ValueError("scores of error rates rise strictly between 0 and 1")
    for name, curves in rates.items():
        if curves.shape != (3, len(score)) or not np.all((curves >= 0) & (curves <= 1)):
            raise ValueError(f"{name} must hold one rate in [0, 1] for each score")
        steps = np.diff(curves) if name == "frr" else -np.diff(curves)
        if np.any(steps < 0):
            raise ValueError(f"{name} must {'rise' if name == 'frr' else 'fall'} as the score rises")
    return _Rows(score, rates)
