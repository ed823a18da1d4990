"""Pieces of signed cheques as a network learns to lift from them: drawn print, real and drawn signatures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from embeddings.ink import PAPER, flatten, histogram, otsu, read_ink
from embeddings.lift import TILE, around, cut, shrink
from training.cheques import drawing
from training.cheques.ink import Bank, Script
from training.lifting import printed

Rng = np.random.Generator

WHOLE = 0.4  # of the pages are from whole drawn cheques
LENGTH = 20.3  # centimetres of one
NOTHING = np.zeros((60, 200), np.uint8)
UNWRITTEN = Bank([NOTHING], [Script([NOTHING] * 40, [NOTHING] * 40)])  # writes nothing where something is written


@dataclass(frozen=True)
class Pen:
    """A signature's ink without its paper: how much of each pixel it covers, float32 (h, w) in [0, 1]."""

    cover: np.ndarray


def pen_of(grey: np.ndarray) -> Pen | None:
    """The ink of a scan, cropped; None where there is none."""
    found = read_ink(grey)
    if found.rows.sum() < 200:
        return None
    near = cv2.dilate(found.mask, np.ones((3, 3), np.uint8))
    tone = float(np.median(found.flat[found.mask.view(bool)]))
    cover = np.clip((PAPER - found.flat.astype(np.float32)) / max(PAPER - tone, 1), 0, 1) * near
    x, y, w, h = cv2.boundingRect(near)
    return Pen(cover[y : y + h, x : x + w])


def resized(pen: Pen, width: float, degrees: float, heavier: float) -> np.ndarray:
    """Cover of the signature at `width` pixels, turned, its strokes wider or thinner by `heavier` pixels."""
    scale = width / pen.cover.shape[1]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(8, round(width)), max(8, round(pen.cover.shape[0] * scale)))
    cover = np.clip(cv2.resize(pen.cover, size, interpolation=how), 0, 1)
    cover = cv2.copyMakeBorder(cover, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=0)
    if abs(heavier) > 0.3:
        far = cv2.GaussianBlur(cover, (0, 0), abs(heavier))
        cover = np.clip(far * 2, 0, 1) if heavier > 0 else np.clip(far * 2 - 1, 0, 1)
    return printed.turned(cover.astype(np.float32), degrees)


def underlined(cover: np.ndarray, rng: Rng) -> np.ndarray:
    """The signature with a long, nearly straight stroke under, through or behind it, as many people end with: no rule
    is as heavy, as sloped or as unsteady."""
    height, width = cover.shape
    pen = max(
        1.5, 2 * float(cover.sum()) / max(float(cv2.Canny(np.asarray(255 * cover, np.uint8), 80, 160).sum()) / 255, 1)
    )
    room = round(0.25 * width)
    wide = cv2.copyMakeBorder(cover, 0, round(0.3 * height), room, room, cv2.BORDER_CONSTANT, value=0)
    x = np.linspace(rng.uniform(0, 0.5), rng.uniform(0.65, 1), 12) * (wide.shape[1] - 1)
    steps = np.linspace(-1, 1, 12)
    y = rng.uniform(0.35, 1.0) * height + height * (rng.normal(0, 0.08) * steps + rng.normal(0, 0.04) * steps**2)
    y = y + 0.004 * height * rng.normal(0, 1, 12).cumsum()
    stroke = np.zeros(wide.shape, np.uint8)
    points = np.round(np.column_stack([x, y]) * 8).astype(np.int32)
    cv2.polylines(stroke, [points], False, 255, max(1, round(pen * rng.uniform(0.7, 1.2))), cv2.LINE_AA, 3)
    return np.maximum(wide, stroke.astype(np.float32) / 255)


