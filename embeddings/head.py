"""The head: an L1 distance between two scaled templates and a sigmoid; several specimens also tell how much somebody
varies.

Its weights live in the tower (`tower` returns `w * e`), after Koch, Zemel and Salakhutdinov (2015), "Siamese neural
networks for one-shot image recognition", with `w >= 0` so that the weighted distance is a plain L1 distance.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def distances(references: Vectors, query: Vectors) -> Vectors:
    """L1 distance of every row of `references` (..., d) to `query` (d,): float32 (...,).

    Summed in float64 so that the result does not depend on the order of the coordinates.
    """
    sums: Vectors = np.abs(references - query).sum(axis=-1, dtype=np.float64).astype(np.float32)
    return sums


# All in shares of how far the specimens of one person lie apart: what is taken off for it, at how many times the
# typical it ends, and how much further than the nearest specimen the second nearest may count.
FORGIVEN, MOST, FURTHER = 0.5, 1.6, 0.5


@dataclass(frozen=True)
class Head:
    """`bias`, and `typical`: how far two specimens of one person lie apart on average.

    Who varies much is forgiven more: half of how far the person's own specimens lie apart is taken off. One specimen
    cannot tell, so it counts as typical; and nobody is forgiven without end, or two specimens with nothing in common
    would open an account to everybody.
    """

    bias: float
    typical: float

    def distance(self, references: Vectors, query: Vectors) -> float:
        """How far `query` (d,) is from a person with specimens `references` (n, d): the L1 distance to a single one,
        `combined` to several."""
        apart = distances(references, query)[:, np.newaxis]
        among = np.stack([distances(references, one) for one in references]) if len(references) > 1 else apart
        return float(self.combined(apart, among)[0])

    def combined(self, apart: Vectors, among: Vectors) -> NDArray[np.float64]:
        """Distances float64 (k,) of k queries from a person, given the L1 distances `apart` (n, k) from each specimen
        and `among` (n, n) between them: the mean of the two nearest, less half of what the person varies more than is
        typical. Whoever signs in two ways is not held to both, so the second nearest counts only so far.
        """
        n = len(apart)
        if n == 1:
            return np.asarray(apart[0], np.float64)
        first, second = np.sort(apart, axis=0)[:2].astype(np.float64)
        varies = float(among.sum(dtype=np.float64)) / (n * (n - 1))
        forgiven = FORGIVEN * (min(varies, MOST * self.typical) - self.typical)
        further = np.minimum(second - first, FURTHER * self.typical) / 2
        return np.asarray(first + further - forgiven, np.float64)

    def score(self, distance: float) -> float:
        """Probability-like score in (0, 1) of a distance; falls strictly as the distance grows."""
        logit = self.bias - distance
        # Either branch only ever exponentiates a negative number, so nothing overflows.
        return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))

    def distance_of(self, score: float) -> float:
        """The distance that has this score: the inverse of `score`. ValueError outside (0, 1)."""
        if not 0 < score < 1:
            raise ValueError(f"a score lies strictly between 0 and 1, got {score}")
        return self.bias - math.log(score / (1 - score))
