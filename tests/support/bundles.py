"""Other model versions: copies of the shipped bundle, and towers whose vectors are nowhere near the shipped one's."""

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.bundle import MANIFEST
from embeddings.encoder import Encoder, shipped_bundle
from embeddings.tower import Tower


def copy_bundle(shelf: Path, version: str, *, more_bias: float = 0) -> Path:
    """A bundle of another version in a folder below `shelf`. Checksums cover the listed files, not the manifest."""
    folder = shelf / version
    shutil.copytree(shipped_bundle(), folder)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    changes = {"model_version": version, "bias": manifest["bias"] + more_bias}
    (folder / MANIFEST).write_text(json.dumps(manifest | changes), "utf-8")
    return folder


class DistantTower:
    """Distances among its vectors are those of the original; to a vector of the original they are enormous, so
    whatever mixes versions scores 0."""

    def __init__(self, original: Tower) -> None:
        self._original = original

    def embed(self, canvases: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors = self._original.embed(canvases)
        vectors[:, 0] += 1024
        return vectors


def set_apart(encoder: Encoder) -> Encoder:
    encoder._tower = DistantTower(encoder._tower)
    return encoder