def captured(page: np.ndarray, rng: Rng) -> np.ndarray:
    """Grey uint8 of a page of light, as a scanner or a camera sees it; some scanners leave black and white only."""
    page = cv2.GaussianBlur(page, (0, 0), rng.uniform(0.4, 1.3))
    bright, dark = rng.uniform(0.75, 1), rng.uniform(0, 0.25)
    grey = dark + (bright - dark) * page ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.3:
        shade = cv2.resize(
            rng.uniform(0.75, 1, (2, 3)).astype(np.float32), page.shape[::-1], interpolation=cv2.INTER_CUBIC
        )
        grey *= shade
    grey = grey + rng.standard_normal(page.shape, np.float32) * rng.uniform(0, 0.025)
    picture = np.clip(255 * grey, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        flat = flatten(picture)
        limit = rng.uniform(0.8, 1.2) * max(otsu(histogram(flat)), 90)
        picture = np.where(flat <= min(limit, 205), 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_GRAYSCALE)
    return picture


def piece_of_cheque(shape: tuple[int, int], cm: float, rng: Rng) -> np.ndarray:
    """Where somebody is to sign a drawn cheque that nobody wrote on, as a page of light of this shape."""
    cheque = drawing.draw(rng, UNWRITTEN, signed=True)
    scale = cm * LENGTH / cheque.grey.shape[1]
    middle = scale * (cheque.inks[0].min(axis=0) + cheque.inks[0].max(axis=0)) / 2
    page = cv2.resize(cheque.grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    left = round(float(middle[0]) - shape[1] / 2 + rng.normal(0, 0.4) * cm)
    top = round(float(middle[1]) - shape[0] / 2 + rng.normal(0, 0.3) * cm)
    left, top = min(left, page.shape[1] - 1), min(top, page.shape[0] - 1)
    return cut(page, (left, top, shape[1], shape[0])).astype(np.float32) / 255


def sample(pens: list[Pen], rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tile float32 `TILE` as `embeddings.lift` cuts it, where the pen was (bool) and how much each pixel counts."""
    cm = rng.uniform(55, 130)
    width = cm * rng.uniform(2.5, 6.5)
    pen = pens[int(rng.integers(len(pens)))]
    width = min(width, cm * 2.6 * pen.cover.shape[1] / pen.cover.shape[0])  # a tall one is not as wide
    cover = resized(pen, width, rng.normal(0, 5), rng.normal(0, 0.6) if rng.random() < 0.6 else 0)
    if rng.random() < 0.25:
        cover = underlined(cover, rng)
    h, w = cover.shape
    # Detectors give boxes that are too large, too small and beside the point.
    box = (
        round(w * rng.normal(0, 0.05)),
        round(h * rng.normal(0, 0.05)),
        round(w * np.exp(rng.normal(0.08, 0.15))),
        round(h * np.exp(rng.normal(0.12, 0.25))),
    )
    (left, top, wide, high), scale = around(box)
    draw_page = piece_of_cheque if rng.random() < WHOLE else printed.page
    page = draw_page((high, wide), cm, rng)
    ink = np.zeros((high, wide), np.float32)
    if rng.random() > 0.08:
        _write(ink, cover, -left, -top)
    if rng.random() < 0.2:  # other handwriting near by
        other = resized(pens[int(rng.integers(len(pens)))], cm * rng.uniform(2, 5), rng.normal(0, 4), 0)
        side = rng.choice(4)
        x = (
            rng.uniform(-0.4, 0.8) * wide
            if side < 2
            else (-0.6 * other.shape[1], wide - 0.4 * other.shape[1])[side - 2]
        )
        y = rng.uniform(-0.3, 0.8) * high if side >= 2 else (-0.6 * other.shape[0], high - 0.4 * other.shape[0])[side]
        _write(ink, other, x, y)
    tone = rng.uniform(0, 0.2) if rng.random() < 0.5 else rng.uniform(0.15, 0.6)
    grey = captured(page * (1 - ink * (1 - tone)), rng)
    tile = shrink(flatten(cut(grey, (0, 0, wide, high))), scale)
    small = cv2.resize(ink, TILE[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    pen_there = small > 0.35
    edge = (small > 0.05) & ~pen_there
    dark = tile > 0.12
    counts = np.where(dark, 1.0, 0.1)  # paper, and ink that the scanner lost, hardly count
    counts[edge] = 0.0
    return tile, pen_there, counts


def _write(ink: np.ndarray, cover: np.ndarray, left: float, top: float) -> None:
    page = 1 - ink
    printed.put(page, cover, left, top, 0.0)
    ink[:] = 1 - page
