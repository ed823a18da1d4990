"""What is printed where a cheque is signed: rules, captions, names, stamps, security background, bar codes, MICR.

Everything is drawn on a page float32 (h, w) of light, 1 paper and 0 black, at `cm` pixels to the centimetre.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Page = np.ndarray
Rng = np.random.Generator

CAPTIONS = (
    "Authorised signatory", "Please sign above", "Please sign above this line", "Signature", "Signature(s)",
    "Authorized signature", "Unterschrift", "Signature du tireur", "Firma", "Firma del titular", "Handtekening",
    "For and on behalf of", "Not negotiable", "Account payee only", "Director", "Proprietor", "Partner", "Drawer",
    "Authorised signatories", "Do not write below this line", "Or bearer", "Void after 90 days", "Payable at par",
    "Please do not sign below", "Customer signature", "Sign here", "x", "MP", "Date", "Amount", "Underskrift",
    "Podpis",
)  # fmt: skip
SYLLABLES = [
    "an", "to", "ni", "ber", "li", "na", "mo", "ha", "med", "son", "fer", "nan", "dez", "wil", "le", "beau", "gar",
    "cia", "ster", "man", "ov", "ski", "ku", "mar", "vel", "ri", "so", "ta", "lund", "berg",
]  # fmt: skip
ALPHABETS = [string.ascii_letters, string.digits] + [
    "".join(map(chr, range(first, last)))  # Greek, Cyrillic, Armenian, Georgian, Arabic
    for first, last in ((0x391, 0x3C9), (0x410, 0x450), (0x531, 0x556), (0x10D0, 0x10F0), (0x621, 0x64A))
]


@cache
def fonts() -> list[Path]:
    """Typefaces that come with the training environment; no pen script among them."""
    found = sorted((Path(mpl.get_data_path()) / "fonts" / "ttf").glob("*.ttf"))
    plain = [p for p in found if p.stem.startswith(("DejaVu", "STIXGeneral", "cmr", "cmss", "cmtt", "cmb"))]
    plain = [p for p in plain if "Display" not in p.stem]
    for package in ("font_roboto", "font_source_sans_pro", "font_source_serif_pro"):
        plain += sorted(Path(str(files(package))).glob("files/*.ttf")) * 2
    return plain


@cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def lettering(text: str, height: float, rng: Rng) -> np.ndarray:
    """How much of each pixel a line of print covers, float32 in [0, 1]; `height` pixels to the capital letter."""
    path = fonts()[int(rng.integers(len(fonts())))]
    latin = all(ord(letter) < 0x250 for letter in text)
    if not latin:
        wanted = "DejaVuSans-Bold" if rng.random() < 0.4 else "DejaVuSans"
        path = next(p for p in fonts() if p.stem == wanted)
    font = _font(path, max(8, round(2 * height / 0.72)))
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    picture = Image.new("L", (max(1, right - left) + 4, max(1, bottom - top) + 4))
    ImageDraw.Draw(picture).text((2 - left, 2 - top), text, fill=255, font=font)
    drawn = np.asarray(picture)
    size = (max(1, round(drawn.shape[1] / 2 * rng.uniform(0.75, 1.1))), max(1, round(drawn.shape[0] / 2)))
    return cv2.resize(drawn, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def words(rng: Rng) -> str:
    """Something that a bank prints."""
    kind = rng.random()
    if kind < 0.45:
        text = CAPTIONS[int(rng.integers(len(CAPTIONS)))]
    elif kind < 0.75:
        text = " ".join(
            "".join(rng.choice(SYLLABLES, int(rng.integers(1, 4)))).capitalize()
            for _ in range(int(rng.integers(1, 4)))
        )
    elif kind < 0.88:
        text = "".join(rng.choice(list(string.digits + " -/"), int(rng.integers(3, 16))))
    else:
        letters = list(ALPHABETS[int(rng.integers(len(ALPHABETS)))])
        text = " ".join("".join(rng.choice(letters, int(rng.integers(2, 9)))) for _ in range(int(rng.integers(1, 4))))
    return text.upper() if rng.random() < 0.25 else text


def put(page: Page, cover: np.ndarray, left: float, top: float, tone: float) -> None:
    """Prints `cover` on the page in place, in a tone of light; what lies off the page is lost."""
    x, y = round(left), round(top)
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(page.shape[1], x + cover.shape[1]), min(page.shape[0], y + cover.shape[0])
    if x1 > x0 and y1 > y0:
        spot = page[y0:y1, x0:x1]
        spot *= 1 - cover[y0 - y : y1 - y, x0 - x : x1 - x] * (1 - tone)


def turned(cover: np.ndarray, degrees: float) -> np.ndarray:
    height, width = cover.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    sine, cosine = abs(turn[0, 1]), abs(turn[0, 0])
    size = (int(height * sine + width * cosine) + 2, int(height * cosine + width * sine) + 2)
    turn[:, 2] += ((size[0] - width) / 2, (size[1] - height) / 2)
    return cv2.warpAffine(cover, turn, size)


def caption(page: Page, cm: float, rng: Rng) -> None:
    """One to three lines of print, centred on each other as often as not; most stand under the middle of the page,
    where the signature's lowest strokes run into them."""
    height = cm * rng.uniform(0.13, 0.32)
    tone = rng.uniform(0, 0.15) if rng.random() < 0.7 else rng.uniform(0.1, 0.6)
    x, y = rng.uniform(0, page.shape[1]), rng.uniform(0, page.shape[0])
    flush = rng.choice([0.0, 0.5, 1.0])
    if rng.random() < 0.5:
        x, y, flush = page.shape[1] * rng.normal(0.5, 0.2), page.shape[0] * rng.normal(0.68, 0.1), 0.5
    for _ in range(int(rng.integers(1, 4))):
        cover = lettering(words(rng), height, rng)
        put(page, cover, x - flush * cover.shape[1], y, tone)
        y += height * rng.uniform(1.6, 2.6)
        height *= rng.uniform(0.75, 1.2)


