"""Batches for the all-pairs loss: a few owners with several of their signatures and forgeries, redrawn each time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import keras
import numpy as np

from training.canvases import Canvases


@dataclass(frozen=True)
class Share:
    """Of each batch, `owners` owners of one collection with up to `genuine` and `forged` signatures each.
    `texts` > 0 draws that many texts first and takes owners who wrote them, so that impostors meet."""

    canvases: Canvases
    owners: int
    genuine: int
    forged: int
    texts: int = 0


class Batches(keras.utils.PyDataset):
    """`steps` batches an epoch: `canvas` float32 (n, 128, 256, 1) and `collection` int32 (n,), the number of the
    share that each comes from, with labels int32 (n, 3) of owner, text, genuine.

    The batch of a given epoch and step depends on `seed` alone, not on how many workers draw batches.
    """

    def __init__(self, shares: list[Share], steps: int, seed: int, *, augment: bool = True, **options) -> None:
        super().__init__(**options)
        self.shares, self.steps, self.seed, self.augment = shares, steps, seed, augment
        self.epoch = 0
        self._pools = [_Pool(share, number) for number, share in enumerate(shares)]

    def __len__(self) -> int:
        return self.steps

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        rng = np.random.default_rng([self.seed, self.epoch, step])
        pixels, labels, collection = [], [], []
        for number, pool in enumerate(self._pools):
            for owner, text, rows in pool.draw(rng):
                style = _style(rng)
                for row in rows:
                    canvas = pool.canvases.pixels[row]
                    pixels.append(jitter(canvas, style, rng) if self.augment else canvas)
                    labels.append((owner, text, pool.canvases.genuine[row]))
                    collection.append(number)
        inputs = {"canvas": np.asarray(pixels, np.float32)[..., None], "collection": np.asarray(collection, np.int32)}
        return inputs, np.asarray(labels, np.int32)


class _Pool:
    """One share with its signatures indexed by owner, and owners by text."""

    def __init__(self, share: Share, number: int) -> None:
        self.share, self.canvases, self.first = share, share.canvases, number * 100_000
        names, of = np.unique(self.canvases.owner, return_inverse=True)
        texts, text_of = np.unique(self.canvases.text, return_inverse=True)
        self.rows = [
            (
                np.flatnonzero((of == k) & self.canvases.genuine),
                np.flatnonzero((of == k) & ~self.canvases.genuine),
            )
            for k in range(len(names))
        ]
        self.text = np.array([text_of[np.flatnonzero(of == k)[0]] for k in range(len(names))])
        self.by_text = [np.flatnonzero(self.text == t) for t in range(len(texts))]

    def draw(self, rng: np.random.Generator):
        """Yields (owner label, text label, rows) for each owner drawn."""
        for owner in self._owners(rng):
            genuine, forged = self.rows[owner]
            rows = [*_some(genuine, self.share.genuine, rng), *_some(forged, self.share.forged, rng)]
            yield self.first + owner, self.first + self.text[owner], rows

    def _owners(self, rng: np.random.Generator) -> np.ndarray:
        if not self.share.texts:
            return _some(np.arange(len(self.rows)), self.share.owners, rng)
        texts = _some(np.arange(len(self.by_text)), self.share.texts, rng)
        each = self.share.owners // self.share.texts
        return np.concatenate([_some(self.by_text[text], each, rng) for text in texts])


def _some(choices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(choices, min(count, len(choices)), replace=False)


def _style(rng: np.random.Generator) -> np.ndarray:
    """A slant and an aspect for every signature and forgery of one owner: it makes new writers out of known ones,
    float64 (2, 2) on centred pixels."""
    aspect = np.exp(rng.normal(0, 0.10))
    matrix = np.array([[aspect, rng.normal(0, 0.15)], [0, 1 / aspect]])
    if rng.random() < 0.25:  # mirrored handwriting is still one person's handwriting
        matrix[0] *= -1
    return matrix


def jitter(canvas: np.ndarray, style: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One more signature by the same hand: a little turn, stretch and shift, then binary again. Small, because
    preprocessing has already taken size, place, pen width and most of the turn away."""
    angle = rng.normal(0, 0.03)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag(np.exp(rng.normal(0, 0.03, 2)))
    matrix = turn @ stretch @ style
    middle = np.array([canvas.shape[1] / 2, canvas.shape[0] / 2])
    shift = middle - matrix @ middle + rng.normal(0, 1.0, 2)
    ink = canvas.astype(np.float32)
    moved = cv2.warpAffine(ink, np.column_stack([matrix, shift]), canvas.shape[::-1], flags=cv2.INTER_LINEAR)
    return moved > rng.uniform(0.35, 0.55)
