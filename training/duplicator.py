"""More signatures out of one: plausible variations of a single real specimen.

    python -m training.duplicator specimen.png --out variations.png

After Diaz, Ferrer, Eskander and Sabourin (2017), "Generation of duplicated off-line signature images for verification
systems": a hand does not put the same strokes in quite the same place, so the ink is bent by slow waves, its parts
are moved against each other, and the whole is turned and stretched a little. Pen and paper stay as they were.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from embeddings.decode import decode
from embeddings.ink import find_ink


@dataclass(frozen=True)
class Amounts:
    """How much one signature differs from the next: waves and moves as shares of the ink's height, turns in radians,
    stretches and slants as shares. The defaults are CEDAR's median writer's."""

    wave: float = 0.035
    move: float = 0.02
    turn: float = 0.02
    stretch: float = 0.03
    slant: float = 0.03

    def scaled(self, factor: float) -> Amounts:
        return Amounts(*(factor * amount for amount in vars(self).values()))


def variations(image: bytes, count: int, seed: int = 0, amounts: Amounts | None = None) -> list[bytes]:
    """`count` PNGs of the signature in an image file as its owner might have written it again; the same seed gives
    the same pixels. Raises `UnusableImage` where there is no image."""
    grey = decode(image)
    mask = find_ink(grey)
    how = amounts or Amounts()
    return [_varied(grey, mask, np.random.default_rng([seed, number]), how) for number in range(count)]


def _varied(grey: np.ndarray, mask: np.ndarray, rng: np.random.Generator, how: Amounts) -> bytes:
    rows = np.flatnonzero(mask.any(1))
    height = float(rows[-1] - rows[0] + 1) if len(rows) else 1.0
    margin = int(0.15 * height) + 4
    paper = int(np.median(grey[mask == 0])) if (mask == 0).any() else 255
    grey = cv2.copyMakeBorder(grey, *[margin] * 4, cv2.BORDER_CONSTANT, value=paper)
    mask = cv2.copyMakeBorder(mask, *[margin] * 4, cv2.BORDER_CONSTANT, value=0)
    from_x, from_y = _waves(grey.shape, height, rng, how.wave)
    parts_x, parts_y = _moves(mask, height, rng, how.move)
    whole_x, whole_y = _affine(mask, rng, how)
    x = (whole_x + from_x + parts_x).astype(np.float32)
    y = (whole_y + from_y + parts_y).astype(np.float32)
    bent = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=paper)
    return cv2.imencode(".png", bent)[1].tobytes()


def _waves(shape: tuple[int, int], height: float, rng: np.random.Generator, amount: float) -> list[np.ndarray]:
    """Two slow sinusoids each way, as long as the ink is high or longer: displacements float (h, w) in x and in y."""
    down, right = np.indices(shape, np.float32)
    found = []
    for _ in range(2):
        field = np.zeros(shape, np.float32)
        for axis in (right, down):
            length = height * rng.uniform(1.0, 3.0)
            phase = rng.uniform(0, 2 * np.pi)
            field += amount * height * rng.normal() * np.sin(2 * np.pi * axis / length + phase)
        found.append(field)
    return found


def _moves(mask: np.ndarray, height: float, rng: np.random.Generator, amount: float) -> list[np.ndarray]:
    """Each connected part of the ink moves by itself, and what surrounds it follows."""
    count, parts = cv2.connectedComponents(mask)
    moved = rng.normal(0, amount * height, (2, count)).astype(np.float32)
    moved[:, 0] = 0
    ink = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), height / 12) + 1e-6
    return [cv2.GaussianBlur(each[parts], (0, 0), height / 12) / ink * np.minimum(1, 8 * ink) for each in moved]


def _affine(mask: np.ndarray, rng: np.random.Generator, how: Amounts) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from under a small turn, stretch and slant about the middle of the ink."""
    down, right = np.indices(mask.shape, np.float32)
    ys, xs = np.nonzero(mask)
    middle = (float(xs.mean()), float(ys.mean())) if len(xs) else (0.0, 0.0)
    dx, dy = right - middle[0], down - middle[1]
    wide, high = np.exp(rng.normal(0, how.stretch, 2))
    turn, slant = rng.normal(0, how.turn), rng.normal(0, how.slant)
    x = wide * (np.cos(turn) * dx - np.sin(turn) * dy) + slant * dy
    y = high * (np.sin(turn) * dx + np.cos(turn) * dy)
    return x + middle[0], y + middle[1]


def sheet(image: bytes, count: int, seed: int = 0, amounts: Amounts | None = None) -> np.ndarray:
    """A picture uint8 (h, w): the specimen, then its variations, four a row."""
    pictures = [decode(image), *map(decode, variations(image, count, seed, amounts))]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    cells = []
    for picture in pictures:
        cell = np.full((height, width), 255, np.uint8)
        cell[: picture.shape[0], : picture.shape[1]] = picture
        cells.append(cell)
    cells += [np.full((height, width), 255, np.uint8)] * (-len(cells) % 4)
    return np.vstack([np.hstack(cells[at : at + 4]) for at in range(0, len(cells), 4)])


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.duplicator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("specimen", type=Path, help="an image of one signature")
    parser.add_argument("--count", type=int, default=7, help="how many variations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--much", type=float, default=1.0, help="how much more or less than people usually vary")
    parser.add_argument("--out", type=Path, default=Path("variations.png"), help="the picture goes here")
    chosen = parser.parse_args(arguments)
    picture = sheet(chosen.specimen.read_bytes(), chosen.count, chosen.seed, Amounts().scaled(chosen.much))
    cv2.imwrite(str(chosen.out), picture)
    Console().print(f"{chosen.out}: the specimen and {chosen.count} variations")


if __name__ == "__main__":
    main()
