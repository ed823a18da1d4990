"""The loop: drawn cheques in, a network that finds signatures on them out."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.cheques import scenes
from training.cheques.examples import examples
from training.cheques.network import build
from training.cheques.targets import is_near, loss

console = Console()
RUN = "run.json"
AHEAD = 4  # batches that are prepared while others are learned from
SHIFT = 3  # most cells that a picture is moved by; what leaves is lost


@dataclass(frozen=True)
class Recipe:
    seed: int = 0
    scenes: int = 9000
    first: int = 0
    epochs: int = 4
    batch: int = 16
    rate: float = 2e-3
    far: float = 0.4  # of the scenes where only the cheque is sought are learned from


def fit(recipe: Recipe, cache: Path, data: Path | None, out: Path, start: Path | None = None) -> keras.Model:
    """Trains, writes `cheque.keras` and `run.json` into `out` after each epoch, and answers the network."""
    keras.utils.set_random_seed(recipe.seed)
    pictures, targets = examples(range(recipe.first, recipe.first + recipe.scenes), cache, data)
    held = examples(range(scenes.VALIDATION, scenes.VALIDATION + 400), cache, data)
    network = keras.models.load_model(start, compile=False) if start else build()
    rng = np.random.default_rng(recipe.seed)
    kept = np.array([at for at, one in enumerate(targets) if is_near(one) or rng.random() < recipe.far])
    steps = recipe.epochs * (len(kept) // recipe.batch)
    warm = min(200, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 10, steps - warm, 0.01, warmup_target=recipe.rate, warmup_steps=warm
    )
    network.compile(optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=5.0), loss=loss)
    earlier = json.loads((start.parent / RUN).read_text("utf-8")) if start else None
    history, started = [], perf_counter()
    out.mkdir(parents=True, exist_ok=True)

    def batch(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.sort(chosen)
        return varied(pictures[chosen].astype(np.float32) / 255, targets[chosen].astype(np.float32), rng)

    with _progress() as progress, ThreadPoolExecutor(1) as ahead:
        bar = progress.add_task("training", total=steps, loss=float("nan"))
        for epoch in range(recipe.epochs):
            order = rng.permutation(kept)[: len(kept) // recipe.batch * recipe.batch]
            losses: list[float] = []
            coming = [ahead.submit(batch, chosen) for chosen in order.reshape(-1, recipe.batch)[:AHEAD]]
            for at in range(len(order) // recipe.batch):
                x, y = coming.pop(0).result()
                if at + AHEAD < len(order) // recipe.batch:
                    coming.append(ahead.submit(batch, order.reshape(-1, recipe.batch)[at + AHEAD]))
                losses.append(float(network.train_on_batch(x[..., None], y)))
                progress.update(bar, advance=1, loss=float(np.mean(losses[-100:])))
            history.append(
                {"loss": float(np.mean(losses)), "held": _held(network, *held), "s": perf_counter() - started}
            )
            console.print(
                f"epoch {epoch + 1}: loss {history[-1]['loss']:.3f}, on unseen scenes {history[-1]['held']:.3f}"
            )
            network.save(out / "cheque.keras")
            run = {"recipe": asdict(recipe), "history": history, "start": earlier}
            (out / RUN).write_text(json.dumps(run, indent=1) + "\n", "utf-8")
    return network


def _held(network: keras.Model, pictures: np.ndarray, targets: np.ndarray) -> float:
    answers = network.predict(pictures.astype(np.float32)[..., None] / 255, batch_size=16, verbose=0)
    return float(loss(targets.astype(np.float32), answers))


def varied(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and targets turned upside down, moved by whole cells, with other ink and noise."""
    for at in range(len(x)):
        if rng.random() < 0.15:
            x[at], y[at] = x[at, ::-1, ::-1], turned(y[at])
        down, right = rng.integers(-SHIFT, SHIFT + 1, 2)
        x[at], y[at] = _shifted(x[at], 8 * down, 8 * right), _shifted(y[at], down, right)
    strength = rng.uniform(0.75, 1.25, (len(x), 1, 1)).astype(np.float32)
    noise = rng.uniform(0, 0.03, (len(x), 1, 1)).astype(np.float32) * rng.standard_normal(x.shape, np.float32)
    return np.clip(x * strength + noise, 0, 1), y


def turned(target: np.ndarray) -> np.ndarray:
    """The target of the picture upside down: left is right, above is below, and writing runs the other way."""
    there = target[::-1, ::-1].copy()
    for first in (2, 6):
        there[..., first : first + 4] = there[..., [first + 2, first + 3, first, first + 1]]
    there[..., 10:12] *= -1
    return there


def _shifted(array: np.ndarray, down: int, right: int) -> np.ndarray:
    moved = np.zeros_like(array)
    h, w = array.shape[:2]
    moved[max(0, down) : h + min(0, down), max(0, right) : w + min(0, right)] = array[
        max(0, -down) : h - max(0, down), max(0, -right) : w - max(0, right)
    ]
    return moved


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
