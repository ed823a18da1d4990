"""The leak gate: does an embedding know how a signature was scanned rather than how it was written?

In CEDAR, genuine and forged signatures were scanned in different sessions. A tower that learned the sessions looks
excellent and is worthless, so every evaluation asks two questions whose honest answer is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.canvases import Canvases
from training.measure import auc, distances

PROBE_LIMIT, STRANGERS_TOLERANCE = 0.75, 0.03
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


class Embedded(Protocol):
    """One fold's vectors, float32 (n, d), of all canvases, and the writers that it tests."""

    vectors: np.ndarray
    test: list[str]


def gate(several: Sequence[Embedded], seen: Canvases) -> dict:
    """Both answers, averaged over folds, and whether they pass.

    probe      AUC of a linear probe that sees ONE embedding and no reference ("forged?"), fitted on the other writers
    strangers  AUC of scores of different people's genuine-genuine pairs over genuine-forgery pairs
    """
    probe, strangers = [], []
    for fold in several:
        test = np.isin(seen.owner, fold.test)
        probe.append(_probe(fold.vectors, seen.owner, seen.genuine, test))
        strangers.append(strangers_auc(fold.vectors[test], seen.owner[test], seen.genuine[test]))
    answer = {"probe_auc": float(np.mean(probe)), "strangers_auc": float(np.mean(strangers))}
    passed = answer["probe_auc"] < PROBE_LIMIT and abs(answer["strangers_auc"] - 0.5) <= STRANGERS_TOLERANCE
    return {**answer, "probe_by_fold": probe, "strangers_by_fold": strangers, "passed": bool(passed)}


def probe_within(vectors: np.ndarray, owner: np.ndarray, genuine: np.ndarray, parts: int = 5) -> float:
    """The probe's AUC on a set that was not trained on, over `parts` writer-disjoint parts."""
    found = []
    for _, rows in GroupKFold(parts).split(vectors, genuine, owner):
        test = np.zeros(len(owner), bool)
        test[rows] = True
        found.append(_probe(vectors, owner, genuine, test))
    return float(np.mean(found))


def strangers_auc(vectors: np.ndarray, owner: np.ndarray, genuine: np.ndarray) -> float:
    """AUC of genuine-genuine over genuine-forgery similarity, between different writers only. 0.5 is honest."""
    real = np.flatnonzero(genuine)
    apart = distances(vectors[real], vectors)
    foreign = owner[real][:, None] != owner[None]
    return auc(-apart[foreign & genuine[None]], -apart[foreign & ~genuine[None]])


def _probe(vectors: np.ndarray, owner: np.ndarray, genuine: np.ndarray, test: np.ndarray) -> float:
    X, y, groups = vectors[~test], genuine[~test], owner[~test]
    scores = {
        strength: np.mean(
            [
                _auc_of(_fitted(X[fit], y[fit], strength), X[held], y[held])
                for fit, held in GroupKFold(4).split(X, y, groups)
            ]
        )
        for strength in STRENGTHS
    }
    best = max(scores, key=scores.__getitem__)
    return _auc_of(_fitted(X, y, best), vectors[test], genuine[test])


def _fitted(X: np.ndarray, y: np.ndarray, strength: float):
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(X, y)


def _auc_of(model, X: np.ndarray, y: np.ndarray) -> float:
    odds = model.decision_function(X)
    return auc(odds[y], odds[~y])
