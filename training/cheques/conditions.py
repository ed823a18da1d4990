"""The same cheques captured otherwise: askew, coarse, photographed, upside down, compressed, on tinted paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from training.cheques.capture import compressed, moved, placed
from training.cheques.real import Labelled


def turned(cheque: Labelled, degrees: float) -> Labelled:
    """The page askew on a scanner's white lid, clockwise."""
    h, w = cheque.image.shape
    angle = math.radians(degrees)
    size = (
        math.ceil(h * abs(math.cos(angle)) + w * abs(math.sin(angle))),
        math.ceil(w * abs(math.cos(angle)) + h * abs(math.sin(angle))),
    )
    matrix = placed((h, w), np.array([size[1] / 2, size[0] / 2]), 1.0, angle, np.zeros((4, 2)))
    return _warped(cheque, matrix, size, 255)


def photographed(cheque: Labelled, seed: int) -> Labelled:
    """On a dark table, from aslant, in uneven light."""
    rng = np.random.default_rng([seed, 9])
    h, w = cheque.image.shape
    size = (int(1.35 * h), int(1.2 * w))
    bend = rng.uniform(-0.03, 0.03, (4, 2))
    matrix = placed((h, w), np.array([size[1] / 2, size[0] / 2]), 1.0, math.radians(rng.uniform(-4, 4)), bend)
    photo = _warped(cheque, matrix, size, int(rng.uniform(40, 130)))
    light = cv2.resize(rng.uniform(0.6, 1.0, (2, 3)).astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    grey = cv2.GaussianBlur(photo.image * light, (0, 0), 1.5) + rng.normal(0, 5, size)
    return Labelled(photo.name, compressed(np.asarray(np.clip(grey, 0, 255), np.uint8), 80), photo.boxes)


def _warped(cheque: Labelled, matrix: np.ndarray, size: tuple[int, int], around: int) -> Labelled:
    image = cv2.warpPerspective(
        cheque.image, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=around
    )
    boxes = []
    for x, y, a, b in cheque.boxes:
        # A label is a level box around something round; the box around its turned corners would be too large.
        rim = np.linspace(0, 2 * np.pi, 33)[:-1]
        ellipse = np.column_stack([x + a / 2 + _super(np.cos(rim)) * a / 2, y + b / 2 + _super(np.sin(rim)) * b / 2])
        spots = moved(ellipse, matrix)
        low, high = spots.min(axis=0), spots.max(axis=0)
        boxes.append((float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])))
    return Labelled(cheque.name, image, boxes)


def _super(value: np.ndarray) -> np.ndarray:
    """A square with round corners instead of a circle."""
    return np.sign(value) * np.abs(value) ** 0.5


def resampled(cheque: Labelled, dpi: float) -> Labelled:
    """At another resolution; these cheques are 8 inches wide."""
    scale = dpi * 8 / cheque.image.shape[1]
    image = cv2.resize(
        cheque.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    return Labelled(cheque.name, image, [tuple(scale * side for side in box) for box in cheque.boxes])


def upside_down(cheque: Labelled) -> Labelled:
    h, w = cheque.image.shape
    boxes = [(w - x - a, h - y - b, a, b) for x, y, a, b in cheque.boxes]
    return Labelled(cheque.name, np.ascontiguousarray(cheque.image[::-1, ::-1]), boxes)


def sideways(cheque: Labelled) -> Labelled:
    h, _ = cheque.image.shape
    boxes = [(h - y - b, x, b, a) for x, y, a, b in cheque.boxes]
    return Labelled(cheque.name, np.ascontiguousarray(np.rot90(cheque.image, -1)), boxes)


def tinted(cheque: Labelled) -> Labelled:
    """As a blue pen on pink paper looks once colour is weighed to grey."""
    return Labelled(cheque.name, np.asarray(70 + cheque.image * (130 / 255), np.uint8), cheque.boxes)


CONDITIONS: dict[str, Callable[[Labelled], Labelled]] = {
    "skew 5": lambda one: turned(one, 5),
    "skew -5": lambda one: turned(one, -5),
    "skew 10": lambda one: turned(one, 10),
    "skew -10": lambda one: turned(one, -10),
    "100 dpi": lambda one: resampled(one, 100),
    "200 dpi": lambda one: resampled(one, 200),
    "600 dpi": lambda one: resampled(one, 600),
    "photo aslant": lambda one: photographed(one, hash_of(one.name)),
    "upside down": upside_down,
    "sideways": sideways,
    "JPEG 40": lambda one: Labelled(one.name, compressed(one.image, 40), one.boxes),
    "tinted paper": tinted,
}


def hash_of(name: str) -> int:
    return sum(ord(letter) * 31**at for at, letter in enumerate(name)) % 2**31
