"""Writes a stand-in bundle whose templates have a given size: right for memory and time, useless for signatures."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from benchmarks.child import answer_task
from embeddings.bundle import FORMAT, MANIFEST, TOWER
from embeddings.preprocess import CANVAS, PREPROCESSING_VERSION

COLUMNS = 16


def measure(dimension: int, folder: str) -> dict[str, Any]:
    canvas = keras.Input((*CANVAS, 1))
    cells = keras.layers.AveragePooling2D((CANVAS[0] * COLUMNS // dimension, CANVAS[1] // COLUMNS))(canvas)
    tower = keras.Model(canvas, keras.layers.Flatten()(cells))
    content = tf.lite.TFLiteConverter.from_keras_model(tower).convert()
    rate = {"value": [0.0, 0.0], "low": [0.0, 0.0], "high": [1.0, 1.0]}
    rates = {"score": [0.1, 0.9]} | dict.fromkeys(("skilled_far", "random_far", "frr"), rate)
    manifest = {
        "format": FORMAT,
        "model_version": "stand-in",
        "preprocessing_version": PREPROCESSING_VERSION,
        "canvas": CANVAS,
        "dimension": dimension,
        "bias": 1.0,
        "typical": 1.0,
        "thresholds": {"accept": 0.6, "reject": 0.3},
        "error_rates": {"1": rates},
        "files": {TOWER: hashlib.sha256(content).hexdigest()},
    }
    Path(folder).mkdir()
    (Path(folder) / TOWER).write_bytes(content)
    (Path(folder) / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return {}


if __name__ == "__main__":
    answer_task(measure)
