"""Whom an evaluation is about: CEDAR's writers by its frozen folds, or those of a prepared training set by its own.

A training set holds no scans, so nothing can be said of it about other captures (`training.conditions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training import canvases, datasets, folds, training_set
from training.canvases import Canvases
from training.datasets import Signature
from training.training_set import BrokenTrainingSet, Fold

LEAST_TESTED = 2  # writers in every fold: strangers must be somebody


@dataclass(frozen=True)
class Tested:
    """Canvases of the writers who are tested, and their folds. `beside` are signatures that every tower was fitted on
    alike; `signatures` are the images, where they are at hand; `data_hash` is the training set's."""

    name: str
    canvases: Canvases
    folds: list[Fold]
    beside: Canvases
    signatures: Sequence[Signature] = ()
    data_hash: str | None = None
    left_out: int = 0

    def counts(self, references: Sequence[int]) -> list[int]:
        """The numbers of references that at least half of the writers have, and one more signature to ask about."""
        genuine = self.canvases.owner[self.canvases.genuine]
        usual = float(np.median(np.unique(genuine, return_counts=True)[1]))
        return [count for count in references if count < usual]

    def described(self) -> dict:
        """What a model card says of it."""
        everyone = set(self.canvases.owner.tolist())
        sizes = [
            {
                "test": len(everyone & set(fold.test)),
                "calibrate": len(everyone & set(fold.calibrate)),
                "fit": len(everyone - {*fold.test, *fold.calibrate}),
            }
            for fold in self.folds
        ]
        frozen = self.folds == _frozen()
        return {"name": self.name, "writers": len(everyone), "frozen": frozen, "folds": sizes} | {
            "left_out": self.left_out,
            "data": self.data_hash,
        }


def read(data: Path, cache: Path | None = None) -> Tested:
    """From a training set of `training.prepare`, or from a folder that holds `cedar/` or is CEDAR itself. Raises
    BrokenDataset or BrokenTrainingSet."""
    return _prepared(data) if training_set.is_training_set(data) else _cedar(data, cache)


def _cedar(data: Path, cache: Path | None) -> Tested:
    signatures = datasets.cedar(data / "cedar" if (data / "cedar").is_dir() else data)
    cedar, broad = canvases.load(signatures, cache), data / "cross-media-chinese"
    beside = canvases.load(datasets.cross_media(broad), cache) if broad.is_dir() else cedar
    return Tested("CEDAR", cedar, _frozen(), beside, signatures)


def _prepared(folder: Path) -> Tested:
    """The writers who stand in a fold. Whoever has fewer than two genuine signatures or no forgery, as some images
    could not be used, is left out: no error rate would mean anything."""
    prepared = training_set.load(folder)
    whole = prepared.canvases
    inside = np.isin(whole.owner, [owner for fold in prepared.folds for owner in fold.test])
    genuine, forged = (
        dict(zip(*np.unique(whole.owner[inside & kind], return_counts=True), strict=True))
        for kind in (whole.genuine, ~whole.genuine)
    )
    if not forged:
        raise BrokenTrainingSet(
            f"{folder} holds no forgeries, and a bundle's thresholds are chosen by how many of them pass. Add "
            "skilled forgeries (kind forged in manifest.csv) of ten writers or more, and prepare it again"
        )
    complete = [owner for owner, count in genuine.items() if count > 1 and owner in forged]
    for number, fold in enumerate(prepared.folds):
        if len(set(fold.test) & set(complete)) < LEAST_TESTED or not set(fold.calibrate) & set(complete):
            raise BrokenTrainingSet(
                f"fold {number} of {folder} has too few writers with two genuine signatures and a forgery: it needs "
                f"{LEAST_TESTED} to test on and one to calibrate on. Add writers, {5 * LEAST_TESTED} at least, or "
                "prepare it with another --seed"
            )
    tested = replace(whole.only(complete), unusable=whole.unusable)
    return Tested(
        name=" and ".join(sorted({_title(owner) for owner in complete})),
        canvases=tested,
        folds=prepared.folds,
        beside=whole.where(~inside) if not inside.all() else tested,
        data_hash=prepared.data_hash,
        left_out=len({*genuine, *forged}) - len(complete),
    )


def _frozen() -> list[Fold]:
    return [Fold(test, calibrate) for _, calibrate, test in map(folds.split, range(5))]


def _title(owner: str) -> str:
    source = owner.split("/", 1)[0]
    return "CEDAR" if source == "cedar" else source
