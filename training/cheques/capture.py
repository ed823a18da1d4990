"""How a cheque comes to be an image: scanned askew or upside down, photographed aslant, two at once, compressed.

The same functions make training pictures and the conditions of the evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.cheques.drawing import Cheque, Outline


@dataclass
class Truth:
    """One signature in a scene: outlines of ink and field, and the direction of its writing in radians."""

    ink: Outline
    field: Outline
    angle: float


@dataclass
class Page:
    """One cheque in a scene: its corners and the direction of its print in radians."""

    corners: Outline
    angle: float


@dataclass
class Scene:
    """An image uint8 (h, w), the signatures on it and the cheques."""

    grey: np.ndarray
    truths: list[Truth]
    cheques: list[Page]


def moved(outline: Outline, matrix: np.ndarray) -> Outline:
    return cv2.perspectiveTransform(outline[None].astype(np.float64), matrix)[0].astype(np.float32)


def box(outline: Outline) -> tuple[float, float, float, float]:
    low, high = outline.min(axis=0), outline.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def lay(
    scene: np.ndarray, cheque: Cheque, matrix: np.ndarray, *, border: int = cv2.BORDER_TRANSPARENT
) -> tuple[np.ndarray, list[Truth]]:
    """The scene with the cheque laid on it by a homography from its pixels to the scene's, and what is signed."""
    size = scene.shape[::-1]
    scene = cv2.warpPerspective(cheque.grey, matrix, size, scene, cv2.INTER_LINEAR, border)
    truths = []
    for ink, around in zip(cheque.inks, cheque.fields, strict=True):
        angle = direction((ink.min(axis=0) + ink.max(axis=0)) / 2, matrix)
        truths.append(Truth(moved(ink, matrix), moved(around, matrix), angle))
    return scene, truths


def direction(spot: np.ndarray, matrix: np.ndarray) -> float:
    """Where a level line through a spot of the sheet points in the scene, in radians clockwise."""
    ends = moved(spot + np.array([[-20, 0], [20, 0]]), matrix)
    return float(np.arctan2(*(ends[1] - ends[0])[::-1]))


def placed(shape: tuple[int, ...], middle: np.ndarray, scale: float, angle: float, bend: np.ndarray) -> np.ndarray:
    """Homography that lays a sheet (h, w) with its middle at `middle`, turned by `angle` radians clockwise, its
    corners moved by `bend` (4, 2) in parts of the sheet's width."""
    h, w = shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    ends = ((corners - [w / 2, h / 2] + bend * w) @ turn) * scale + middle
    return cv2.getPerspectiveTransform(corners, ends.astype(np.float32))


def photograph(cheques: list[Cheque], rng: np.random.Generator) -> Scene:
    """A scene of one cheque or two, about as large as what the network looks at, or twice that."""
    photo = rng.random() < 0.35
    h, w = cheques[0].grey.shape
    scale = rng.uniform(0.5, 1.0)
    angle = _angle(rng)
    bend = rng.normal(0, 0.025, (4, 2)) if photo else np.zeros((4, 2))
    c, s = abs(np.cos(angle)), abs(np.sin(angle))
    reach = np.array([w * c + h * s, h * c + w * s])
    beside = rng.random() < (0.3 if c > s else 0.7)
    room = reach * ([2.1, 1] if beside else [1, 2.1]) if len(cheques) == 2 else reach
    room = _frame(room, rng) if photo else room * rng.uniform(0.985, 1.07, 2)
    size = np.maximum((room * scale).astype(int), 32)
    scene = _table(size[::-1], rng, photo)
    truths: list[Truth] = []
    pages = []
    for number, cheque in enumerate(cheques):
        place = size / 2 + (room - reach) * scale * rng.uniform(-0.4, 0.4, 2)
        if len(cheques) == 2:
            place = size * ([0.25 + 0.5 * number, 0.5] if beside else [0.5, 0.25 + 0.5 * number])
        matrix = placed(cheque.grey.shape, place, scale, angle, bend)
        scene, found = lay(scene, cheque, matrix)
        truths += found
        height, width = cheque.grey.shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        pages.append(Page(moved(corners, matrix), direction(corners.mean(axis=0), matrix)))
    scene = spoiled(scene, rng, photo)
    return _cropped(Scene(scene, truths, pages), rng) if rng.random() < 0.1 else Scene(scene, truths, pages)


def _angle(rng: np.random.Generator) -> float:
    """Mostly nearly level, sometimes askew, upside down, or on its side."""
    angle = rng.normal(0, 0.03) if rng.random() < 0.65 else rng.uniform(-0.22, 0.22)
    return float(angle + rng.choice([0, np.pi, np.pi / 2, -np.pi / 2], p=[0.76, 0.16, 0.04, 0.04]))


def _frame(room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sides of a photograph that holds so much: 4:3, 3:2 or 16:9, held level or upright."""
    room = room * rng.uniform(1.05, 1.35)
    ratio = rng.choice([4 / 3, 3 / 2, 16 / 9]) if rng.random() < 0.8 else rng.choice([3 / 4, 9 / 16])
    return np.array([max(room[0], room[1] * ratio), max(room[1], room[0] / ratio)])


def _table(shape: np.ndarray, rng: np.random.Generator, photo: bool) -> np.ndarray:
    """What lies around the cheque: a scanner's lid, or a table top."""
    if not photo:
        return np.full(shape, rng.choice([255, 250, 240, 0, 20, 128]), np.uint8)
    coarse = rng.normal(0, rng.uniform(2, 25), (int(rng.integers(2, 30)), int(rng.integers(2, 60))))
    grain = cv2.resize(coarse.astype(np.float32), tuple(map(int, shape[::-1])), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(rng.uniform(20, 220) + grain, 0, 255), np.uint8)


def _cropped(scene: Scene, rng: np.random.Generator) -> Scene:
    """With sides cut away."""
    h, w = scene.grey.shape
    cut = [int(rng.uniform(0, 0.15) * size * (rng.random() < 0.5)) for size in (w, h, w, h)]
    shift = np.array(cut[:2], np.float32)
    kept = np.ascontiguousarray(scene.grey[cut[1] : h - cut[3], cut[0] : w - cut[2]])
    truths = [Truth(one.ink - shift, one.field - shift, one.angle) for one in scene.truths]
    return Scene(kept, truths, [Page(one.corners - shift, one.angle) for one in scene.cheques])


def spoiled(grey: np.ndarray, rng: np.random.Generator, photo: bool) -> np.ndarray:
    """Light, focus, noise and compression."""
    page = grey.astype(np.float32)
    if photo or rng.random() < 0.2:
        shade = cv2.resize(
            rng.uniform(0.55, 1.05, (2, 3)).astype(np.float32), grey.shape[::-1], interpolation=cv2.INTER_CUBIC
        )
        page *= np.clip(shade, 0.4, 1.1)
    if rng.random() < 0.4:
        low = rng.uniform(0, 70)
        page = low + page * (rng.uniform(170, 255) - low) / 255
    if rng.random() < 0.45:
        page = cv2.GaussianBlur(page, (0, 0), rng.uniform(0.4, 1.4 if photo else 1.0))
    if rng.random() < 0.5:
        page += rng.uniform(0.5, 9) * cv2.resize(
            rng.standard_normal((grey.shape[0] // 2 + 1, grey.shape[1] // 2 + 1), np.float32), grey.shape[::-1]
        )
    page = np.asarray(np.clip(page, 0, 255), np.uint8)
    return compressed(page, int(rng.uniform(20, 95))) if rng.random() < 0.35 else page


def compressed(grey: np.ndarray, quality: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
