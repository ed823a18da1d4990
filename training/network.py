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

LINES, SHAPES, CELLS = 16, 16, (4, 8)


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
class PairLogits(keras.layers.Layer):
    """Vectors (n, d) to the logits of all their pairs (n, n): bias - L1."""

    def build(self, shape) -> None:  # noqa: ARG002 - Keras passes it
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, vectors):
        apart = ops.abs(ops.expand_dims(vectors, 0) - ops.expand_dims(vectors, 1))
        return self.bias - ops.sum(apart, axis=-1)


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


def build_tower(dimension: int) -> keras.Model:
    """The tower: canvases float32 (n, 128, 256, 1), ink 1 on paper 0, to vectors float32 (n, dimension), where the
    dimension is 32 cells times a number of channels.

    Untrained it is a direction grid of 4 x 8 cells: what the learned shapes add starts at zero.
    """
    channels, rest = divmod(dimension, CELLS[0] * CELLS[1])
    if rest or not channels:
        raise ValueError(f"the dimension must be a multiple of {CELLS[0] * CELLS[1]} cells, got {dimension}")
    image = keras.Input((*CANVAS, 1), name="canvas")
    half = keras.layers.AveragePooling2D(2, name="half")(image)  # the floor loses nothing by it, measured
    lines = keras.layers.Conv2D(LINES, 7, padding="same", activation="relu", name="lines")(half)
    quarter = keras.layers.AveragePooling2D(2, name="quarter")(lines)
    shapes = keras.layers.Conv2D(SHAPES, 5, padding="same", activation="relu", name="shapes")(quarter)
    both = keras.layers.Concatenate(name="both")([quarter, shapes])
    maps = keras.layers.Conv2D(channels, 1, activation="relu", name="maps")(both)
    cells = RootNormalise(name="even")(Gather(CELLS, name="gather")(maps))
    vector = keras.layers.Flatten(name="vector")(cells)
    tower = keras.Model(image, NonNegativeScale(name="scale")(vector), name="tower")
    _start_as_direction_grid(tower, channels)
    return tower


def _start_as_direction_grid(tower: keras.Model, channels: int) -> None:
    """Line detectors with a small threshold, which makes them choosy about direction, handed on unchanged."""
    lines, maps = tower.get_layer("lines"), tower.get_layer("maps")
    lines.set_weights([line_detectors(LINES), np.full(LINES, -0.05, np.float32)])
    kernel = np.zeros((1, 1, LINES + SHAPES, channels), np.float32)
    for line in range(LINES):
        kernel[0, 0, line, line * channels // LINES] = 1
    maps.set_weights([kernel, np.zeros(channels, np.float32)])


def siamese(tower: keras.Model) -> keras.Model:
    """The network that is trained: canvases (n, 128, 256, 1) to the logits of all pairs (n, n)."""
    image = keras.Input((*CANVAS, 1), name="canvas")
    return keras.Model(image, PairLogits(name="head")(tower(image)), name="siamese")
