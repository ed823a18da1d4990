"""The inference runtime: the only module that knows it."""

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray


class Network:
    """A `.tflite` file with one input and one output, run from any thread."""

    def __init__(self, path: Path) -> None:
        # One thread: the server scales by processes, and threads of one image fight for the same cache.
        self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._one_at_a_time = threading.Lock()  # an interpreter owns its tensors, so it is not thread-safe

    def __call__(self, one: NDArray[np.float32]) -> NDArray[np.float32]:
        """The answer to one input, both without the axis of a batch."""
        # One image an invocation: every image then gives the same bytes whatever it is batched with.
        with self._one_at_a_time:
            self._interpreter.set_tensor(self._input, one[np.newaxis])
            self._interpreter.invoke()
            answer: NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return answer
