"""Made-up writers: unlimited identities that nobody owns, drawn with the kinematics of handwriting.

A pen path is a plan of targets, and each stroke towards the next target follows a lognormal speed that overlaps its
neighbours: the sigma-lognormal model (Plamondon, 1995) as used for synthetic signatures (Ferrer, Diaz-Cabrera and
Morales, 2015). A writer signs again with nearly the same plan and timing; a forger copies the targets from the
picture, slower, in more and shorter strokes, with a tremor and a hand of his own.

Everything follows from the seed: the same seed draws the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from embeddings.errors import UnusableImage
from embeddings.preprocess import PREPROCESSING_VERSION, preprocess
from training.canvases import CANVAS, Canvases
from training.glyphs import CAPITAL, SMALL

ONSETS = [*"bcdfghklmnprstvwz", "br", "ch", "cl", "dr", "fr", "gr", "pl", "sh", "st", "th", "tr"]
VOWELS = "aeiou"
VERSION = "1"
Runs = list[np.ndarray]


@dataclass(frozen=True)
class Hand:
    """How somebody writes whatever is written; lengths in x-heights, angles as tangents."""

    slant: float
    width: float
    tall: float
    slope: float
    arch: float
    smooth: float
    pen: float
    tremor: float = 0.0


@dataclass(frozen=True)
class Writer:
    """A made-up person: a hand, and a plan of pen-down runs of targets float64 (k, 2) in x-heights, y upwards."""

    seed: int
    hand: Hand
    plan: Runs

    def genuine(self, number: int) -> bytes:
        """The person's signature `number` as a PNG."""
        rng = np.random.default_rng([self.seed, 1, number])
        hand = _wobble(self.hand, rng, 0.07)
        return _png(_pen_path(_vary(self.plan, rng, 0.075), hand, rng), rng)

    def forged(self, number: int, error: float = 1.0) -> bytes:
        """Skilled forgery `number` as a PNG: two forgers, each with several attempts. `error` scales how far their
        shapes and proportions are off; 1.0, which training draws, is a very good forger."""
        forger = np.random.default_rng([self.seed, 2, number % 2])
        copied = _replan(self.plan, forger, error)
        own = _hand(forger)
        learned = 0.65
        hand = replace(
            self.hand,
            slant=learned * self.hand.slant + (1 - learned) * own.slant,
            width=self.hand.width * np.exp(forger.normal(0, 0.10 * error)),
            tall=self.hand.tall * np.exp(forger.normal(0, 0.10 * error)),
            slope=self.hand.slope + forger.normal(0, 0.04 * error),
            smooth=self.hand.smooth * 0.8,
            pen=own.pen,
            tremor=forger.uniform(0.015, 0.05),
        )
        rng = np.random.default_rng([self.seed, 3, number])
        hand = _wobble(hand, rng, 0.07)
        return _png(_pen_path(_vary(copied, rng, 0.075), hand, rng), rng)


def writer(seed: int, name: str | None = None) -> Writer:
    """The made-up person of this seed; `name` ("Ada Moreau") or a drawn one is what the person's plan spells."""
    rng = np.random.default_rng([seed, 0])
    return Writer(seed, _hand(rng), _plan(name or _name(rng), rng))


def canvases(seeds: Sequence[int], cache: Path | None = None, *, genuine: int = 8, forged: int = 4) -> Canvases:
    """Signatures of these writers as network input, owners `drawn/SEED`; kept packed in `cache`."""
    kept = (
        cache
        / f"drawn-{VERSION}-{PREPROCESSING_VERSION}-{min(seeds)}-{max(seeds)}-{len(seeds)}-{genuine}-{forged}.npz"
        if cache
        else None
    )
    if kept and kept.exists():
        with np.load(kept) as stored:
            packed, owner, real = stored["packed"], stored["owner"], stored["real"]
    else:
        packed, owner, real = _draw(seeds, genuine, forged)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, packed=packed, owner=owner, real=real)
    pixels = np.unpackbits(packed, axis=-1).reshape(-1, *CANVAS)
    wanted = len(seeds) * (genuine + forged)
    return Canvases(pixels, owner, owner, real, wanted - len(owner))


