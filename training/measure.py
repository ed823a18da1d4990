"""Error rates: trials of references against queries, their errors at a threshold, and intervals over writers.

A trial's score is a logit, higher = more alike. Genuine, skilled and random trials are never pooled
(ISO/IEC 19795-1: false rejection, false acceptance by forgers, false acceptance by strangers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.head import Head

KINDS = ("genuine", "skilled", "random")
GRID = 4096


@dataclass(frozen=True)
class Trials:
    """Scores float64 (n,), the kind of each trial (an index into KINDS) and the reference's writer, both int (n,)."""

    score: np.ndarray
    kind: np.ndarray
    writer: np.ndarray

    def of(self, kind: str) -> np.ndarray:
        return self.score[self.kind == KINDS.index(kind)]

    def mapped(self, slope: float, offset: float) -> Trials:
        """The same trials on another scale: `slope * score + offset`."""
        return Trials(slope * self.score + offset, self.kind, self.writer)


def pool(parts: list[Trials]) -> Trials:
    """Trials of folds that share no writer, as one set."""
    seen = [set(part.writer) for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen)), "folds must be writer-disjoint"
    return Trials(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "kind", "writer")))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """L1 between every row of `a` (n, d) and of `b` (m, d): float32 (n, m)."""
    return np.stack([np.abs(b - row).sum(1) for row in a]) if len(a) else np.zeros((0, len(b)), np.float32)


def typical_variation(vectors: np.ndarray, owner: np.ndarray, genuine: np.ndarray) -> float:
    """How far two genuine signatures of one writer lie apart: mean L1 over pairs, then over writers."""
    means = []
    for name in np.unique(owner):
        own = vectors[(owner == name) & genuine]
        if len(own) > 1:
            means.append(distances(own, own).sum() / (len(own) * (len(own) - 1)))
    return float(np.mean(means))


def run_trials(
    vectors: np.ndarray,
    owner: np.ndarray,
    genuine: np.ndarray,
    *,
    references: int = 1,
    draws: int = 10,
    strangers: int = 240,
    first_writer: int = 0,
    seed: int = 0,
    enrolled: np.ndarray | None = None,
    typical: float = 0.0,
) -> Trials:
    """Scores (the head's distance, negated) of every writer in the set against its other genuine signatures, its
    forgeries, and up to `strangers` genuine signatures of other writers.

    With one reference, every genuine signature is the reference once; with more, `draws` random choices are, and
    `typical` (`typical_variation` of other writers) is needed. Writers are numbered from `first_writer` so that folds
    can be pooled. `enrolled` (n, d) is what the same signatures are as references, where that differs.
    """
    if references > 1 and not typical:
        raise ValueError("several references are weighed by how much people typically vary; pass `typical`")
    enrolled, head = vectors if enrolled is None else enrolled, Head(0.0, typical)
    rng = np.random.default_rng(seed)
    scores, kinds, writers = [], [], []
    for number, name in enumerate(np.unique(owner)):
        own = np.flatnonzero((owner == name) & genuine)
        forged = np.flatnonzero((owner == name) & ~genuine)
        others = np.flatnonzero((owner != name) & genuine)
        others = rng.choice(others, min(strangers, len(others)), replace=False)
        queries = np.concatenate([own, forged, others])
        kind = np.repeat([0, 1, 2], [len(own), len(forged), len(others)])
        apart, among = distances(enrolled[own], vectors[queries]), distances(enrolled[own], enrolled[own])
        for chosen in _choices(len(own), references, draws, rng):
            asked = np.setdiff1d(np.arange(len(queries)), chosen)
            scores.append(-head.combined(apart[np.ix_(chosen, asked)], among[np.ix_(chosen, chosen)]))
            kinds.append(kind[asked])
            writers.append(np.full(len(asked), first_writer + number))
    return Trials(np.concatenate(scores).astype(np.float64), np.concatenate(kinds), np.concatenate(writers))


def _choices(count: int, references: int, draws: int, rng: np.random.Generator) -> list[np.ndarray]:
    if references == 1:
        return [np.array([one]) for one in range(count)]
    size = min(references, count - 1)  # somebody must be left to ask about
    return [rng.choice(count, size, replace=False) for _ in range(draws)]


