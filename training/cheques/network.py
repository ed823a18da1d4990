"""The network that finds signatures on a cheque: a small picture of the whole page in, a coarse map of marks out.

A stack of convolutions down to a sixteenth of the picture, where dilated ones see the whole cheque (a signature is
told from other handwriting by where it stands), back up to an eighth, where every cell answers: is the middle of a
signature here, of a cheque, and, if so, how far do ink and field reach, and which way is up (CenterNet: Zhou, Wang
and Krähenbühl, 2019; boxes as distances to four sides after FCOS: Tian et al., 2019)."""

from __future__ import annotations

import keras
from keras import layers

from embeddings.cheque_map import CHANNELS, INPUT

WIDTHS = (12, 24, 40, 64)  # channels at a half, a quarter, an eighth, a sixteenth of the picture
DILATIONS = (1, 2, 4, 1)


def build() -> keras.Model:
    """Picture (n, 256, 512, 1), 0 paper to 1 ink, to (n, 32, 64, 18): see `embeddings.cheque_map.read`."""
    picture = keras.Input((*INPUT, 1), name="picture")
    x = convolve(picture, WIDTHS[0], 5, 2)
    x = convolve(x, WIDTHS[1], 3, 2)
    x = convolve(x, WIDTHS[2], 3, 2)
    near = residual(x, 1)
    x = convolve(near, WIDTHS[3], 3, 2)
    for dilation in DILATIONS:
        x = residual(x, dilation)
    x = layers.UpSampling2D(2, interpolation="bilinear")(convolve(x, WIDTHS[2], 1, 1))
    x = residual(layers.Add()([x, convolve(near, WIDTHS[2], 1, 1)]), 1)
    heat = layers.Conv2D(2, 1, bias_initializer=keras.initializers.Constant(-4.0))(x)
    extent = layers.Conv2D(CHANNELS - 2, 1)(x)
    return keras.Model(picture, layers.Concatenate(name="marks")([heat, extent]), name="cheque")


def convolve(x, channels: int, size: int, stride: int, dilation: int = 1):
    x = layers.Conv2D(channels, size, stride, "same", dilation_rate=dilation, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.97)(x))


def residual(x, dilation: int):
    return layers.Add()([x, convolve(convolve(x, x.shape[-1], 3, 1, dilation), x.shape[-1], 3, 1)])
