"""The Siamese network: a shallow tower that keeps layout, and the L1 head with weights that cannot go negative.

    tower:  canvas (128, 256, 1) -> w * e, float32 (d,)
    head:   logit(a, b) = bias - sum_i |w_i a_i - w_i b_i|,   w_i >= 0

The tower starts as an unlearned direction grid (training.floor): line detectors gathered in coarse overlapping cells.
Learning begins where the floor ends, and few parameters leave little room to learn the set instead of handwriting.

Layers are registered and written in `keras.ops`, so that any Keras backend trains them and safe loading works.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from training.canvases import CANVAS
from training.floor import gather

LINES = 16
STROKES, PARTS, WHOLES = (
    32,
    48,
    64,
)  # channels of what is learned, from a quarter of the canvas's resolution to an eighth
GRIDS = ((4, 8, 8), (2, 4, 30))  # rows, columns, channels: what lies where beside what there is
COLLECTIONS, QUICK = 8, 10.0  # most collections in a batch; their biases learn so many times as fast as weights
LEANING = 18.0  # so that how much a signature leans starts with the weight that served best when it was fixed


@keras.saving.register_keras_serializable("countersign")
class Gather(keras.layers.Layer):
    """Blurs feature maps (n, h, w, c) and samples them on a grid of cells: (n, rows, columns, c).

    The Gaussian reaches over neighbouring cells, so a stroke that moves by some pixels moves its weight smoothly.
    """

    def __init__(self, cells: tuple[int, int], blur: float = 0.8, **options) -> None:
        super().__init__(**options)
        self.cells, self.blur = tuple(cells), blur

    def build(self, shape) -> None:
        self.rows, self.columns = (
            gather(size, cells, self.blur * size / cells) for size, cells in zip(shape[1:3], self.cells, strict=True)
        )

    def call(self, maps):
        by_row = ops.tensordot(maps, ops.convert_to_tensor(self.rows), axes=[[1], [1]])
        cells = ops.tensordot(by_row, ops.convert_to_tensor(self.columns), axes=[[1], [1]])
        return ops.transpose(cells, (0, 2, 3, 1))

    def compute_output_shape(self, shape):
        return (shape[0], *self.cells, shape[-1])

    def get_config(self):
        return {**super().get_config(), "cells": self.cells, "blur": self.blur}


@keras.saving.register_keras_serializable("countersign")
class RootNormalise(keras.layers.Layer):
    """Divides each image's cells by their length and takes the square root: how much ink there is no longer
    counts, and no single cell outweighs the rest (RootSIFT: Arandjelovic and Zisserman, 2012)."""

    def call(self, cells):
        length = ops.sqrt(ops.sum(cells * cells, axis=(1, 2, 3), keepdims=True) + 1e-6)
        return ops.sqrt(cells / length + 1e-4)


@keras.saving.register_keras_serializable("countersign")
class NonNegativeScale(keras.layers.Layer):
    """Multiplies each number by its weight w = softplus(raw) >= 0, so that L1 between outputs is the head."""

    def build(self, shape) -> None:
        self.raw = self.add_weight(name="raw", shape=(shape[-1],), initializer="zeros")

    def call(self, vectors):
        return vectors * ops.softplus(self.raw)

    def weights_now(self) -> np.ndarray:
        """w, float32 (d,)."""
        return ops.convert_to_numpy(ops.softplus(self.raw))

    def set_weights_to(self, weights: np.ndarray) -> None:
        """Makes w equal to `weights`, which must be positive."""
        self.raw.assign(weights + np.log(-np.expm1(-weights)))


@keras.saving.register_keras_serializable("countersign")
class Lean(keras.layers.Layer):
    """How ink leans, as two numbers (n, 2) of canvases (n, h, w, 1): the mean direction of the ink from the middle,
    each pixel weighed by its distance, angles doubled (Mardia, 1972). Preprocessing turns ink back by part of its
    lean, because a page may lie askew; what is left still tells how level somebody writes."""

    def build(self, shape) -> None:
        down, right = (np.arange(size) - (size - 1) / 2 for size in shape[1:3])
        reach = np.hypot(down[:, None], right[None]) + 1e-6
        across, along = right[None] ** 2 - down[:, None] ** 2, 2 * down[:, None] * right[None]
        self.weights_of_ink = np.stack([along / reach, 0.3 * across / reach, reach], -1).astype(np.float32)

    def call(self, canvases):
        weights = ops.convert_to_tensor(self.weights_of_ink.reshape(-1, 3))
        sums = ops.matmul(ops.reshape(canvases, (-1, weights.shape[0])), weights)
        return LEANING * sums[:, :2] / (sums[:, 2:] + 1e-3)


@keras.saving.register_keras_serializable("countersign")
class PairLogits(keras.layers.Layer):
    """Vectors (n, d) and the collection that each comes from, int (n,), to the logits of all pairs (n, n): bias - L1.

    In training every collection has a bias of its own besides. People vary more on phones than on paper, and a tower
    that has to make up for that learns the collections.
    """

    def build(self, *shapes) -> None:  # noqa: ARG002 - Keras passes them
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")
        self.own = self.add_weight(name="own", shape=(COLLECTIONS,), initializer="zeros")

    def call(self, vectors, collection):
        apart = ops.abs(ops.expand_dims(vectors, 0) - ops.expand_dims(vectors, 1))
        own = QUICK * ops.take(self.own, collection)
        return self.bias + (own[None] + own[:, None]) / 2 - ops.sum(apart, axis=-1)


def line_detectors(count: int, size: int = 7) -> np.ndarray:
    """Detectors of strokes in `count` directions, float32 (size, size, 1, count): elongated second derivatives of a
    Gaussian, each without response to plain paper and with absolute values that sum to one."""
    reach = np.arange(size) - size // 2
    y, x = np.meshgrid(reach, reach, indexing="ij")
    filters = []
    for angle in np.arange(count) * np.pi / count:
        across = x * np.cos(angle) + y * np.sin(angle)
        along = -x * np.sin(angle) + y * np.cos(angle)
        line = (1 - (across / 0.8) ** 2) * np.exp(-0.5 * (across / 0.8) ** 2 - 0.5 * (along / 2.0) ** 2)
        line -= line.mean()
        filters.append(line / np.abs(line).sum())
    return np.stack(filters, -1)[:, :, None].astype(np.float32)


def build_tower() -> keras.Model:
    """The tower: canvases float32 (n, 128, 256, 1), ink 1 on paper 0, to vectors float32 (n, 498).

    Untrained it is a direction grid and the lean: what is learned starts near zero.
    """
    layers = keras.layers
    image = keras.Input((*CANVAS, 1), name="canvas")
    half = layers.AveragePooling2D(2, name="half")(image)  # the floor loses nothing by it, measured
    lines = layers.Conv2D(LINES, 7, padding="same", activation="relu", name="lines", trainable=False)(half)
    quarter = layers.AveragePooling2D(2, name="quarter")(lines)
    near = layers.Concatenate(name="near")([quarter, _learned(quarter, STROKES, 5, "strokes")])
    parts = _learned(layers.MaxPooling2D(2, name="eighth")(near), PARTS, 3, "parts")
    wide = layers.Concatenate(name="wide")([parts, _learned(parts, WHOLES, 3, "wholes")])
    grids = [_grid(near, wide, number, *grid) for number, grid in enumerate(GRIDS)]
    vector = layers.Concatenate(name="vector")([*grids, Lean(name="lean")(image)])
    tower = keras.Model(image, NonNegativeScale(name="scale")(vector), name="tower")
    _start_as_direction_grid(tower)
    return tower


def _learned(maps, channels: int, size: int, name: str):
    return keras.layers.Conv2D(channels, size, padding="same", activation="relu", name=name)(maps)


def _grid(near, wide, number: int, rows: int, columns: int, channels: int):
    """Feature maps to (n, rows * columns * channels): their own mixture of channels, gathered and evened."""
    layers = keras.layers
    fine = layers.Conv2D(channels, 1, name=f"fine_{number}")(near)
    small = keras.initializers.VarianceScaling(0.03, seed=number)  # the grid starts nearly as it is
    coarse = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=small, name=f"coarse_{number}")(wide)
    both = layers.Add(name=f"both_{number}")([fine, layers.UpSampling2D(2, name=f"up_{number}")(coarse)])
    maps = layers.ReLU(name=f"maps_{number}")(both)
    cells = RootNormalise(name=f"even_{number}")(Gather((rows, columns), name=f"gather_{number}")(maps))
    return layers.Flatten(name=f"vector_{number}")(cells)


def _start_as_direction_grid(tower: keras.Model) -> None:
    """Line detectors with a small threshold, which makes them choosy about direction, handed on unchanged."""
    tower.get_layer("lines").set_weights([line_detectors(LINES), np.full(LINES, -0.05, np.float32)])
    for number, (_, _, channels) in enumerate(GRIDS):
        rng = np.random.default_rng(number)
        kernel = rng.normal(0, 0.02, (1, 1, LINES + STROKES, channels)).astype(np.float32)
        for line in range(LINES):
            kernel[0, 0, line, line * channels // LINES if channels < LINES else line] = 1
        for second in range(LINES, channels):  # more channels than directions: start halfway
            kernel[0, 0, second, second] = 0.5
        tower.get_layer(f"fine_{number}").set_weights([kernel, np.zeros(channels, np.float32)])


def siamese(tower: keras.Model) -> keras.Model:
    """The network that is trained: canvases (n, 128, 256, 1) and the number of the collection that each comes from,
    int (n,), to the logits of all pairs (n, n)."""
    image = keras.Input((*CANVAS, 1), name="canvas")
    collection = keras.Input((), dtype="int32", name="collection")
    logits = PairLogits(name="head")(tower(image), collection)
    return keras.Model({"canvas": image, "collection": collection}, logits, name="siamese")
