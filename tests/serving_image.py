"""The serving image has TensorFlow 2.20, one version behind the one that exports. `make test-serving-image` makes an
environment with it and runs this; the other targets do not collect it."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from embeddings.encoder import Encoder

PREDICT = """
import sys
import numpy as np
import tensorflow as tf
assert tf.__version__.startswith("2.20"), tf.__version__
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(argument,) = served.structured_input_signature[1]
(vectors,) = served(**{argument: tf.constant(np.load(sys.argv[2]))}).values()
np.save(sys.argv[3], vectors.numpy())
"""


def test_the_saved_model_answers_the_same_in_the_serving_images_tensorflow(tmp_path: Path) -> None:
    python = os.environ.get("SERVING_PYTHON")
    if not python:
        pytest.skip("SERVING_PYTHON names no interpreter with TensorFlow 2.20")
    local = Encoder.load()
    canvases = (np.random.default_rng(0).random((4, 128, 256)) < 0.05).astype(np.float32)
    np.save(tmp_path / "canvases.npy", canvases[..., np.newaxis])
    tower = local.bundle.folder / "tower" / "1"
    files = [tower, tmp_path / "canvases.npy", tmp_path / "vectors.npy"]

    subprocess.run([python, "-c", PREDICT, *map(str, files)], check=True)

    assert np.abs(np.load(tmp_path / "vectors.npy") - local._tower.embed(canvases)).max() < 1e-4