class Errors:
    """Errors at every threshold on a fine grid, kept per writer so that writers can be drawn again."""

    def __init__(self, trials: Trials) -> None:
        self.grid = np.unique(np.quantile(trials.score, np.linspace(0, 1, GRID)))
        _, writer = np.unique(trials.writer, return_inverse=True)
        self.writers = int(writer.max()) + 1
        place = np.searchsorted(self.grid, trials.score, side="right")  # accepted by this many thresholds
        bins = len(self.grid) + 1
        flat = (trials.kind * self.writers + writer) * bins + place
        counts = np.bincount(flat, minlength=len(KINDS) * self.writers * bins)
        self.counts = counts.reshape(len(KINDS), self.writers, bins).astype(np.float64)

    def curve(self, kind: str, weights: np.ndarray | None = None) -> np.ndarray:
        """Share of `kind` that is accepted at each threshold of the grid, writers weighted by `weights`."""
        weights = np.ones(self.writers) if weights is None else weights
        counts = weights @ self.counts[KINDS.index(kind)]
        accepted = counts.sum() - np.cumsum(counts)[:-1]
        return accepted / max(counts.sum(), 1)

    def eer(self, impostor: str, weights: np.ndarray | None = None) -> float:
        """The error where impostors accepted and genuine rejected are equally many."""
        far, frr = self.curve(impostor, weights), 1 - self.curve("genuine", weights)
        at = int(np.argmin(np.abs(far - frr)))
        return float(far[at] + frr[at]) / 2

    def frr_at(self, impostor: str, far: float, weights: np.ndarray | None = None) -> float:
        """Genuine rejected at the loosest threshold that lets through no more than `far` of the impostors."""
        return float(1 - self.curve("genuine", weights)[self._at_far(impostor, far, weights)])

    def threshold_at_far(self, impostor: str, far: float) -> float:
        """The score at and above which at most `far` of the impostors are."""
        return float(self.grid[self._at_far(impostor, far)])

    def threshold_at_frr(self, frr: float) -> float:
        """The score below which at most `frr` of the genuine trials are."""
        rejected = 1 - self.curve("genuine")
        return float(self.grid[np.flatnonzero(rejected <= frr)[-1]])

    def accepted_at(self, kind: str, threshold: float, weights: np.ndarray | None = None) -> float:
        """Share of `kind` with a score at or above the threshold (to the grid's resolution)."""
        at = min(int(np.searchsorted(self.grid, threshold)), len(self.grid) - 1)
        return float(self.curve(kind, weights)[at])

    def interval(self, figure, draws: int = 1000, seed: int = 0) -> dict[str, float]:
        """`figure(weights)` with its 95 % interval over writers drawn with replacement."""
        rng = np.random.default_rng(seed)
        even = np.full(self.writers, 1 / self.writers)
        drawn = [figure(weights) for weights in rng.multinomial(self.writers, even, draws).astype(float)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        return {"value": figure(np.ones(self.writers)), "low": float(low), "high": float(high)}

    def table(self, thresholds: np.ndarray, draws: int = 300, seed: int = 0) -> dict[str, dict[str, list[float]]]:
        """Skilled and random false acceptance and false rejection at rising thresholds, each as lists of value, low
        and high: 95 % over writers, the same draws for every threshold, so that all curves are monotone."""
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(self.writers, np.full(self.writers, 1 / self.writers), draws).astype(float)
        at = np.minimum(np.searchsorted(self.grid, thresholds), len(self.grid) - 1)
        beyond = thresholds > self.grid[-1]
        rates = {}
        for name, kind in (("skilled_far", "skilled"), ("random_far", "random"), ("frr", "genuine")):
            curves = np.stack([self.curve(kind, weights)[at] for weights in (np.ones(self.writers), *drawn)])
            curves[:, beyond] = 0
            curves = 1 - curves if kind == "genuine" else curves
            low, high = np.percentile(curves[1:], [2.5, 97.5], axis=0)
            parts = {"value": curves[0], "low": low, "high": high}
            rates[name] = {part: [round(float(rate), 6) for rate in curve] for part, curve in parts.items()}
        return rates

    def _at_far(self, impostor: str, far: float, weights: np.ndarray | None = None) -> int:
        within = np.flatnonzero(self.curve(impostor, weights) <= far)
        return int(within[0]) if len(within) else len(self.grid) - 1


def rates_at(errors: Errors, threshold: float) -> dict:
    """The three error rates of one threshold, with intervals: what a bundle publishes."""
    return {
        "skilled_far": errors.interval(lambda w: errors.accepted_at("skilled", threshold, w)),
        "random_far": errors.interval(lambda w: errors.accepted_at("random", threshold, w)),
        "frr": errors.interval(lambda w: 1 - errors.accepted_at("genuine", threshold, w)),
    }


def auc(higher: np.ndarray, lower: np.ndarray) -> float:
    """Chance that a score of `higher` exceeds one of `lower`, ties counted half (Mann-Whitney)."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / (2 * len(lower)))


def platt(trials: Trials) -> tuple[float, float]:
    """Slope and offset that turn scores into log odds of "genuine, not a skilled forgery", both equally likely
    beforehand (Platt, 1999): logistic regression with each kind weighing one half, by Newton's method. As his, its
    targets are a little less than certain, so that few trials that happen to lie apart give no endless slope."""
    score = np.concatenate([trials.of("genuine"), trials.of("skilled")])
    counts = len(trials.of("genuine")), len(trials.of("skilled"))
    target = np.repeat([(counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2)], counts)
    weight = np.repeat([0.5 / counts[0], 0.5 / counts[1]], counts)
    centre, spread = score.mean(), score.std()
    X = np.column_stack([(score - centre) / spread, np.ones(len(score))])
    beta = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-X @ beta))
        gradient = X.T @ (weight * (target - chance))
        curvature = X.T @ (X * (weight * chance * (1 - chance))[:, None]) + 1e-9 * np.eye(2)
        beta += np.linalg.solve(curvature, gradient)
    slope = beta[0] / spread
    return float(slope), float(beta[1] - slope * centre)


def reliability(trials: Trials, bins: int = 10) -> list[dict[str, float]]:
    """Do scores mean what they say? Trials by score in (0, 1), tenth by tenth: their mean score beside the share that
    is genuine, where genuine signatures and skilled forgeries are equally likely beforehand (DeGroot and Fienberg,
    1983)."""
    score = {kind: 1 / (1 + np.exp(-trials.of(kind))) for kind in ("genuine", "skilled")}
    place = {kind: np.minimum((found * bins).astype(int), bins - 1) for kind, found in score.items()}
    rows = []
    for at in range(bins):
        inside = {kind: place[kind] == at for kind in score}
        weight = {kind: float(inside[kind].mean()) for kind in score}
        total = sum(weight.values())
        if total:
            mean = sum(float(score[kind][inside[kind]].sum()) / len(score[kind]) for kind in score) / total
            rows.append({"score": mean, "genuine": weight["genuine"] / total, "share_of_trials": total / 2})
    return rows
