"""Turns images into the network's input once and keeps the result: canvases, packed to bits, in a cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from embeddings.errors import UnusableImage
from embeddings.preprocess import PREPROCESSING_VERSION, preprocess
from training.conditions import changed
from training.datasets import Signature

CANVAS = (128, 256)


@dataclass(frozen=True)
class Canvases:
    """Signatures as arrays that share their first axis: `pixels` uint8 (n, 128, 256) with 1 = ink, `owner` and
    `text` str (n,), `genuine` bool (n,). `unusable` counts the images that preprocessing refused."""

    pixels: np.ndarray
    owner: np.ndarray
    text: np.ndarray
    genuine: np.ndarray
    unusable: int = 0
    at: np.ndarray | None = None  # where in the list of signatures that was loaded, int (n,)

    def __len__(self) -> int:
        return len(self.owner)

    def only(self, owners: Sequence[str]) -> Canvases:
        """The signatures of these owners."""
        return self.where(np.isin(self.owner, list(owners)))

    def where(self, rows: np.ndarray) -> Canvases:
        """The signatures where the mask bool (n,) is true."""
        return Canvases(self.pixels[rows], self.owner[rows], self.text[rows], self.genuine[rows])

    def plus(self, other: Canvases) -> Canvases:
        """Both sets, one after the other."""
        return Canvases(
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.owner, other.owner]),
            np.concatenate([self.text, other.text]),
            np.concatenate([self.genuine, other.genuine]),
            self.unusable + other.unusable,
        )


def load(
    signatures: Sequence[Signature], cache: Path | None = None, condition: str | None = None, *, quiet: bool = False
) -> Canvases:
    """Canvases of the signatures, captured as they were or under a condition of `training.conditions`; from `cache`
    when the same files went through the same preprocessing before.

    Images that preprocessing refuses are left out and counted: failure to enrol is part of every error table.
    """
    kept = cache / f"{_key(signatures, condition)}.npz" if cache else None
    if kept and kept.exists():
        with np.load(kept) as stored:
            packed, usable = stored["packed"], stored["usable"]
    else:
        packed, usable = _read(signatures, condition, quiet=quiet)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, packed=packed, usable=usable)
    chosen = [signature for signature, good in zip(signatures, usable, strict=True) if good]
    return Canvases(
        np.unpackbits(packed[usable], axis=-1),
        np.array([s.owner for s in chosen]),
        np.array([s.text for s in chosen]),
        np.array([s.genuine for s in chosen], bool),
        int((~usable).sum()),
        np.flatnonzero(usable),
    )


def _read(signatures: Sequence[Signature], condition: str | None, *, quiet: bool) -> tuple[np.ndarray, np.ndarray]:
    packed = np.zeros((len(signatures), CANVAS[0], CANVAS[1] // 8), np.uint8)
    usable = np.zeros(len(signatures), bool)
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(partial(_canvas, condition), (s.path for s in signatures))
        description = f"preprocessing, {condition}" if condition else "preprocessing"
        for row, canvas in enumerate(track(done, description=description, total=len(signatures), disable=quiet)):
            if canvas is not None:
                packed[row] = np.packbits(canvas > 0.5, axis=-1)
                usable[row] = True
    return packed, usable


def _canvas(condition: str | None, path: Path) -> np.ndarray | None:
    image = path.read_bytes()
    try:
        return preprocess(changed(image, condition) if condition else image)
    except UnusableImage:
        return None


def _key(signatures: Sequence[Signature], condition: str | None) -> str:
    """Names, sizes and the preprocessing's version: another pixel anywhere means another cache file."""
    facts = [
        PREPROCESSING_VERSION,
        *([condition] if condition else []),
        *(f"{s.owner} {s.genuine} {s.path.name} {s.path.stat().st_size}" for s in signatures),
    ]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return f"{PREPROCESSING_VERSION}-{digest[:16]}"
