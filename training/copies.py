"""How well copies are told from other signatures of the same person: `python -m training.copies --data DATA`.

Nothing is learned here. It measures `embeddings.overlap` as the service uses it: the question's ink is laid over that
of the most similar of the person's other signatures, and it is a copy from `SAME` on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from embeddings.decode import decode
from embeddings.errors import UnusableImage
from embeddings.overlap import ROUGHLY, SAME, overlap, pack, roughly_alike, unpack
from embeddings.preprocess import preprocess
from training import datasets
from training.datasets import Signature

Grey = np.ndarray
Found = tuple[Signature, Signature, float]
PIXEL = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def _sized(grey: Grey, factor: float) -> Grey:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(grey, None, fx=factor, fy=factor, interpolation=how)


def _turned(grey: Grey, degrees: float) -> Grey:
    around = int(0.08 * max(grey.shape)) + 4
    paper = float(np.median(grey))
    wide = cv2.copyMakeBorder(grey, around, around, around, around, cv2.BORDER_CONSTANT, value=paper)
    turn = cv2.getRotationMatrix2D((wide.shape[1] / 2, wide.shape[0] / 2), degrees, 1.0)
    return cv2.warpAffine(wide, turn, wide.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=paper)


def _jpeg(grey: Grey, quality: int) -> Grey:
    return cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def _noisy(grey: Grey, deviation: float, draw: np.random.Generator) -> Grey:
    return np.clip(grey + draw.normal(0, deviation, grey.shape), 0, 255).astype(np.uint8)


def _on_other_paper(grey: Grey, draw: np.random.Generator) -> Grey:
    """Shaded unevenly, with a fine pattern."""
    height, width = grey.shape
    shade = cv2.resize(draw.uniform(0.75, 1, (4, 6)), (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width]
    pattern = 6 * np.sin(columns / draw.uniform(4, 15) + rows / draw.uniform(5, 20))
    paper = shade * draw.uniform(190, 250) + pattern
    return np.clip(grey / np.median(grey) * paper, 0, 255).astype(np.uint8)


def _everything(grey: Grey, draw: np.random.Generator) -> Grey:
    pen = (grey, cv2.erode(grey, PIXEL), cv2.dilate(grey, PIXEL))[draw.integers(3)]
    shown = _sized(_turned(pen, draw.uniform(-3, 3)), 2 ** draw.uniform(-1, 1))
    return _jpeg(_noisy(_on_other_paper(shown, draw), draw.uniform(0, 6), draw), int(draw.integers(30, 81)))


WAYS: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "half the size": lambda grey, _: _sized(grey, 0.5),
    "double the size": lambda grey, _: _sized(grey, 2),
    "turned by 1 degree": lambda grey, draw: _turned(grey, draw.choice([-1, 1])),
    "turned by 3 degrees": lambda grey, draw: _turned(grey, 3 * draw.choice([-1, 1])),
    "JPEG quality 30": lambda grey, _: _jpeg(grey, 30),
    "JPEG quality 80": lambda grey, _: _jpeg(grey, 80),
    "pen a pixel thicker on each side": lambda grey, _: cv2.erode(grey, PIXEL),
    "pen a pixel thinner on each side": lambda grey, _: cv2.dilate(grey, PIXEL),
    "noise": lambda grey, draw: _noisy(grey, 8, draw),
    "on other paper": _on_other_paper,
    "all of that at once": _everything,
}


def copy(image: bytes, way: str, draw: np.random.Generator) -> bytes:
    """An image copied in one of `WAYS`, as PNG."""
    return cv2.imencode(".png", WAYS[way](decode(image), draw))[1].tobytes()


def nearest_of_same_hand(packed: dict[Signature, bytes]) -> Iterator[Found]:
    """Each signature, that of the same owner which looks most like it, and their overlap; 0 where a first look says
    no, as in the service."""
    for _, some in groupby(sorted(packed), key=lambda one: one.owner):
        own = list(some)
        inks = np.stack([np.frombuffer(packed[one], np.uint8) for one in own])
        for at, one in enumerate(own):
            ink = unpack(packed[one])
            alike = np.where(np.arange(len(own)) == at, -1, roughly_alike(ink, inks))
            nearest = own[int(alike.argmax())]
            if nearest != one:
                yield one, nearest, overlap(ink, unpack(packed[nearest])) if alike.max() >= ROUGHLY else 0.0


def is_found(original: bytes, image: bytes) -> bool | None:
    """Whether a copy is known again by its packed original; None where no signature can be read in it any more."""
    try:
        ink = unpack(pack(preprocess(image)))
    except UnusableImage:
        return None
    first_look = roughly_alike(ink, np.frombuffer(original, np.uint8)[np.newaxis])[0]
    return bool(first_look >= ROUGHLY and overlap(ink, unpack(original)) >= SAME)


def _read(signatures: list[Signature], name: str) -> dict[Signature, bytes]:
    packed = {}
    for one in track(signatures, description=f"reading {name}"):
        try:
            packed[one] = pack(preprocess(one.path.read_bytes()))
        except UnusableImage:
            continue
    return packed


def _sets(data: Path) -> dict[str, list[Signature]]:
    every = {
        "CEDAR": datasets.cedar(data / "cedar"),
        "SigComp 2011 Dutch": datasets.by_folder(data / "sigcomp2011-dutch", "dutch"),
        "SVC 2004": datasets.by_folder(data / "svc2004", "svc"),
        "cross-media": datasets.cross_media(data / "cross-media-chinese"),
    }
    return {name: [one for one in found if one.genuine] for name, found in every.items()}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.copies", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets")
    parser.add_argument("--copied", type=int, default=90, help="signatures of each set that are copied in every way")
    given = parser.parse_args(arguments)
    console, draw = Console(width=None), np.random.default_rng(1)
    found = Table("copied", title=f"copies found, overlap {SAME} and more, %")
    rows: dict[str, list[str]] = {way: [] for way in WAYS}
    for name, signatures in _sets(given.data).items():
        packed = _read(signatures, name)
        nearest = list(nearest_of_same_hand(packed))
        flagged = [(one, other, share) for one, other, share in nearest if share >= SAME]
        highest = max((share for _, _, share in nearest if share < SAME), default=0.0)
        looked_at = sum(share > 0 for _, _, share in nearest) / len(nearest)
        console.print(
            f"{name}: {len(nearest)} genuine signatures, laid over one of the same hand {looked_at:.1%}, highest "
            f"overlap below {SAME}: {highest:.3f}; taken for copies {len(flagged)}:"
        )
        for one, other, share in flagged:
            console.print(f"  {one.owner} {one.path.name} = {other.path.name}  {share:.3f}")
        found.add_column(name, justify="right")
        chosen = sorted(draw.choice(len(packed), min(given.copied, len(packed)), replace=False))
        originals = [list(packed.items())[at] for at in chosen]
        for way, cells in rows.items():
            known = [is_found(kept, copy(one.path.read_bytes(), way, draw)) for one, kept in originals]
            cells.append(f"{100 * np.mean([bool(one) for one in known if one is not None]):.1f}")
    for way, cells in rows.items():
        found.add_row(way, *cells)
    console.print(found)


if __name__ == "__main__":
    main()
