"""The head: an L1 distance between two scaled templates and a sigmoid, nothing else.

Its weights live in the tower (`tower` returns `w * e`), after Koch, Zemel and Salakhutdinov (2015), "Siamese neural
networks for one-shot image recognition", with `w >= 0` so that the weighted distance is a plain L1 distance.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def distances(references: Vectors, query: Vectors) -> Vectors:
    """L1 distance of every row of `references` (k, d) to `query` (d,): float32 (k,).

    Summed in float64 so that the result does not depend on the order of the coordinates.
    """
    sums: Vectors = np.abs(references - query).sum(axis=1, dtype=np.float64).astype(np.float32)
    return sums


@dataclass(frozen=True)
class Head:
    bias: float

    def score(self, distance: float) -> float:
        """Probability-like score in (0, 1) of an L1 distance; falls strictly as the distance grows."""
        logit = self.bias - distance
        # Either branch only ever exponentiates a negative number, so nothing overflows.
        return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))

    def distance(self, score: float) -> float:
        """The L1 distance that has this score: the inverse of `score`. ValueError outside (0, 1)."""
        if not 0 < score < 1:
            raise ValueError(f"a score lies strictly between 0 and 1, got {score}")
        return self.bias - math.log(score / (1 - score))
