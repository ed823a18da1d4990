"""What a made-up person writes: a name, and the targets of a signature that spells it in this person's way."""

from __future__ import annotations

import numpy as np

from training.glyphs import CAPITAL, SMALL
from training.kinematics import Runs

ONSETS = [*"bcdfghklmnprstvwz", "br", "ch", "cl", "dr", "fr", "gr", "pl", "sh", "st", "th", "tr"]
VOWELS = "aeiou"


def draw_name(rng: np.random.Generator) -> str:
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


def plan(name: str, rng: np.random.Generator) -> Runs:
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
