"""From the bytes of an image file to grey pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.errors import UnusableImage


def decode(image: bytes) -> NDArray[np.uint8]:
    if not image:
        raise UnusableImage(0, "image_empty")
    try:
        grey = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        grey = None
    if grey is None:
        raise UnusableImage(0, "image_format")
    grey = grey.astype(np.uint8, copy=False)
    if np.median(grey[::4, ::4]) < 96:
        grey = 255 - grey
    return grey
