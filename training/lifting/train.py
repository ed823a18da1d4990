"""Train the network that lifts signatures off cheques, and write it to `embeddings/lift.tflite`.

    python -m training.lifting.train --data DATA --out runs/lift

It learns from print that is drawn here and from the ink of CEDAR's writers outside of fold 0's test, of cross-media
and of made-up writers; no real cheque and no other collection has a part in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track

from embeddings.lift import MODEL, TILE
from training import datasets, folds
from training.lifting.network import build
from training.lifting.signed import Pen, pen_of, sample
from training.synthetic import writer

CHUNK = 100
PIECE = (128, 192)  # of a tile, that one step learns from
RATE = 3e-3
DRAWN = 500  # made-up writers
console = Console()


def pens(data: Path, seed: int = 0) -> list[Pen]:
    """Ink to write with: about half of it CEDAR's, a quarter cross-media's, a quarter drawn."""
    rng = np.random.default_rng(seed)
    unseen = set(folds.split(0)[2])
    real = [s for s in datasets.cedar(data / "cedar") if s.owner not in unseen]
    broad = datasets.cross_media(data / "cross-media-chinese")
    chosen = [real[i].path for i in rng.choice(len(real), 1000, replace=False)]
    chosen += [broad[i].path for i in rng.choice(len(broad), 500, replace=False)]
    pictures = [path.read_bytes() for path in chosen] + [writer(200_000 + n).genuine(0) for n in range(DRAWN)]
    found = [pen_of(cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_GRAYSCALE)) for p in track(pictures, "pens")]
    return [pen for pen in found if pen is not None]


_PENS: list[Pen] = []


def _start(data: Path) -> None:
    cv2.setNumThreads(1)
    _PENS.extend(pens(data))


def _chunk(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles uint8, 255 black, and what each pixel is: 0 print or paper, 1 pen, 2 nothing to learn from; in tenths
    how much it counts."""
    rng = np.random.default_rng([7, seed])
    drawn = [sample(_PENS, rng) for _ in range(CHUNK)]
    tiles = np.stack([np.round(255 * tile).astype(np.uint8) for tile, _, _ in drawn])
    labels = np.stack(
        [np.round(10 * counts).astype(np.uint8) + 100 * pen.astype(np.uint8) for _, pen, counts in drawn]
    )
    return tiles, labels


def tiles(data: Path, out: Path, count: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` drawn tiles and labels, kept in `out`."""
    kept = out / f"tiles-{count}.npz"
    if not kept.exists():
        with ProcessPoolExecutor(workers, initializer=_start, initargs=(data,)) as pool:
            parts = list(track(pool.map(_chunk, range(count // CHUNK)), "drawing", count // CHUNK))
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, tiles=np.concatenate([t for t, _ in parts]), labels=np.concatenate([la for _, la in parts]))
    with np.load(kept) as stored:
        return stored["tiles"], stored["labels"]


def batch(tiles: np.ndarray, labels: np.ndarray, rng: np.random.Generator, size: int) -> tuple[np.ndarray, ...]:
    """Pieces `PIECE` of tiles float32 (n, h, w, 1), darker or paler, and pen bool and weights float32, each
    (n, h / 2, w / 2, 4): half the price of whole tiles, and most of what is left out is paper."""
    high, wide = PIECE
    seen, label = np.zeros((size, *PIECE), np.float32), np.zeros((size, *PIECE), np.uint8)
    for number, row in enumerate(rng.integers(0, len(tiles), size)):
        y = int(rng.integers(0, TILE[0] - high + 1))
        x = round((TILE[1] - wide) * (0.5 + 0.5 * np.clip(rng.normal(0, 0.6), -1, 1)))
        seen[number] = tiles[row, y : y + high, x : x + wide]
        label[number] = labels[row, y : y + high, x : x + wide]
    seen = np.clip(seen / 255 * np.exp(rng.normal(0, 0.15, (size, 1, 1))), 0, 1).astype(np.float32)
    label = fours(label)
    return seen[..., None], label >= 100, (label % 100).astype(np.float32) / 10


def fours(pixels: np.ndarray) -> np.ndarray:
    """Pixels (n, h, w) as the network answers them, (n, h / 2, w / 2, 4)."""
    n, high, wide = pixels.shape
    return pixels.reshape(n, high // 2, 2, wide // 2, 2).transpose(0, 1, 3, 2, 4).reshape(n, high // 2, wide // 2, 4)


def fit(
    tiles: np.ndarray, labels: np.ndarray, steps: int, out: Path, start: Path | None, size: int = 16, seed: int = 0
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng([seed, steps])
    model = build(PIECE)
    if start:
        model.load_weights(start)
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps - 100, alpha=0.01, warmup_target=RATE, warmup_steps=100)
    optimizer = keras.optimizers.Adam(rate)

    @tf.function(jit_compile=False)
    def step(seen, pen, counts):
        with tf.GradientTape() as tape:
            logit = model(seen, training=True)
            each = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(pen, tf.float32), logit)
            loss = tf.reduce_sum(each * counts) / tf.reduce_sum(counts)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    losses = []
    for number in range(steps):
        losses.append(float(step(*batch(tiles, labels, rng, size))))
        if number % 50 == 49:
            console.print(f"{number + 1}: {np.mean(losses[-50:]):.4f}")
        if number % 250 == 249:
            write(model, out / f"lift-{number + 1}.tflite")
            model.save_weights(out / "lift.weights.h5")
    return model


def write(model: keras.Model, path: Path) -> None:
    """The network for whole tiles, as LiteRT reads it, weights in half precision."""
    whole = build()
    whole.set_weights(model.get_weights())
    inputs = keras.Input((*TILE, 1), batch_size=1)
    fixed = keras.Model(inputs, whole(inputs))
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.lifting.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/lift"))
    parser.add_argument("--tiles", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--start", type=Path, help="weights of an earlier run to go on from")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", type=Path, default=MODEL, help="where the finished network goes")
    chosen = parser.parse_args(arguments)
    drawn = tiles(chosen.data, chosen.out, chosen.tiles, chosen.workers)
    write(fit(*drawn, chosen.steps, chosen.out, chosen.start), chosen.model)


if __name__ == "__main__":
    main()