def rule(page: Page, cm: float, rng: Rng) -> None:
    """A line to sign on: solid, dashed, dotted, or of print too small to read; sometimes upright."""
    if rng.random() < 0.12:
        rule(page.T, cm, rng)
        return
    width = page.shape[1]
    y = rng.uniform(0, page.shape[0])
    left = 0 if rng.random() < 0.5 else rng.uniform(0, 0.6 * width)
    right = width if rng.random() < 0.5 else rng.uniform(left + 0.2 * width, width)
    fall = rng.normal(0, 0.006) * width
    thick = max(1, round(cm * abs(rng.normal(0.02, 0.02))))
    cover = np.zeros(page.shape, np.uint8)
    kind = rng.random()
    if kind < 0.2:
        text = words(rng).upper().replace(" ", "")
        line = lettering((text * 40)[: int(rng.integers(60, 200))], cm * rng.uniform(0.03, 0.07), rng)
        put(page, line, left, y, rng.uniform(0, 0.4))
        return
    ends = [(round(left), round(y)), (round(right), round(y + fall))]
    cv2.line(cover, *ends, 255, thick, cv2.LINE_AA)
    if kind < 0.4:
        dash = max(2, round(cm * rng.uniform(0.03, 0.2)))
        cover[:, np.arange(width) % dash < dash * rng.uniform(0.2, 0.6)] = 0
    page *= 1 - cover.astype(np.float32) / 255 * (
        1 - (rng.uniform(0, 0.2) if rng.random() < 0.6 else rng.uniform(0, 0.75))
    )


def frame(page: Page, cm: float, rng: Rng) -> None:
    """A box, plain or with round corners."""
    x, y = rng.uniform(-0.2, 0.8) * page.shape[1], rng.uniform(-0.2, 0.8) * page.shape[0]
    w, h = cm * rng.uniform(1, 8), cm * rng.uniform(0.6, 4)
    cover = np.zeros(page.shape, np.uint8)
    cv2.rectangle(
        cover, (round(x), round(y)), (round(x + w), round(y + h)), 255, max(1, round(cm * rng.uniform(0.01, 0.05)))
    )
    page *= 1 - cover.astype(np.float32) / 255 * (1 - rng.uniform(0, 0.7))


def waves(page: Page, cm: float, rng: Rng) -> None:
    """Guilloche: families of fine curves that run along each other."""
    height, width = page.shape
    cover = np.zeros((height, width), np.uint8)
    x = np.arange(0, width + 8, 4.0)
    apart = cm * rng.uniform(0.08, 0.5)
    for _ in range(int(rng.integers(1, 3))):
        rise, length, phase = cm * rng.uniform(0.1, 1.5), cm * rng.uniform(0.5, 6), rng.uniform(0, 6.3)
        drift, second = rng.uniform(0, 0.6), rng.uniform(0, 0.7)
        for number, start in enumerate(np.arange(-rise, height + rise, apart)):
            angle = 2 * np.pi * x / length + phase + drift * number
            y = start + rise * (np.sin(angle) + second * np.sin(2.7 * angle))
            points = np.round(np.column_stack([x, y]) * 8).astype(np.int32)
            cv2.polylines(cover, [points], False, 255, 1, cv2.LINE_AA, 3)
    if rng.random() < 0.3:
        cover = np.ascontiguousarray(cv2.resize(cover.T, (width, height)))
    page *= 1 - cover.astype(np.float32) / 255 * (1 - rng.uniform(0.45, 0.95))


