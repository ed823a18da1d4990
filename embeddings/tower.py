"""The tower: from canvases to vectors."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embeddings.runtime import Network

Vectors = NDArray[np.float32]


class Tower(Protocol):
    """What embeds canvases: LiteRT in this process, a remote endpoint, or a fake in a test."""

    def embed(self, canvases: NDArray[np.float32]) -> Vectors:
        """Canvases float32 (n, height, width), ink 1.0 on paper 0.0, to vectors float32 (n, d)."""
        ...


class LiteRTTower:
    def __init__(self, path: Path) -> None:
        self._network = Network(path)

    def embed(self, canvases: NDArray[np.float32]) -> Vectors:
        return np.stack([self._network(canvas[:, :, np.newaxis]) for canvas in canvases])
