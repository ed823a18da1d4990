"""Security paper: what cheques are printed on so that nobody can wash or copy them."""

from __future__ import annotations

import cv2
import numpy as np

from training.cheques.printing import digits, gibberish, text


def draw(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Grey float32 (h, w) of an empty sheet: plain, or tinted under one to three patterns."""
    height, width = size
    base = np.full(size, rng.uniform(205, 255), np.float32)
    if rng.random() < 0.35:
        return base
    if rng.random() < 0.5:
        base += _clouds(size, rng, 3) * rng.uniform(3, 18)
    for _ in range(int(rng.integers(1, 4))):
        pattern = PATTERNS[rng.integers(len(PATTERNS))](size, rng)
        if rng.random() < 0.3:  # only in a part of the page
            reach = cv2.resize(rng.random((3, 5)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
            pattern = pattern * np.clip(3 * reach - 1, 0, 1)
        base -= pattern * rng.uniform(6, 48)
    return base


def _clouds(size: tuple[int, int], rng: np.random.Generator, cells: int) -> np.ndarray:
    coarse = rng.normal(0, 1, (cells, 2 * cells)).astype(np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def waves(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Many parallel lines that swing together."""
    height, width = size
    sheet = np.zeros(size, np.uint8)
    x = np.arange(-20, width + 20, 6)
    swing = sum(
        rng.uniform(2, 22) * np.sin(x * rng.uniform(0.004, 0.06) + rng.uniform(0, 6))
        for _ in range(int(rng.integers(1, 4)))
    )
    slope = rng.normal(0, 0.3)
    lines = [
        np.column_stack([x, y + swing * (1 + 0.004 * y * rng.choice([-1, 1])) + slope * (x - width / 2)]).astype(
            np.int32
        )
        for y in np.arange(-60, height + 60, rng.uniform(4, 16))
    ]
    cv2.polylines(sheet, lines, False, 255, 1, cv2.LINE_AA)
    turned = sheet if rng.random() < 0.8 else cv2.resize(sheet.T, (width, height))
    return turned.astype(np.float32) / 255


def rosette(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Guilloches: curves of a spirograph, one large or several small."""
    height, width = size
    sheet = np.zeros(size, np.uint8)
    angle = np.linspace(0, 2 * np.pi, 900)
    for _ in range(int(rng.integers(1, 5))):
        centre = rng.uniform(0, 1, 2) * [width, height]
        reach = rng.uniform(0.08, 0.7) * height
        petals, depth = int(rng.integers(3, 30)), rng.uniform(0.1, 0.5)
        for shift in np.linspace(0, 2 * np.pi / petals, int(rng.integers(2, 9))):
            radius = reach * (1 - depth + depth * np.cos(petals * (angle + shift)))
            curve = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) + centre
            cv2.polylines(sheet, [curve.astype(np.int32)], True, 255, 1, cv2.LINE_AA)
    return sheet.astype(np.float32) / 255


def microtext(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A word or number over and over, level or aslant."""
    height, width = size
    word = gibberish(int(rng.integers(4, 14)), rng) if rng.random() < 0.7 else digits(8, rng)
    line = text((word + "  ") * 12, rng.uniform(5, 14), "DejaVuSans")
    tile = np.zeros((line.shape[0] + int(rng.integers(2, 30)), line.shape[1]), np.uint8)
    tile[: line.shape[0]] = line
    sheet = np.tile(tile, (2 * height // tile.shape[0] + 1, 2 * width // tile.shape[1] + 1))[
        : 2 * height, : 2 * width
    ]
    turn = cv2.getRotationMatrix2D((width, height), rng.choice([0, 0, rng.uniform(-45, 45)]), 1)
    turn[:, 2] -= [width / 2, height / 2]
    return cv2.warpAffine(sheet, turn, (width, height)).astype(np.float32) / 255


def picture(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Something like a landscape or a portrait: soft masses with edges, in part of the page or all of it."""
    mass = _clouds(size, rng, int(rng.integers(3, 9)))
    level = np.clip((mass - rng.normal(0, 0.5)) * rng.uniform(1, 12), 0, 1)
    fine = np.clip(_clouds(size, rng, 40) + 0.5, 0, 1)
    return level * (1 - rng.uniform(0, 0.5) * fine)


def halftone(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Dots, or the word VOID that a copier brings out."""
    step = int(rng.integers(3, 8))
    sheet = np.zeros(size, np.float32)
    sheet[::step, ::step] = 1
    sheet[step // 2 :: step, step // 2 :: step] = 1
    if rng.random() < 0.5:
        word = text(str(rng.choice(["VOID", "COPY", "SPECIMEN"])), rng.uniform(25, 80), "DejaVuSans-Bold")
        height, width = min(word.shape[0], size[0]), min(word.shape[1], size[1])
        y, x = int(rng.integers(0, size[0] - height + 1)), int(rng.integers(0, size[1] - width + 1))
        only = np.zeros(size, np.float32)
        only[y : y + height, x : x + width] = word[:height, :width] / 255
        sheet *= only
        sheet *= 3
    return sheet


PATTERNS = [waves, waves, rosette, microtext, picture, halftone]
