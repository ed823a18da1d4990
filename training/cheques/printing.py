"""What a press prints on cheques: text in many fonts, logos, magnetic digits, bar codes and rubber stamps.

Everything is transparent ink, uint8 (h, w), 0 nothing to 255 covered.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FACES = [
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10", "cmti10"),
]
SCRIPTS = [(0x0410, 0x044F), (0x0391, 0x03C9), (0x0531, 0x0556), (0x10D0, 0x10F0), (0x0621, 0x063A), (0x05D0, 0x05EA)]
MAGNETIC = ["\u2016", "|:", ":|", "|'", "=|"]
HEAD = 0.35  # of the foreign lines have a bar along their tops, as Devanagari has


def text(written: str, height: float, face: str, stretch: float = 1.0) -> np.ndarray:
    """`written` with capitals about `height` pixels high."""
    font = _font(face, max(5, round(1.35 * height)))
    left, top, right, bottom = font.getbbox(written)
    if right <= left or bottom <= top:
        return np.zeros((2, 2), np.uint8)
    sheet = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(sheet).text((-left, -top), written, 255, font)
    ink = np.asarray(sheet)
    if abs(stretch - 1) < 0.04:
        return ink
    return cv2.resize(ink, (max(2, round(ink.shape[1] * stretch)), ink.shape[0]), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=400)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"), size)


def foreign(letters: int, height: float, rng: np.random.Generator) -> np.ndarray:
    """A line in some other script."""
    first, last = SCRIPTS[rng.integers(len(SCRIPTS))]
    spelled = "".join(
        " " if rng.random() < 0.15 else chr(int(rng.integers(first, last))) for _ in range(max(2, letters))
    )
    ink = text(spelled.strip() or "\u0430", height, "DejaVuSans-Bold" if rng.random() < 0.4 else "DejaVuSans").copy()
    if rng.random() < HEAD:
        ink[: max(1, round(height / 7))] = 255
    return ink


def gibberish(letters: int, rng: np.random.Generator, alphabet: str = "abcdefghiklmnoprstuvwy") -> str:
    pieces, left = [], letters
    while left > 0:
        size = int(rng.integers(1, 11))
        pieces.append("".join(rng.choice(list(alphabet), size)))
        left -= size + 1
    words = " ".join(pieces)
    kind = rng.integers(4)
    return words.upper() if kind == 0 else words.title() if kind == 1 else words.capitalize() if kind == 2 else words


def digits(count: int, rng: np.random.Generator) -> str:
    return "".join(str(digit) for digit in rng.integers(0, 10, count))


def magnetic(height: float, rng: np.random.Generator) -> np.ndarray:
    """The line for reading machines at the foot of a cheque."""
    mark = str(rng.choice(MAGNETIC))
    groups = [digits(int(rng.integers(2, 11)), rng) for _ in range(int(rng.integers(2, 5)))]
    spelled = mark + f"{mark}{' ' * int(rng.integers(0, 4))}".join(groups) + mark
    face = "DejaVuSans-Bold" if rng.random() < 0.5 else "DejaVuSansMono"
    return text(spelled, height, face, rng.uniform(0.9, 1.5))


def bars(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A bar code of (height, width), its bars across."""
    rows = np.repeat(rng.random(size[0] // 2 + 1) < 0.5, 2)[: size[0]]
    return np.repeat(rows[:, None], size[1], axis=1).astype(np.uint8) * 255


def logo(size: int, rng: np.random.Generator) -> np.ndarray:
    """Some figure of `size` pixels: polygons, rings, stripes, letters."""
    sheet = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.integers(5)
        value = int(rng.choice([0, 140, 255, 255]))
        centre = tuple(int(v) for v in rng.uniform(0.3, 0.7, 2) * size)
        if kind == 0:
            cv2.circle(sheet, centre, int(size * rng.uniform(0.15, 0.48)), value, -1, cv2.LINE_AA)
        elif kind == 1:
            cv2.circle(sheet, centre, int(size * rng.uniform(0.2, 0.45)), 255, max(1, size // 12), cv2.LINE_AA)
        elif kind == 2:
            cv2.fillPoly(
                sheet, [rng.uniform(0, size, (int(rng.integers(3, 7)), 2)).astype(np.int32)], value, cv2.LINE_AA
            )
        elif kind == 3:
            sheet[:: max(2, int(rng.integers(2, 7)))] = value
        else:
            a, b = np.sort(rng.uniform(0, size, (2, 2)).astype(int), axis=0)
            cv2.rectangle(sheet, tuple(map(int, a)), tuple(map(int, b)), value, -1)
    return sheet


def rubber(rng: np.random.Generator, scale: float) -> np.ndarray:
    """A rubber stamp: a ring or a frame with words, unevenly inked, turned a little."""
    size = int(scale * rng.uniform(0.8, 1.3))
    words = [gibberish(int(rng.integers(4, 12)), rng).upper() for _ in range(int(rng.integers(1, 4)))]
    if rng.random() < 0.3:
        words[0] = str(rng.choice(["PAID", "CLEARED", "RECEIVED", "FOR " + words[0], "CANCELLED", digits(8, rng)]))
    face = str(rng.choice(FACES[:6]))
    lines = [text(word, size / 12, face) for word in words]
    height, width = size, int(size * rng.uniform(1.0, 1.8))
    sheet = np.zeros((height, width), np.uint8)
    thick = max(1, size // 50)
    if rng.random() < 0.5:
        axes = (width // 2 - thick, height // 2 - thick)
        for inset in (0.0, 0.3) if rng.random() < 0.6 else (0.0,):
            reach = tuple(max(2, int(a * (1 - inset))) for a in axes)
            cv2.ellipse(sheet, (width // 2, height // 2), reach, 0, 0, 360, 255, thick, cv2.LINE_AA)
    elif rng.random() < 0.7:
        cv2.rectangle(sheet, (thick, thick), (width - thick - 1, height - thick - 1), 255, thick)
    y = height // 2 - sum(line.shape[0] + 4 for line in lines) // 2
    for line in lines:
        part = line[: max(0, height - y), :width]
        if y >= 0 and part.size:
            x = max(0, (width - part.shape[1]) // 2)
            sheet[y : y + part.shape[0], x : x + part.shape[1]] |= part
        y += line.shape[0] + 4
    worn = cv2.resize(
        rng.uniform(0.3, 1.3, (6, 8)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    sheet = np.asarray(np.clip(sheet * np.clip(worn, 0, 1), 0, 255), np.uint8)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 12), 0.85)
    return cv2.warpAffine(sheet, turn, (width, height))
