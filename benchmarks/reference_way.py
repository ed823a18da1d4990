"""The reference way: both images decoded, preprocessed and embedded at each request. Run apart, task on stdin.

Its network has random weights here, which cost the same as trained ones.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray

from benchmarks.child import answer_task

HEIGHT, WIDTH = 64, 128
Image = NDArray[np.float32]


def preprocess(encoded: bytes) -> Image:
    """Grey, opened and closed, cropped to the union of its contours, Otsu, 128 x 64 whatever its shape, 0 to 255."""
    grey = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    square = np.ones((3, 3), np.uint8)
    closed = cv2.morphologyEx(cv2.morphologyEx(grey, cv2.MORPH_OPEN, square), cv2.MORPH_CLOSE, square, iterations=2)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    left, top, width, height = cv2.boundingRect(np.vstack(contours))
    grey[closed == 0] = 255
    crop = grey[top : top + height, left : left + width]
    _, binary = cv2.threshold(crop, 150, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return cv2.resize(binary, (WIDTH, HEIGHT)).astype(np.float32)[..., np.newaxis]


def tower() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 1)),
            layers.Conv2D(64, 10, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 7, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 2, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(256, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(4096, activation="sigmoid"),
        ]
    )


def network() -> keras.Model:
    one, other = keras.Input((HEIGHT, WIDTH, 1)), keras.Input((HEIGHT, WIDTH, 1))
    shared = tower()
    apart = ops.abs(shared(one) - shared(other))
    return keras.Model([one, other], layers.Dense(1, activation="sigmoid")(apart))


def measure(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    encoded = [(Path(one).read_bytes(), Path(other).read_bytes()) for one, other in pairs]
    model = network()

    @tf.function(reduce_retracing=True)
    def warm(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return model([one, other], training=False)

    def by_predict(one: Image, other: Image) -> float:
        return float(model.predict([one, other], verbose=0)[0, 0])

    def by_function(one: Image, other: Image) -> float:
        return float(warm(tf.constant(one), tf.constant(other)).numpy()[0, 0])

    return {
        "parameters": model.count_params(),
        "predict": _time(by_predict, encoded),
        "tf.function": _time(by_function, encoded),
    }


def _time(score: Callable[[Image, Image], float], encoded: list[tuple[bytes, bytes]]) -> dict[str, float]:
    def verify(one: bytes, other: bytes) -> float:
        return score(preprocess(one)[np.newaxis], preprocess(other)[np.newaxis])

    for one, other in encoded[:3]:
        verify(one, other)
    wall, cpu = time.perf_counter(), time.process_time()
    for one, other in encoded:
        verify(one, other)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_ms": 1000 * wall / len(encoded), "cpu_ms": 1000 * cpu / len(encoded)}


if __name__ == "__main__":
    answer_task(measure)
