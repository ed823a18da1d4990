"""The network that tells pen from print: a small U-Net (Ronneberger et al., 2015) of separable convolutions.

A tile is halved three times; the dilated convolutions at an eighth see a caption or a bar code as a whole. What is
skipped across keeps strokes sharp.
"""

from __future__ import annotations

import keras
from keras import layers

from embeddings.lift import TILE

CHANNELS = (12, 32, 56)  # at a half, a quarter, an eighth of the tile
DILATIONS = (1, 2, 4, 1)


def build(size: tuple[int, int] = TILE) -> keras.Model:
    """Tile (n, 160, 320, 1), 0 paper to 1 black, to logits (n, 80, 160, 4) of "a pen was here" for four pixels each:
    row by row, two and two (`embeddings.lift.where` lays them out; a transposed convolution would take as long again
    as a third of the network).
    """
    half, quarter, eighth = CHANNELS
    tile = keras.Input((*size, 1), name="tile")
    x = layers.Conv2D(half, 4, 2, "same", activation="relu")(tile)
    sharp = x = separable(x, half)
    x = layers.Conv2D(quarter, 3, 2, "same", activation="relu")(x)
    middle = x = residual(x)
    x = layers.Conv2D(eighth, 3, 2, "same", activation="relu")(x)
    for dilation in DILATIONS:
        x = residual(x, dilation)
    x = residual(joined(x, middle))
    x = separable(joined(x, sharp), half)
    return keras.Model(tile, layers.Conv2D(4, 3, padding="same", name="pen")(x), name="lift")


def separable(x, channels: int, dilation: int = 1, *, last: bool = False):
    x = layers.DepthwiseConv2D(3, padding="same", dilation_rate=dilation, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.97)(layers.Conv2D(channels, 1, use_bias=False)(x))
    return x if last else layers.ReLU()(x)


def residual(x, dilation: int = 1):
    channels = x.shape[-1]
    changed = separable(separable(x, channels, dilation), channels, dilation, last=True)
    return layers.ReLU()(layers.Add()([x, changed]))


def joined(coarse, fine):
    """The coarse map at twice its size, plus the fine one."""
    up = layers.UpSampling2D(2)(layers.Conv2D(fine.shape[-1], 1)(coarse))
    return layers.ReLU()(layers.Add()([up, fine]))
