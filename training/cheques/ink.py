"""What people write on cheques, as transparent ink: signatures of writers, and words and numbers in other hands.

A bank of both is drawn once and kept in a cache; cheques then only paste from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from embeddings.ink import find_ink, flatten
from training import datasets
from training.glyphs import CAPITAL, DIGITS, SMALL
from training.kinematics import Hand, Runs, draw_hand, pen_path
from training.plans import ONSETS, VOWELS
from training.scanner import inked
from training.synthetic import writer

VERSION = "1"
LARGEST = 420  # pixels on the long side of a signature that is kept
WORDS, NUMBERS = 22, 14  # of each hand
FEW = 60  # pictures that one core draws sooner than others can be started
# Letters that nobody here has a shape for are left out when words are written.
NUMERALS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "twelve",
    "twenty",
    "thirty",
]
NUMERALS += ["forty", "fifty", "sixty", "hundred", "thousand", "lakh", "million", "and", "only", "rupees", "euros"]
NUMERALS += ["dollars", "mille", "cent", "deux"]

Ink = np.ndarray  # uint8 (h, w): 0 nothing, 255 covered


@dataclass(frozen=True)
class Script:
    """What one hand wrote: words and numbers."""

    words: list[Ink]
    numbers: list[Ink]


@dataclass(frozen=True)
class Bank:
    signatures: list[Ink]
    scripts: list[Script]


def load(cache: Path, data: Path | None, *, people: int = 700, hands: int = 260, first: int = 0) -> Bank:
    """The bank of drawn people `first`, `first + 1` ..., and of CEDAR and the cross-media set where `data` has them;
    drawn once into `cache`."""
    name = f"ink-{VERSION}-{people}-{hands}-{first}-{'real' if data else 'drawn'}.npz"
    kept = cache / name
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _save(kept, drawn(data, people=people, hands=hands, first=first))
    return _read(kept)


def drawn(data: Path | None = None, *, people: int, hands: int, first: int) -> Bank:
    """The same, kept nowhere."""
    jobs = [("person", seed) for seed in range(first, first + people)]
    jobs += [("scribbler", seed) for seed in range(first, first + people // 3)]
    jobs += [("file", str(path)) for path in _files(data)]
    signatures = [one for some in _every(_signatures, jobs, "signatures") for one in some]
    return Bank(signatures, _every(script, range(first, first + hands), "handwriting"))


def _every(draw: Callable, jobs: Sequence, what: str) -> list:
    """In order, by every core if there is much to draw."""
    if len(jobs) < FEW:
        return [draw(job) for job in jobs]
    with ProcessPoolExecutor() as pool:
        return list(track(pool.map(draw, jobs, chunksize=8), what, len(jobs), transient=True))


def _files(data: Path | None) -> list[Path]:
    """A few genuine signatures of each owner; Chinese names are fewer, because most cheques bear other scripts."""
    if data is None:
        return []
    found: dict[str, list[Path]] = {}
    for one in [*datasets.cedar(data / "cedar"), *datasets.cross_media(data / "cross-media-chinese")]:
        if one.genuine:
            found.setdefault(one.owner, []).append(one.path)
    western = [path for owner, paths in found.items() if owner.startswith("cedar") for path in paths[:12]]
    return western + [paths[0] for owner, paths in found.items() if not owner.startswith("cedar")][::4]


def _signatures(job: tuple[str, int | str]) -> list[Ink]:
    kind, what = job
    if kind == "person":
        person = writer(int(what))
        return [transparent(_grey(person.genuine(number))) for number in range(2)]
    if kind == "scribbler":
        return [scribble(np.random.default_rng([int(what), 77]))]
    return [transparent(cv2.imread(str(what), cv2.IMREAD_GRAYSCALE))]


def _grey(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)


def transparent(grey: np.ndarray) -> Ink:
    """How much of each pixel the pen covered, cut to the ink."""
    mask = find_ink(grey)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return np.zeros((1, 1), np.uint8)
    box = np.s_[top : top + height, left : left + width]
    flat = flatten(grey)[box].astype(np.float32)
    inside = cv2.dilate(mask[box], np.ones((3, 3), np.uint8)) > 0
    dark = float(np.median(flat[mask[box] > 0]))
    cover = np.clip((216 - flat) / max(216 - dark, 1.0), 0, 1) * inside
    return fitted(np.asarray(cover * 255, np.uint8), LARGEST)


def fitted(ink: Ink, longest: float) -> Ink:
    scale = longest / max(ink.shape)
    if scale >= 1:
        return ink
    return resized(ink, scale)


def resized(ink: Ink, scale: float, stretch: float = 1.0) -> Ink:
    size = (max(2, round(ink.shape[1] * scale * stretch)), max(2, round(ink.shape[0] * scale)))
    return np.asarray(
        cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )


def cut(ink: Ink) -> Ink:
    """Without empty margins."""
    left, top, width, height = cv2.boundingRect(np.asarray(ink > 40, np.uint8))
    return ink[top : top + height, left : left + width] if width else np.zeros((2, 2), np.uint8)


def scribble(rng: np.random.Generator) -> Ink:
    """A signature that spells nothing: loops, zigzags, a circle around it, a line below."""
    hand = draw_hand(rng)
    x, targets = 0.0, []
    for number in range(int(rng.integers(4, 16))):
        tall = rng.uniform(0.4, 1.6) * (2.2 if rng.random() < 0.25 else 1.0)
        targets.append([x, tall if number % 2 else -0.6 * tall * rng.random()])
        x += rng.normal(0.45, 0.5)
    runs: Runs = [np.array(targets)]
    if rng.random() < 0.3:
        angles = np.linspace(rng.uniform(0, 6), rng.uniform(8, 15), 10)
        runs.append(
            np.column_stack([x / 2 + 0.7 * abs(x) * np.cos(angles), 0.5 + rng.uniform(1, 1.8) * np.sin(angles)])
        )
    if rng.random() < 0.4:
        low = rng.uniform(-1.5, -0.5)
        runs.append(
            np.array(
                [[-0.3, low], [x / 2, low + rng.normal(0, 0.2)], [x + rng.uniform(0, 2), low + rng.normal(0.2, 0.4)]]
            )
        )
    path = pen_path(runs, hand, rng)
    return fitted(cut(np.asarray(inked(path, 40) * 255, np.uint8)), LARGEST)


def script(seed: int) -> Script:
    rng = np.random.default_rng([seed, 78])
    hand = draw_hand(rng)
    flat = rng.random() < 0.7  # most people keep to the line
    hand = Hand(**{**vars(hand), "slope": 0.3 * hand.slope if flat else hand.slope, "arch": 0.0})
    cursive, capitals = rng.random() < 0.5, rng.random() < 0.2
    own = rng.uniform(0.04, 0.12)
    words = [write(_word(rng, capitals), hand, rng, cursive=cursive, own=own) for _ in range(WORDS)]
    numbers = [write(_number(rng), hand, rng, cursive=False, own=own) for _ in range(NUMBERS)]
    return Script(words, numbers)


def _word(rng: np.random.Generator, capitals: bool) -> str:
    if rng.random() < 0.6:
        spelled = str(rng.choice(NUMERALS))
    else:
        spelled = "".join(rng.choice(ONSETS) + rng.choice(list(VOWELS)) for _ in range(int(rng.integers(1, 4))))
    spelled = "".join(letter for letter in spelled if letter in SMALL)
    if capitals:
        return "".join(letter for letter in spelled.upper() if letter in CAPITAL) or "TEN"
    return spelled.capitalize() if spelled[0].upper() in CAPITAL and rng.random() < 0.5 else spelled


def _number(rng: np.random.Generator) -> str:
    kind = rng.choice(["date", "amount", "plain"], p=[0.35, 0.45, 0.2])
    if kind == "date":
        day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(10, 27)
        return f"{day}{rng.choice(['/', '-', '.'])}{month}{rng.choice(['/', '-'])}{year}"
    digits = str(rng.integers(100, 10 ** int(rng.integers(3, 8))))
    if kind == "amount":
        cut_at = len(digits) - 3
        return (digits[:cut_at] + "," + digits[cut_at:] if cut_at > 0 else digits) + rng.choice(
            ["", "/-", "=", ".00"]
        )
    return digits


def write(text: str, hand: Hand, rng: np.random.Generator, *, cursive: bool, own: float, height: int = 22) -> Ink:
    """`text` in this hand, `height` pixels to the x-height."""
    runs: Runs = []
    line: list[np.ndarray] = []
    x = 0.0
    for letter in text:
        shapes = [np.array(run) for run in (SMALL | CAPITAL | DIGITS)[letter]]
        moved = [shape + rng.normal(0, own, shape.shape) + [x, 0] for shape in shapes]
        if cursive and letter in SMALL:
            line.append(moved[0])
        else:
            runs.append(moved[0])
        runs += moved[1:]
        x += shapes[0][:, 0].max() + rng.uniform(0.02, 0.3)
    if line:
        runs.append(np.concatenate(line))
    return cut(np.asarray(inked(pen_path(runs, hand, rng), height) * 255, np.uint8))


def _save(path: Path, bank: Bank) -> None:
    """Pictures of many sizes as one row of bytes and their shapes."""
    scripts = [ink for script in bank.scripts for ink in (*script.words, *script.numbers)]
    everything = [*bank.signatures, *scripts]
    np.savez_compressed(
        path,
        pixels=np.concatenate([ink.ravel() for ink in everything]),
        shapes=np.array([ink.shape for ink in everything]),
        signatures=len(bank.signatures),
    )


def _read(path: Path) -> Bank:
    with np.load(path) as stored:
        shapes, pixels, count = stored["shapes"], stored["pixels"], int(stored["signatures"])
    ends = np.cumsum(shapes.prod(axis=1))
    everything = [part.reshape(shape) for part, shape in zip(np.split(pixels, ends[:-1]), shapes, strict=True)]
    signatures = [ink for ink in everything[:count] if min(ink.shape) > 8]
    rest, each = everything[count:], WORDS + NUMBERS
    scripts = [Script(rest[at : at + WORDS], rest[at + WORDS : at + each]) for at in range(0, len(rest), each)]
    return Bank(signatures, scripts)
