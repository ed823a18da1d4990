"""The contract between the service and a real SavedModel: TensorFlow behind SageMaker's HTTP, our tower before it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training/requirements.txt is not installed")

from embeddings.encoder import Encoder
from embeddings.identity import tower_name
from service.remote_tower import SageMakerTower
from tests.support.sagemaker import SageMaker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tensorflow,
    # TensorFlow 2.21 predates numpy 2's `copy` argument; nothing of ours can change that.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning"),
]


def test_the_saved_model_of_the_bundle_serves_the_vectors_of_its_local_tower(
    sagemaker: SageMaker, samples: Path
) -> None:
    import tensorflow as tf

    local = Encoder.load()
    served = tf.saved_model.load(str(local.bundle.folder / "tower" / "1")).signatures["serving_default"]
    (argument,) = served.structured_input_signature[1]

    def predict(canvases: np.ndarray) -> np.ndarray:
        (vectors,) = served(**{argument: tf.constant(canvases)}).values()
        return np.asarray(vectors.numpy())

    sagemaker.serve("towers", tower_name(local.model_version, local.bundle.tower), predict)
    remote = Encoder(local.bundle, SageMakerTower(local.bundle, "towers", 60))
    images = [path.read_bytes() for path in sorted(samples.glob("*/genuine_*.png"))]

    here, there = local.embed(images), remote.embed(images)

    assert here.shape == (len(images), local.dimension)
    assert np.abs(here - there).max() < 1e-4
    assert len(sagemaker.asked("InvokeEndpoint")) == 1
