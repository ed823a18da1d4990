"""The Siamese network: a shallow tower that keeps layout, and the L1 head with weights that cannot go negative.

    tower:  canvas (128, 256, 1) -> w * e, float32 (d,)
    head:   logit(a, b) = bias - sum_i |w_i a_i - w_i b_i|,   w_i >= 0

The tower starts as the unlearned direction grid (training.floor): oriented filters, gathered in coarse overlapping
cells, then a projection that `training.train` starts from principal components. Learning begins at the floor.

Layers are registered and written in `keras.ops`, so that any Keras backend trains them and safe loading works.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from training.canvases import CANVAS
from training.floor import gather

ORIENTED, SHAPES, MIXED, CELLS = 16, 32, 16, (8, 16)


@keras.saving.register_keras_serializable("countersign")
class Gather(keras.layers.Layer):
    """Blurs feature maps (n, h, w, c) and samples them on a grid of cells: (n, rows, columns, c).

    The Gaussian reaches over neighbouring cells, so a stroke that moves by some pixels moves its weight smoothly.
    """

    def __init__(self, cells: tuple[int, int] = CELLS, blur: float = 0.75, **options) -> None:
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


def oriented_filters(count: int = ORIENTED, size: int = 7) -> np.ndarray:
    """Edge detectors turned through a full circle, float32 (size, size, 1, count): elongated first derivatives
    of a Gaussian. After ReLU each answers to one direction and one side of a stroke."""
    reach = np.arange(size) - size // 2
    y, x = np.meshgrid(reach, reach, indexing="ij")
    filters = []
    for angle in np.arange(count) * 2 * np.pi / count:
        across = x * np.cos(angle) + y * np.sin(angle)
        along = -x * np.sin(angle) + y * np.cos(angle)
        edge = across * np.exp(-0.5 * (across / 1.0) ** 2 - 0.5 * (along / 1.5) ** 2)
        filters.append(edge / np.abs(edge).sum())
    return np.stack(filters, -1)[:, :, None].astype(np.float32)


def build_tower(dimension: int) -> keras.Model:
    """The tower: canvases float32 (n, 128, 256, 1), ink 1 on paper 0, to vectors float32 (n, dimension).

    Layers named `cells`, `mix` and `project` are where `start_from_components` sets principal components.
    """
    image = keras.Input((*CANVAS, 1), name="canvas")
    half = keras.layers.AveragePooling2D(2, name="half")(image)  # the floor loses nothing by it, measured
    edges = keras.layers.Conv2D(ORIENTED, 7, padding="same", activation="relu", name="edges")(half)
    quarter = keras.layers.AveragePooling2D(2, name="quarter")(edges)
    shapes = keras.layers.Conv2D(SHAPES, 5, padding="same", activation="relu", name="shapes")(quarter)
    cells = keras.layers.Concatenate(name="cells")(
        [
            RootNormalise(name="edge_cells")(Gather(name="gather_edges")(quarter)),
            RootNormalise(name="shape_cells")(Gather(name="gather_shapes")(shapes)),
        ]
    )
    mixed = keras.layers.Conv2D(MIXED, 1, use_bias=False, name="mix")(cells)
    flat = keras.layers.Flatten(name="flat")(mixed)
    vector = keras.layers.Dense(dimension, use_bias=False, name="project")(flat)
    tower = keras.Model(image, NonNegativeScale(name="scale")(vector), name="tower")
    tower.get_layer("edges").set_weights([oriented_filters(), np.zeros(ORIENTED, np.float32)])
    return tower


def siamese(tower: keras.Model) -> keras.Model:
    """The network that is trained: canvases (n, 128, 256, 1) to the logits of all pairs (n, n)."""
    image = keras.Input((*CANVAS, 1), name="canvas")
    return keras.Model(image, PairLogits(name="head")(tower(image)), name="siamese")


def start_from_components(tower: keras.Model, canvases: np.ndarray) -> None:
    """Sets `mix` and `project` to the principal components of what the untrained cells say about `canvases`
    (float32 (n, 128, 256, 1), a few thousand): measured, this loses nothing against the whole grid."""
    grid = keras.Model(tower.input, tower.get_layer("cells").output)
    cells = grid.predict(canvases, batch_size=64, verbose=0)
    mix = _components(cells.reshape(-1, cells.shape[-1]), MIXED)
    tower.get_layer("mix").set_weights([mix[None, None]])
    mixed = (cells @ mix).reshape(len(cells), -1)
    project = tower.get_layer("project")
    project.set_weights([_components(mixed, project.units)])


def _components(rows: np.ndarray, count: int) -> np.ndarray:
    """The `count` directions of greatest variance, float32 (features, count)."""
    centred = rows - rows.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred / len(rows))
    return directions[:, ::-1][:, :count].astype(np.float32)
