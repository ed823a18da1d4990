"""A training set: a folder of canvases in shards, and `set.json` that says whose they are and who is held out.

    set.json                    version, counts, folds, data hash, the checksum of every shard
    shard-0000-0123abcd.npz     packed uint8 (n, 128, 32), owner and text str (n,), genuine bool (n,), unusable int

Plain arrays only: `np.load` never unpickles here. `set.json` is written last, so a folder with one is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embeddings.preprocess import CANVAS, PREPROCESSING_VERSION
from training.canvases import Canvases
from training.checksums import checksum

FORMAT = 1
SET = "set.json"


class BrokenTrainingSet(ValueError):
    """The folder is not a whole training set for this version; the message says what to do."""


@dataclass(frozen=True)
class Fold:
    """Writers to test on and to calibrate on; everyone else is fitted. They share nobody."""

    test: list[str]
    calibrate: list[str]


@dataclass(frozen=True)
class TrainingSet:
    folder: Path
    data_hash: str
    canvases: Canvases
    folds: list[Fold]

    def sources(self) -> list[str]:
        return sorted({owner.split("/", 1)[0] for owner in self.canvases.owner.tolist()})

    def of(self, source: str) -> Canvases:
        """The signatures of one collection."""
        return self.canvases.where(np.char.startswith(self.canvases.owner, f"{source}/"))

    def held_out(self, fold: int) -> Fold:
        if fold >= len(self.folds):
            raise BrokenTrainingSet(f"{self.folder} has folds 0 to {len(self.folds) - 1}, not {fold}")
        return self.folds[fold]


def is_training_set(folder: Path) -> bool:
    return (folder / SET).is_file()


def load(folder: Path) -> TrainingSet:
    """Reads a training set and checks every shard against its checksum. Raises BrokenTrainingSet."""
    described = _describe(folder)
    shards = [_shard(folder / name, expected) for name, expected in described["shards"].items()]
    folds = [Fold(**fold) for fold in described["folds"]]
    check_disjoint(folds)
    whole = Canvases(
        np.unpackbits(np.concatenate([shard["packed"] for shard in shards]), axis=-1),
        *(np.concatenate([shard[name] for shard in shards]) for name in ("owner", "text", "genuine")),
        unusable=int(described["unusable"]),
    )
    return TrainingSet(folder, described["data_hash"], whole, folds)


def check_disjoint(folds: Sequence[Fold]) -> None:
    """Nobody is tested twice, and nobody is calibrated on who is tested. Raises BrokenTrainingSet."""
    tested = [owner for fold in folds for owner in fold.test]
    if len(set(tested)) != len(tested) or any(set(fold.test) & set(fold.calibrate) for fold in folds):
        raise BrokenTrainingSet("a writer stands on both sides of a fold; prepare the set again")


def shard_name(number: int, digest: str) -> str:
    return f"shard-{number:04d}-{digest[:16]}.npz"


def write_shard(path: Path, canvases: Canvases) -> None:
    """Whole or not at all: a killed run leaves no half shard under a shard's name."""
    fresh = path.with_suffix(".part")
    with fresh.open("wb") as file:
        np.savez_compressed(
            file,
            packed=np.packbits(canvases.pixels, axis=-1),
            owner=canvases.owner,
            text=canvases.text,
            genuine=canvases.genuine,
            unusable=np.int64(canvases.unusable),
        )
    fresh.replace(path)


def finish(folder: Path, shards: Sequence[Path], folds: Sequence[Fold], source: str) -> dict:
    """Writes `set.json` over shards that are all there, and answers what it says. Raises BrokenTrainingSet."""
    check_disjoint(folds)
    parts = [_arrays(path) for path in shards]
    owners = np.concatenate([part["owner"] for part in parts])
    held_out = [{"test": fold.test, "calibrate": fold.calibrate} for fold in folds]
    described = {
        "format": FORMAT,
        "preprocessing_version": PREPROCESSING_VERSION,
        "canvas": list(CANVAS),
        "source": source,
        "data_hash": _hash([path.name for path in shards], held_out),
        "signatures": len(owners),
        "owners": len(set(owners.tolist())),
        "unusable": int(sum(part["unusable"] for part in parts)),
        "folds": held_out,
        "shards": {path.name: checksum(path) for path in shards},
    }
    fresh = folder / f"{SET}.part"
    fresh.write_text(json.dumps(described, indent=1) + "\n", "utf-8")
    fresh.replace(folder / SET)
    return described


def _hash(shards: Sequence[str], held_out: Sequence[dict]) -> str:
    """Of the signatures, which name their shards, and of who is held out: runs on the same signatures in other folds
    are runs on another set, fitted on whom this one tests."""
    return hashlib.sha256("\n".join([*shards, json.dumps(held_out)]).encode()).hexdigest()


def _describe(folder: Path) -> dict:
    try:
        described = json.loads((folder / SET).read_text("utf-8"))
    except OSError as problem:
        raise BrokenTrainingSet(f"{folder} holds no {SET}: it was never finished. Run training.prepare") from problem
    except ValueError as problem:
        raise BrokenTrainingSet(f"{folder / SET} is not JSON; run training.prepare again") from problem
    if described.get("format") != FORMAT:
        raise BrokenTrainingSet(f"{folder / SET} is not of format {FORMAT}; run training.prepare again")
    if described["preprocessing_version"] != PREPROCESSING_VERSION:
        raise BrokenTrainingSet(
            f"{folder} was prepared by preprocessing {described['preprocessing_version']}, this code has "
            f"{PREPROCESSING_VERSION}; run training.prepare again"
        )
    return described


def _shard(path: Path, expected: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise BrokenTrainingSet(f"{path} is missing; run training.prepare again, or upload it again")
    if checksum(path) != expected:
        raise BrokenTrainingSet(f"{path} has another checksum than {SET} says; fetch or prepare it again")
    return _arrays(path)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
