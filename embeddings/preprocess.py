"""From image bytes to the canvas that every tower sees, in training and in serving."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from embeddings.decode import decode
from embeddings.errors import UnusableImage
from embeddings.quality import BLOCKING, Quality, assess

PREPROCESSING_VERSION = "1"
CANVAS = (128, 256)
SPREAD = math.sqrt(54 * 26)
SPECK = 12

cv2.setNumThreads(1)


@dataclass(frozen=True)
class Prepared:
    canvas: NDArray[np.float32]
    quality: Quality
    decode_ms: float
    preprocess_ms: float


def find_ink(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, mask = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= SPECK
    keep[0] = False
    return np.ascontiguousarray(keep.astype(np.uint8)[labels])


def normalise(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = CANVAS
    m = cv2.moments(mask, binaryImage=True)
    if not m["m00"]:
        return np.zeros(CANVAS, np.float32)
    x, y = m["m10"] / m["m00"], m["m01"] / m["m00"]
    spread = math.sqrt(math.sqrt(max(m["mu20"], 1.0) * max(m["mu02"], 1.0)) / m["m00"])
    scale = min(SPREAD / spread, 4.0)
    left, top, w, h = cv2.boundingRect(mask)
    crop = cv2.copyMakeBorder(mask[top : top + h, left : left + w] * 255, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    shrink = min(scale, 1.0)
    small = cv2.resize(crop, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    fx, fy = small.shape[1] / crop.shape[1], small.shape[0] / crop.shape[0]
    grow = scale / shrink
    dx = width / 2 - ((x - left + 2.5) * fx * grow)
    dy = height / 2 - ((y - top + 2.5) * fy * grow)
    matrix = np.array([[grow, 0, dx + grow / 2 - 0.5], [0, grow, dy + grow / 2 - 0.5]])
    placed = cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return (placed >= 96).astype(np.float32)


def prepare(image: bytes) -> Prepared:
    start = perf_counter()
    grey = decode(image)
    decoded = perf_counter()
    mask = find_ink(grey)
    quality = assess(grey, mask)
    blocking = [code for code in quality.codes if code in BLOCKING]
    if blocking:
        raise UnusableImage(0, blocking[0])
    canvas = normalise(mask)
    return Prepared(canvas, quality, 1e3 * (decoded - start), 1e3 * (perf_counter() - decoded))


def preprocess(image: bytes) -> NDArray[np.float32]:
    return prepare(image).canvas
