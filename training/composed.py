"""Real signatures on cheques, each in one fixed place: what lifting is measured on.

A signature is 3 to 6 cm wide and a little turned. On a real cheque, whose own signature was painted out
(`training.blanks`), it stands above and across the caption, and is thresholded and compressed as that scanner did. On
a drawn one (`training.cheques.drawing`) it stands where the drawing has people sign, in a pen of any grey, with
stamps, handwriting and security background around it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from embeddings.ink import stroke_width
from training.blanks import LENGTH, Cheque
from training.cheques import drawing
from training.cheques.ink import Bank
from training.datasets import Signature
from training.lifting.printed import put
from training.lifting.signed import NOTHING, Pen, pen_of, resized

WIDTHS, TALLEST = (3.0, 6.0), 2.6  # centimetres
THINNEST = 0.035  # ... and as wide a stroke is at least
TURN = 2.0  # standard deviation in degrees
Box = tuple[int, int, int, int]
Rng = np.random.Generator


@dataclass(frozen=True)
class Question:
    """A cheque with a signature on it, grey uint8, and the box (left, top, width, height) of that signature's ink."""

    grey: np.ndarray
    box: Box


Compose = Callable[[np.ndarray, Rng], Question | None]


def question(signature: Signature, compose: Compose) -> Question | None:
    """The signature on a cheque that depends on the file's content alone, so that every run asks the same; None if
    the scan holds no ink."""
    content = signature.path.read_bytes()
    scan = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    return compose(scan, np.random.default_rng(zlib.crc32(content)))


def on_real(cheques: Sequence[Cheque]) -> Compose:
    return lambda scan, rng: written_on(cheques[int(rng.integers(len(cheques)))], scan, rng)


def on_drawn(bank: Bank) -> Compose:
    """`bank` holds the hands that fill in the other fields."""

    def compose(scan: np.ndarray, rng: Rng) -> Question | None:
        pen = pen_of(scan)
        if pen is None:
            return None
        cheque = drawing.draw(rng, Bank([NOTHING], bank.scripts), signed=True)  # signed with nothing where it may be
        page = cv2.resize(cheque.grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        low, high = 2 * cheque.inks[0].min(axis=0), 2 * cheque.inks[0].max(axis=0)
        cm = page.shape[1] / LENGTH
        cover = _sized(pen, cm, rng)
        x = np.clip((low[0] + high[0] - cover.shape[1]) / 2, 0, max(0, page.shape[1] - cover.shape[1]))
        y = np.clip(high[1] - rng.uniform(0.7, 1.05) * cover.shape[0], 0, max(0, page.shape[0] - cover.shape[0]))
        light = page.astype(np.float32) / 255
        put(light, cover, x, y, rng.uniform(0, 0.45))
        grey = np.clip(255 * light + rng.normal(0, 2, light.shape), 0, 255).astype(np.uint8)
        jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
        return Question(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), _box(cover, x, y))

    return compose


def written_on(cheque: Cheque, scan: np.ndarray, rng: Rng) -> Question | None:
    """The ink of a scan on a blank cheque, where its own signature was."""
    pen = pen_of(scan)
    if pen is None:
        return None
    cover = _sized(pen, cheque.cm, rng)
    left, top, field_width, field_height = cheque.box
    x = left + (field_width - cover.shape[1]) / 2 + rng.normal(0, 0.3) * cheque.cm
    x = min(x, cheque.grey.shape[1] - 0.5 * cheque.cm - cover.shape[1])
    y = top + field_height - 0.45 * cheque.cm - cover.shape[0] * rng.uniform(0.7, 1.05)
    grey = cheque.grey.copy()
    # What JPEG sees as one block must stay one; the rest of the cheque is as it came from the scanner.
    left, top = max(0, round(x) - 16) // 8 * 8, max(0, round(y) - 16) // 8 * 8
    part = grey[top : top + cover.shape[0] + 32, left : left + cover.shape[1] + 32]
    page = part.astype(np.float32) / 255
    put(page, cover, round(x) - left, round(y) - top, 0.0)
    inked = np.where(page < 0.5, 0, 254).astype(np.uint8)
    part[:] = cv2.imdecode(cv2.imencode(".jpg", inked, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_GRAYSCALE)
    return Question(grey, _box(cover, x, y))


def _box(cover: np.ndarray, x: float, y: float) -> Box:
    left, top, width, height = cv2.boundingRect(np.asarray(cover > 0.4, np.uint8))
    return round(x) + left, round(y) + top, width, height


def _sized(pen: Pen, cm: float, rng: Rng) -> np.ndarray:
    """Cover of the signature as large as people write on cheques, and a little turned."""
    high, wide = pen.cover.shape
    width = cm * min(rng.uniform(*WIDTHS), TALLEST * wide / high)
    return _no_thinner(resized(pen, width, rng.normal(0, TURN), 0), THINNEST * cm)


def _no_thinner(cover: np.ndarray, least: float) -> np.ndarray:
    """No pen writes a finer line than this, but a large picture of a fine line shrinks to one."""
    lacking = round(least - stroke_width(np.asarray(cover > 0.5, np.uint8)))
    if lacking < 1:
        return cover
    return cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lacking + 1, lacking + 1)))
