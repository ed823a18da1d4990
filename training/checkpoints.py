"""What an interrupted run goes on from: after each epoch a folder with the network, the history and the best tower.

A folder is renamed to `epoch-0007` when it is whole. SageMaker also copies it to S3 while training goes on, and a
spot interruption may cut that copy short: so each folder carries checksums, and resuming takes the newest whole one.
The batches of an epoch depend on the seed and the epoch alone, so a resumed run ends with the weights that it would
have had without interruption.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np

from training.checksums import checksum

NETWORK, HISTORY, BEST, SUMS = "siamese.keras", "history.json", "best.npz", "checksums.json"
KEPT = 2

History = list[dict[str, float]]


class Checkpoints:
    """`folder` None keeps nothing, but the best weights, in memory."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.best: list[np.ndarray] | None = None

    def resume(self, network: keras.Model) -> History:
        """Puts the newest whole state into a compiled network and answers its history; [] where there is none."""
        for state in sorted(self._states(), reverse=True):
            if is_whole(state):
                _restore(network, keras.models.load_model(state / NETWORK))
                if (state / BEST).exists():
                    with np.load(state / BEST) as stored:
                        self.best = [stored[f"arr_{number}"] for number in range(len(stored.files))]
                history: History = json.loads((state / HISTORY).read_text("utf-8"))
                return history
        return []

    def keep_best(self, network: keras.Model) -> None:
        self.best = [np.array(values) for values in network.get_weights()]  # a backend may hand out its own memory

    def save(self, network: keras.Model, history: History) -> None:
        if self.folder is None:
            return
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        network.save(fresh / NETWORK)
        (fresh / HISTORY).write_text(json.dumps(history), "utf-8")
        if self.best is not None:
            np.savez(fresh / BEST, *self.best)
        sums = {path.name: checksum(path) for path in sorted(fresh.iterdir())}
        (fresh / SUMS).write_text(json.dumps(sums), "utf-8")
        target = self.folder / f"epoch-{len(history):04d}"
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        for old in sorted(self._states())[:-KEPT]:
            shutil.rmtree(old)

    def _states(self) -> list[Path]:
        return list(self.folder.glob("epoch-*")) if self.folder else []


def is_whole(state: Path) -> bool:
    """Are all files there as they were written?"""
    try:
        sums = json.loads((state / SUMS).read_text("utf-8"))
        return all(checksum(state / name) == expected for name, expected in sums.items())
    except (OSError, ValueError):
        return False


def _restore(network: keras.Model, kept: keras.Model) -> None:
    network.set_weights(kept.get_weights())
    network.optimizer.build(network.trainable_variables)
    for mine, theirs in zip(network.optimizer.variables, kept.optimizer.variables, strict=True):
        mine.assign(theirs)