def rosette(page: Page, cm: float, rng: Rng) -> None:
    """A spirograph's flower, as on banknotes."""
    cover = np.zeros(page.shape, np.uint8)
    turn = np.linspace(0, 2 * np.pi, 1500)
    x0, y0 = rng.uniform(0, page.shape[1]), rng.uniform(0, page.shape[0])
    size, inner, petals = cm * rng.uniform(0.6, 3), rng.uniform(0.2, 0.8), int(rng.integers(5, 40))
    for shift in np.linspace(0, 2 * np.pi / petals, int(rng.integers(2, 7)), endpoint=False):
        r = size * (1 - inner / 2 + inner / 2 * np.sin(petals * (turn + shift)))
        points = np.column_stack([x0 + r * np.cos(turn), y0 + r * np.sin(turn)])
        cv2.polylines(cover, [np.round(points * 8).astype(np.int32)], True, 255, 1, cv2.LINE_AA, 3)
    page *= 1 - cover.astype(np.float32) / 255 * (1 - rng.uniform(0.4, 0.95))


def lettered(page: Page, cm: float, rng: Rng) -> None:
    """A name over and over in the background, solid and pale, in outline, or broken into dots."""
    cover = lettering(words(rng) + "  ", cm * rng.uniform(0.06, 1.1), rng)
    if rng.random() < 0.4:
        edge = cv2.morphologyEx(cover, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        cover = edge * (rng.random(edge.shape) < rng.uniform(0.15, 0.8))
        tone = rng.uniform(0.1, 0.85)
    else:
        tone = rng.uniform(0.55, 0.95)
    cover = cv2.copyMakeBorder(cover, *[round(cm * rng.uniform(0.02, 0.4))] * 2, 0, 4, cv2.BORDER_CONSTANT, value=0)
    height, width = page.shape
    big = np.tile(cover, (2 * height // cover.shape[0] + 2, 2 * width // cover.shape[1] + 2))
    big = turned(big[: 2 * height, : 2 * width].astype(np.float32), rng.choice([0, rng.uniform(-50, 50)]))
    y, x = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
    page *= 1 - big[y : y + height, x : x + width] * (1 - tone)


def tint(page: Page, cm: float, rng: Rng) -> None:
    """Colour that changes slowly, or a block of it with an edge."""
    height, width = page.shape
    slow = cv2.resize(rng.uniform(0.6, 1, (3, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        block = np.ones(page.shape, np.float32)
        x, y = rng.uniform(-0.3, 0.9) * width, rng.uniform(-0.3, 0.9) * height
        ends = (round(x), round(y)), (round(x + cm * rng.uniform(1, 6)), round(y + cm * rng.uniform(0.5, 4)))
        cv2.rectangle(block, *ends, rng.uniform(0.45, 0.95), cv2.FILLED)
        slow = block
    page *= np.clip(slow, 0.3, 1)


def dots(page: Page, cm: float, rng: Rng) -> None:  # noqa: ARG001 (all that is printed is called alike)
    """Dirt, and what is left of a pale background when a scanner thresholds it."""
    share = 10 ** rng.uniform(-4, -2)
    spots = (rng.random(page.shape, np.float32) < share).astype(np.float32)
    if rng.random() < 0.5:
        cells = rng.random((max(1, page.shape[0] // 40), max(1, page.shape[1] // 40)))
        spots *= cv2.resize(cells.astype(np.float32), page.shape[::-1]) > 0.6
    if rng.random() < 0.5:
        spots = cv2.dilate(spots, np.ones((2, 2), np.uint8))
    page *= 1 - spots * (1 - rng.uniform(0, 0.6))


def barcode(page: Page, cm: float, rng: Rng) -> None:
    """Upright or lying, often at a side."""
    if rng.random() < 0.5:
        barcode(page.T, cm, rng)
        return
    long, high = round(cm * rng.uniform(1.5, 6)), round(cm * rng.uniform(0.3, 1))
    module = max(1, round(cm * rng.uniform(0.02, 0.05)))
    bars = np.repeat((rng.random(long // module + 1) < 0.5).astype(np.float32), module)[:long]
    x = rng.uniform(-0.1, 0.9) * page.shape[1]
    y = rng.uniform(-0.1, 1.0) * page.shape[0]
    put(page, np.tile(bars, (high, 1)), x, y, rng.uniform(0, 0.1))


def micr(page: Page, cm: float, rng: Rng) -> None:
    """A row of wide-set heavy digits, 3.2 mm high."""
    y = page.shape[0] * rng.uniform(0.75, 1.0) if rng.random() < 0.8 else page.shape[0] * rng.uniform(0, 1)
    x = rng.uniform(-0.5, 0.5) * page.shape[1]
    path = next(p for p in fonts() if p.stem == "DejaVuSansMono-Bold")
    for letter in rng.choice(list("0123456789|:  "), int(rng.integers(6, 30))):
        font = _font(path, round(0.43 * cm))
        picture = Image.new("L", (round(0.34 * cm), round(0.5 * cm)))
        ImageDraw.Draw(picture).text((2, 0), letter, fill=255, font=font)
        put(page, np.asarray(picture, np.float32) / 255, x, y, 0.05)
        x += 0.32 * cm


def stamp(page: Page, cm: float, rng: Rng) -> None:
    """A rubber stamp: a ring or a box of words, askew and badly inked."""
    size = round(cm * rng.uniform(1.5, 3.5))
    cover = np.zeros((size, round(size * rng.choice([1, rng.uniform(1, 2.2)]))), np.float32)
    middle = (cover.shape[1] // 2, size // 2)
    thick = max(1, round(cm * rng.uniform(0.02, 0.07)))
    if cover.shape[1] == size:
        cv2.circle(cover, middle, size // 2 - thick, 1, thick, cv2.LINE_AA)
        if rng.random() < 0.7:
            cv2.circle(cover, middle, round(size * rng.uniform(0.28, 0.4)), 1, max(1, thick // 2), cv2.LINE_AA)
        letter_height = size * 0.09
        for angle in np.arange(rng.uniform(0, 30), rng.uniform(200, 340), rng.uniform(14, 22)):
            letter = turned(lettering(str(rng.choice(list(string.ascii_uppercase))), letter_height, rng), 90 - angle)
            r = size * 0.42
            x, y = middle[0] + r * np.cos(np.radians(angle)), middle[1] - r * np.sin(np.radians(angle))
            put_on(cover, letter, x - letter.shape[1] / 2, y - letter.shape[0] / 2)
    elif rng.random() < 0.7:
        cv2.rectangle(cover, (thick, thick), (cover.shape[1] - thick, size - thick), 1, thick)
    y = size * 0.25
    while y < size * 0.75:
        line = lettering(words(rng), size * rng.uniform(0.06, 0.14), rng)
        put_on(cover, line, middle[0] - line.shape[1] / 2, y)
        y += line.shape[0] * 1.3
    cover = turned(cover, rng.normal(0, 12))
    worn = cv2.resize(rng.random((24, 24)).astype(np.float32), cover.shape[::-1], interpolation=cv2.INTER_CUBIC)
    cover *= np.clip(worn + rng.uniform(0, 0.6), 0, 1)
    cover *= rng.random(cover.shape) < rng.uniform(0.7, 1)
    x, y = rng.uniform(-0.1, 0.9) * page.shape[1], rng.uniform(-0.2, 0.8) * page.shape[0]
    put(page, cv2.GaussianBlur(cover, (0, 0), 0.7), x, y, rng.uniform(0.1, 0.65))


def put_on(cover: np.ndarray, part: np.ndarray, left: float, top: float) -> None:
    dark = 1 - cover
    put(dark, part, left, top, 0.0)
    cover[:] = 1 - dark


# How often each is on a page, and at most how often.
THINGS: list[tuple[Callable[[Page, float, Rng], None], float, int]] = [
    (tint, 0.35, 2), (waves, 0.3, 2), (rosette, 0.12, 2), (lettered, 0.3, 1), (dots, 0.3, 1), (rule, 0.75, 3),
    (frame, 0.25, 2), (caption, 0.95, 4), (micr, 0.2, 1), (barcode, 0.2, 1), (stamp, 0.22, 1),
]  # fmt: skip


def page(shape: tuple[int, int], cm: float, rng: Rng) -> Page:
    """A piece of a cheque before anybody signed it, float32 `shape`."""
    drawn = np.ones(shape, np.float32)
    plain = rng.random() < 0.35  # many scanners drop the background
    for thing, chance, most in THINGS:
        if plain and thing in (tint, waves, rosette):
            continue
        if rng.random() < chance:
            for _ in range(int(rng.integers(1, most + 1))):
                thing(drawn, cm, rng)
    return drawn
