"""Does a target error rate hold on an account? Whole accounts of several signatories, asked by forgers and strangers.

`target_far` is promised per account, so several people to compare with need a stricter score than one. Each fold's
score comes from the error rates of the other folds, so nobody who is asked had a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embeddings.error_rates import ErrorTable
from training.measure import Errors, Trials, distances, pool

LOGITS = np.arange(-12, 12.01, 0.25)
REFERENCES = (1, 2, 3, 5)
PEOPLE = (1, 2, 5, 10)
TARGETS = (0.01, 0.05, 0.10)


@dataclass(frozen=True)
class Asked:
    """Writers of one fold as they are asked: calibrated vectors, so that a score is `offset - L1`."""

    vectors: np.ndarray
    owner: np.ndarray
    genuine: np.ndarray
    offset: float


def error_table(by_references: dict[int, Trials]) -> dict[str, dict]:
    """Error rates by number of references as a bundle holds them, from calibrated trials."""
    score = [round(float(1 / (1 + np.exp(-logit))), 8) for logit in LOGITS]
    return {
        str(references): {"score": score, **Errors(trials).table(LOGITS)}
        for references, trials in by_references.items()
    }


def held(folds: list[Asked], trials: list[dict[int, Trials]], draws: int = 20, seed: int = 0) -> list[dict]:
    """What became of each target on accounts of 1, 2, 5 and 10 people with one reference each: shares of skilled
    forgeries and of strangers that passed, and of genuine signatures that did not. Accounts that would leave nobody
    outside are left out, and one fold alone has no others to read scores off: []."""
    if len(folds) < 2:
        return []
    tables = [
        ErrorTable.parse(error_table({1: pool([other[1] for at, other in enumerate(trials) if at != left_out])}))
        for left_out in range(len(folds))
    ]
    rows = []
    fewest = min(len(np.unique(fold.owner)) for fold in folds)
    for people in (people for people in PEOPLE if people < fewest):
        best = [_best_scores(fold, people, draws, np.random.default_rng([seed, people])) for fold in folds]
        for target in TARGETS:
            passed: dict[str, list[np.ndarray]] = {"genuine": [], "skilled": [], "random": []}
            for scores, table in zip(best, tables, strict=True):
                threshold = table.threshold_for(target, 1, people)
                logit = np.inf if threshold is None else np.log(threshold / (1 - threshold))
                for kind, found in scores.items():
                    passed[kind].append(found >= logit)
            shares = {kind: float(np.concatenate(parts).mean()) for kind, parts in passed.items()}
            rows.append(
                {
                    "people": people,
                    "target_far": target,
                    "skilled_far": shares["skilled"],
                    "random_far": shares["random"],
                    "frr": 1 - shares["genuine"],
                }
            )
    return rows


def _best_scores(fold: Asked, people: int, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Best scores (logits) on drawn accounts: of one signatory's other genuine signatures and forgeries, and of
    genuine signatures of people who are not on the account."""
    names = np.unique(fold.owner)
    found: dict[str, list[np.ndarray]] = {"genuine": [], "skilled": [], "random": []}
    for name in names:
        for _ in range(draws):
            others = rng.choice(names[names != name], min(people, len(names)) - 1, replace=False)
            references = [rng.choice(np.flatnonzero((fold.owner == who) & fold.genuine)) for who in (name, *others)]
            mine, outside = fold.owner == name, ~np.isin(fold.owner, [name, *others])
            asked = {
                "genuine": np.setdiff1d(np.flatnonzero(mine & fold.genuine), references),
                "skilled": np.flatnonzero(mine & ~fold.genuine),
                "random": np.flatnonzero(outside & fold.genuine)[:: max(1, people)],
            }
            for kind, rows in asked.items():
                if len(rows):
                    apart = distances(fold.vectors[references], fold.vectors[rows])
                    found[kind].append(fold.offset - apart.min(0))
    return {kind: np.concatenate(parts) for kind, parts in found.items()}