def _draw(seeds: Sequence[int], genuine: int, forged: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    packed, owner, real = [], [], []
    for seed in track(list(seeds), description="drawing writers", transient=True):
        person = writer(seed)
        pictures = [(person.genuine(n), True) for n in range(genuine)] + [
            (person.forged(n), False) for n in range(forged)
        ]
        for picture, is_genuine in pictures:
            try:
                packed.append(np.packbits(preprocess(picture) > 0.5, axis=-1))
            except UnusableImage:
                continue
            owner.append(f"drawn/{seed}")
            real.append(is_genuine)
    return np.array(packed), np.array(owner), np.array(real, bool)


def _hand(rng: np.random.Generator) -> Hand:
    return Hand(
        slant=rng.normal(0.25, 0.22),
        width=np.exp(rng.normal(0.05, 0.25)),
        tall=np.exp(rng.normal(0.0, 0.18)),
        slope=rng.normal(0.08, 0.07),
        arch=rng.normal(0, 0.006),
        smooth=rng.uniform(1.5, 2.3),
        pen=rng.uniform(0.07, 0.14),
    )


def _name(rng: np.random.Generator) -> str:
    def word(syllables: int) -> str:
        spelled = "".join(rng.choice(ONSETS) + rng.choice(list(VOWELS)) for _ in range(syllables))
        return (spelled + rng.choice(["", "n", "r", "s", "l", "t"])).capitalize()

    def starts_well(spelled: str) -> bool:
        return spelled[0] in CAPITAL and all(letter in SMALL for letter in spelled[1:])

    words = []
    while len(words) < 2:
        tried = word(int(rng.integers(1, 4)))
        if starts_well(tried):
            words.append(tried)
    return " ".join(words)


def _plan(name: str, rng: np.random.Generator) -> Runs:
    """Targets of a signature that spells `name` in this writer's way: which words are written out, how soon the
    letters run into a line, how a letter deviates from the copybook, and how it all ends."""
    first, last = name.split()
    spelled = [first, last]
    habit = rng.choice(["full", "initial", "surname", "initials"], p=[0.45, 0.30, 0.17, 0.08])
    if habit == "initial":
        spelled = [first[0], last]
    elif habit == "surname":
        spelled = [last]
    elif habit == "initials":
        spelled = [first[0], last[0]]
    fade = rng.uniform(0.0, 0.16)
    own = rng.uniform(0.06, 0.15)
    gap, capital = rng.uniform(0.1, 0.8), rng.uniform(0.85, 1.6)
    cursive = rng.random() < 0.8
    runs: Runs = []
    x = 0.0
    for word in spelled:
        word_runs, x = _word(word, x, capital=capital, fade=fade, own=own, cursive=cursive, rng=rng)
        runs += word_runs
        x += gap
    return _finish(runs, x, rng)


def _word(word: str, x: float, *, capital: float, fade: float, own: float, cursive: bool, rng) -> tuple[Runs, float]:
    line: list[np.ndarray] = []
    extra: Runs = []
    runs: Runs = []
    for index, letter in enumerate(word):
        big = index == 0
        shapes = [np.array(run) for run in (CAPITAL if big else SMALL)[letter]]
        size = capital if big else 1.0
        flat = 1.0 if big else max(0.25, 1 - fade * index)
        for number, shape in enumerate(shapes):
            run = (shape + rng.normal(0, own, shape.shape)) * [size, size * flat] + [x, 0]
            if number == 0 and cursive:
                line.append(run)
            elif number == 0:
                runs.append(run)
            else:
                extra.append(run)
        x += (shapes[0][:, 0].max() * size + rng.uniform(-0.05, 0.12)) * (1.0 if big else max(0.7, flat))
        if big and rng.random() < 0.4 and line:
            runs.append(np.concatenate(line))
            line = []
    if line:
        runs.append(np.concatenate(line))
    return runs + extra, x


def _finish(runs: Runs, x: float, rng: np.random.Generator) -> Runs:
    """How a signature ends: not at all, with a long last stroke, a line below, or a loop back below."""
    ending = rng.choice(["none", "stroke", "line", "loop"], p=[0.35, 0.30, 0.18, 0.17])
    if ending == "stroke":
        tail = np.array(
            [[x + rng.uniform(0.5, 1.5), rng.uniform(-0.3, 0.6)], [x + rng.uniform(2, 3.5), rng.uniform(-0.2, 1)]]
        )
        runs[-1] = np.concatenate([runs[-1], tail])
    elif ending == "line":
        low = rng.uniform(-1.3, -0.6)
        runs.append(
            np.array(
                [
                    [rng.uniform(-0.3, 0.4) * x, low],
                    [0.5 * x, low + rng.normal(0, 0.1)],
                    [x * rng.uniform(0.8, 1.1), low + rng.normal(0.1, 0.2)],
                ]
            )
        )
    elif ending == "loop":
        low = rng.uniform(-1.5, -0.8)
        back = np.array(
            [
                [x + 0.8, 0.2],
                [x + 0.6, low],
                [0.2 * x, low],
                [0.1 * x, low - 0.4],
                [0.5 * x, low - 0.5],
                [0.9 * x, low + rng.uniform(-0.6, 0.2)],
            ]
        )
        runs[-1] = np.concatenate([runs[-1], back + rng.normal(0, 0.15, back.shape)])
    return runs


def _vary(plan: Runs, rng: np.random.Generator, amount: float) -> Runs:
    """The plan of one more attempt: every target a little off, every run a little shifted."""
    return [run + rng.normal(0, amount, run.shape) + rng.normal(0, amount, 2) for run in plan]


def _wobble(hand: Hand, rng: np.random.Generator, amount: float) -> Hand:
    return replace(
        hand,
        slant=hand.slant + rng.normal(0, 0.8 * amount),
        width=hand.width * np.exp(rng.normal(0, 0.8 * amount)),
        tall=hand.tall * np.exp(rng.normal(0, 0.8 * amount)),
        slope=hand.slope + rng.normal(0, 0.5 * amount),
        smooth=hand.smooth * np.exp(rng.normal(0, amount)),
        pen=hand.pen * np.exp(rng.normal(0, 2 * amount)),
    )


def _replan(plan: Runs, forger: np.random.Generator, error: float) -> Runs:
    """A forger's plan: targets read off the picture with errors, some strokes cut in two, some runs lifted apart."""
    copied: Runs = []
    for run in plan:
        points = [run[0]]
        for before, after in pairwise(run):
            if forger.random() < 0.3:
                points.append((before + after) / 2 + forger.normal(0, 0.05, 2))
            points.append(after)
        seen = np.array(points) + forger.normal(0, 0.08 * error, (len(points), 2))
        seen *= np.exp(forger.normal(0, 0.06 * error, 2))
        if len(seen) > 8 and forger.random() < 0.5:
            cut = int(forger.integers(3, len(seen) - 3))
            copied += [seen[: cut + 1], seen[cut:]]
        else:
            copied.append(seen)
    return copied


def _pen_path(plan: Runs, hand: Hand, rng: np.random.Generator) -> Runs:
    """Runs of pen positions and ink widths float64 (k, 3) in x-heights, y upwards."""
    path = []
    for run in plan:
        placed = run * [hand.width, hand.tall]
        drawn = _lognormal_strokes(placed, hand.smooth)
        if hand.tremor:
            shake = rng.normal(0, 1, drawn.shape)
            soft = _soften(shake, 2.5) * 2.5
            drawn = drawn + hand.tremor * soft
        x = drawn[:, 0] + hand.slant * drawn[:, 1]
        y = drawn[:, 1] + hand.slope * drawn[:, 0] + hand.arch * drawn[:, 0] ** 2
        speed = np.hypot(*np.gradient(drawn, axis=0).T)
        ink = hand.pen * np.clip(1.25 - 0.35 * speed / (np.median(speed) + 1e-9), 0.6, 1.2)
        path.append(np.column_stack([x, y, _soften(ink[:, None], 3)[:, 0]]))
    return path


def _soften(rows: np.ndarray, spread: float) -> np.ndarray:
    """Gaussian smoothing along the first axis, each column scaled back to its own deviation if it was noise."""
    reach = np.arange(-int(4 * spread), int(4 * spread) + 1)
    kernel = np.exp(-0.5 * (reach / spread) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(rows, ((len(reach) // 2,) * 2, (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)


def _lognormal_strokes(targets: np.ndarray, smooth: float, samples: int = 10) -> np.ndarray:
    """Positions float64 (k, 2) of a pen that starts a stroke to the next target every unit of time, each stroke
    covering its way as a lognormal distribution function; `smooth` is how long a stroke lasts."""
    targets = _beyond(targets)
    strokes = np.diff(targets, axis=0)
    time = np.arange(0, len(strokes) + 3 * smooth, 1 / samples)
    since = np.maximum(time[:, None] - np.arange(len(strokes))[None] + 0.15, 1e-6)
    share = _lognormal_cdf(since, np.log(0.75 * smooth), 0.4)
    return targets[0] + share @ strokes


def _beyond(targets: np.ndarray, reach: float = 0.7) -> np.ndarray:
    """Virtual targets: overlapping strokes cut corners, so a hand aims beyond the corner that it means to reach."""
    aimed = targets.copy()
    aimed[1:-1] += reach * (targets[1:-1] - (targets[:-2] + targets[2:]) / 2) / 2
    return aimed


def _lognormal_cdf(time: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    z = (np.log(time) - mu) / (sigma * np.sqrt(2))
    # Abramowitz and Stegun 7.1.26: numpy has no erf, and 1.5e-7 is far below a pixel.
    t = 1 / (1 + 0.3275911 * np.abs(z))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return 0.5 * (1 + np.sign(z) * (1 - series * np.exp(-z * z)))


def _png(path: Runs, rng: np.random.Generator, height: int = 26) -> bytes:
    """Grey ink on light paper, `height` pixels to the x-height, reduced to 52 levels to keep the file small."""
    ink = _ink(path, height)
    shade = cv2.resize(rng.normal(0, 1.5, (3, 5)), ink.shape[::-1], interpolation=cv2.INTER_CUBIC)
    paper = rng.uniform(234, 244) + shade
    tone = rng.uniform(40, 95)
    grey = paper * (1 - ink) + tone * ink + rng.normal(0, 1.2, ink.shape)
    levels = np.clip(np.round(grey / 5) * 5, 0, 255)
    return cv2.imencode(".png", levels.astype(np.uint8))[1].tobytes()


def _ink(path: Runs, height: int, fine: int = 3, margin: int = 24) -> np.ndarray:
    """How much of each pixel is inked, float64 (h, w) in [0, 1]: drawn `fine` times larger, then averaged."""
    every = np.concatenate(path)
    corner = every[:, :2].min(0)
    size = np.ceil((every[:, :2].max(0) - corner) * height).astype(int) + 2 * margin
    sheet = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    for run in path:
        spots = np.column_stack([run[:, 0] - corner[0], every[:, 1].max() - run[:, 1]]) * height + margin
        for start, end, width in zip(spots[:-1], spots[1:], run[1:, 2], strict=True):
            thick = max(1, round(width * height * fine))
            a, b = (tuple(int(v) for v in np.round(p * fine)) for p in (start, end))
            cv2.line(sheet, a, b, 255, thick, cv2.LINE_8)
    shrunk = cv2.resize(sheet, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(shrunk, (0, 0), 0.6).astype(np.float64) / 255
