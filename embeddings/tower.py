"""The tower: from canvases to vectors. The only module that knows the inference runtime."""

import threading
from pathlib import Path
from typing import Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Tower(Protocol):
    """What embeds canvases: LiteRT in this process, a remote endpoint, or a fake in a test."""

    def embed(self, canvases: NDArray[np.float32]) -> Vectors:
        """Canvases float32 (n, height, width), ink 1.0 on paper 0.0, to vectors float32 (n, d)."""
        ...


class LiteRTTower:
    def __init__(self, path: Path) -> None:
        # One thread: the server scales by processes, and threads of one image fight for the same cache.
        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._one_at_a_time = threading.Lock()  # an interpreter owns its tensors, so it is not thread-safe

    def embed(self, canvases: NDArray[np.float32]) -> Vectors:
        return np.stack([self._embed_one(canvas) for canvas in canvases])

    def _embed_one(self, canvas: NDArray[np.float32]) -> Vectors:
        # One image an invocation: every image then gives the same bytes whatever it is batched with.
        with self._one_at_a_time:
            self._interpreter.set_tensor(self._input, canvas[np.newaxis, :, :, np.newaxis])
            self._interpreter.invoke()
            vector: Vectors = self._interpreter.get_tensor(self._output)[0]
        return vector
