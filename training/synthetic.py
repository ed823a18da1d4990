"""Made-up writers: unlimited identities that nobody owns, drawn with the kinematics of handwriting.

    python -m training.synthetic --writers 6 --out sheet.png     a contact sheet to look at
    python -m training.synthetic --measure                       images a second

A writer signs again with nearly the same plan and timing, each in a measure of his or her own; a forger has only the
picture (`training.forgery`). Everything follows from the seed: the same seed draws the same pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from embeddings.errors import UnusableImage
from embeddings.preprocess import PREPROCESSING_VERSION, preprocess
from training.canvases import CANVAS, Canvases
from training.forgery import MECHANISMS, copy
from training.kinematics import Hand, Runs, draw_hand, pen_path, wobble
from training.plans import draw_name, plan
from training.scanner import scan

VERSION = "2"
FORGERS = 2  # people who try to imitate one writer, each with several attempts


@dataclass(frozen=True)
class Writer:
    """A made-up person: a hand, a plan of pen-down runs of targets float64 (k, 2) in x-heights, y upwards, and how
    much one signature differs from the next, as the standard deviation of a target in x-heights."""

    seed: int
    hand: Hand
    plan: Runs
    variation: float

    def genuine(self, number: int) -> bytes:
        """The person's signature `number` as a PNG."""
        rng = np.random.default_rng([self.seed, 1, number])
        return _signed(self.plan, self.hand, self.variation, rng)

    def forged(self, number: int, error: float | None = None, mechanism: str | None = None) -> bytes:
        """Skilled forgery `number` as a PNG, by one of two forgers. `error` scales how far their shapes and
        proportions are off, by default as drawn for each; 1 is a very good forger, 2 an ordinary one."""
        forger = np.random.default_rng([self.seed, 2, number % FORGERS])
        drawn = float(np.clip(np.exp(forger.normal(0.5, 0.3)), 0.8, 3.5))
        copied, hand = copy(self.plan, self.hand, forger, drawn if error is None else error, mechanism)
        return _signed(copied, hand, 0.8 * self.variation, np.random.default_rng([self.seed, 3, number]))


def writer(seed: int, name: str | None = None) -> Writer:
    """The made-up person of this seed; `name` ("Ada Moreau") or a drawn one is what the person's plan spells."""
    rng = np.random.default_rng([seed, 0])
    hand = draw_hand(rng)
    drawn = plan(name or draw_name(rng), rng)
    # Steady hands and unsteady ones: CEDAR's writers differ from themselves by factors of two.
    return Writer(seed, hand, drawn, 0.09 * float(np.exp(rng.normal(0, 0.3))))


def _signed(targets: Runs, hand: Hand, variation: float, rng: np.random.Generator) -> bytes:
    return scan(pen_path(_vary(targets, rng, variation), wobble(hand, rng, variation), rng), rng)


def _vary(targets: Runs, rng: np.random.Generator, amount: float) -> Runs:
    """The plan of one more attempt: spacing and baseline drift along the line, every run and every target is a little
    off, and the last stroke ends where it likes."""
    every = np.concatenate(targets)
    knots = np.linspace(every[:, 0].min(), every[:, 0].max() + 1e-6, 6)
    along, up = np.cumsum(rng.normal(0, 0.9 * amount, 6)), rng.normal(0, 1.2 * amount, 6)
    varied = [
        run
        + np.column_stack([np.interp(run[:, 0], knots, along), np.interp(run[:, 0], knots, up)])
        + rng.normal(0, amount, run.shape)
        + rng.normal(0, amount, 2)
        for run in targets
    ]
    varied[-1][-2:] += rng.normal(0, 3 * amount, (min(2, len(varied[-1])), 2))
    return varied


def canvases(seeds: Sequence[int], cache: Path | None = None, *, genuine: int = 8, forged: int = 4) -> Canvases:
    """Signatures of these writers as network input, owners `drawn/SEED`; kept packed in `cache`. Every core draws."""
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
    with ProcessPoolExecutor() as pool:
        people = pool.map(_pictures, seeds, [genuine] * len(seeds), [forged] * len(seeds), chunksize=8)
        for seed, pictures in zip(seeds, track(people, "drawing writers", len(seeds), transient=True), strict=True):
            for picture, is_genuine in pictures:
                packed.append(picture)
                owner.append(f"drawn/{seed}")
                real.append(is_genuine)
    return np.array(packed), np.array(owner), np.array(real, bool)


def _pictures(seed: int, genuine: int, forged: int) -> list[tuple[np.ndarray, bool]]:
    """One writer's canvases, packed to bits; without those that preprocessing refuses."""
    person = writer(seed)
    found = []
    for number in range(genuine + forged):
        is_genuine = number < genuine
        picture = person.genuine(number) if is_genuine else person.forged(number - genuine)
        try:
            found.append((np.packbits(preprocess(picture) > 0.5, axis=-1), is_genuine))
        except UnusableImage:
            continue
    return found


def contact_sheet(seeds: Sequence[int], cell: tuple[int, int] = (250, 110)) -> np.ndarray:
    """A picture uint8 (h, w): a row a writer, three genuine signatures, then a forgery of each mechanism."""
    titles = ["genuine"] * 3 + list(MECHANISMS)
    rows = [np.hstack([_title(title, cell[0]) for title in titles])]
    for seed in track(list(seeds), description="drawing", transient=True):
        person = writer(seed)
        pictures = [person.genuine(n) for n in range(3)] + [person.forged(0, mechanism=m) for m in MECHANISMS]
        rows.append(np.hstack([_fitted(picture, cell) for picture in pictures]))
    return np.vstack(rows)


def _title(text: str, width: int) -> np.ndarray:
    strip = np.full((24, width), 255, np.uint8)
    cv2.putText(strip, text, (8, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return strip


def _fitted(png: bytes, cell: tuple[int, int]) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    scale = min(cell[0] / picture.shape[1], cell[1] / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    fitted = np.full((cell[1], cell[0]), 240, np.uint8)
    fitted[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return fitted


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.synthetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writers", type=int, default=6, help="how many, one a row")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--out", type=Path, default=Path("sheet.png"), help="the picture goes here")
    parser.add_argument("--measure", action="store_true", help="say how many images a second one core draws")
    chosen = parser.parse_args(arguments)
    console = Console()
    seeds = range(chosen.first, chosen.first + chosen.writers)
    if chosen.measure:
        started = perf_counter()
        drawn = [picture for seed in seeds for number in range(4) for picture in _both(seed, number)]
        console.print(f"{len(drawn) / (perf_counter() - started):.0f} images a second on one core")
        return
    cv2.imwrite(str(chosen.out), contact_sheet(seeds))
    console.print(f"{chosen.out}: {chosen.writers} writers, three genuine signatures and six forgeries of each")


def _both(seed: int, number: int) -> tuple[bytes, bytes]:
    person = writer(seed)
    return person.genuine(number), person.forged(number)


if __name__ == "__main__":
    main()
