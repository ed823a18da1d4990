"""The same signatures captured otherwise: what a tower must bear, since a cheque never meets its specimen's scanner.

Each condition turns an encoded image into another one. Specimens stay as they are; only what is questioned changes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np

Grey = np.ndarray

RULE_SPACING, RULE_GREY = 60, 205  # pixels between ruled lines, and how light they are


def _turned(grey: Grey, degrees: float) -> Grey:
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    sine, cosine = abs(turn[0, 1]), abs(turn[0, 0])
    wide, high = int(height * sine + width * cosine) + 1, int(height * cosine + width * sine) + 1
    turn[:, 2] += ((wide - width) / 2, (high - height) / 2)
    return cv2.warpAffine(grey, turn, (wide, high), flags=cv2.INTER_LINEAR, borderValue=float(np.median(grey)))


def _resized(grey: Grey, factor: float) -> Grey:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(grey, None, fx=factor, fy=factor, interpolation=how)


def _ruled(grey: Grey) -> Grey:
    """Light lines under the ink, as on many forms."""
    ruled = grey.copy()
    first = RULE_SPACING // 2
    for row in range(first, len(grey), RULE_SPACING):
        ruled[row : row + 2] = np.minimum(ruled[row : row + 2], RULE_GREY)
    return ruled


def _as_png(grey: Grey) -> bytes:
    return cv2.imencode(".png", grey)[1].tobytes()


def _as_jpeg(grey: Grey) -> bytes:
    return cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 30])[1].tobytes()


_PIXEL = np.ones((2, 2), np.uint8)

CONDITIONS: dict[str, Callable[[Grey, int], bytes]] = {
    "turned by 5 degrees": lambda grey, sign: _as_png(_turned(grey, 5 * sign)),
    "turned by 10 degrees": lambda grey, sign: _as_png(_turned(grey, 10 * sign)),
    "half the resolution": lambda grey, _: _as_png(_resized(grey, 0.5)),
    "double the resolution": lambda grey, _: _as_png(_resized(grey, 2)),
    "JPEG quality 30": lambda grey, _: _as_jpeg(grey),
    "pen one pixel thicker": lambda grey, _: _as_png(cv2.erode(grey, _PIXEL)),
    "pen one pixel thinner": lambda grey, _: _as_png(cv2.dilate(grey, _PIXEL)),
    "light ruled lines": lambda grey, _: _as_png(_ruled(grey)),
}


def changed(image: bytes, condition: str) -> bytes:
    """The image as captured under a condition, a key of `CONDITIONS`. Half of all images turn to the left: which,
    depends on the image alone."""
    grey = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
    return CONDITIONS[condition](grey, 1 if zlib.crc32(image) % 2 else -1)
