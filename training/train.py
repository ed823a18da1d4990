"""Train one tower. Runs on a laptop and, unchanged, as a SageMaker script-mode entry point.

    python -m training.train --data DATA --fold 0 --out runs/fold-0     a fold: 36 writers fit, 8 + 11 stay unseen
    python -m training.train --data DATA --fold none --out runs/final   all 55 writers: the tower that ships

DATA holds `cedar/` (or is CEDAR itself) and may hold `cross-media-chinese/`. SageMaker sets SM_CHANNEL_TRAINING,
SM_MODEL_DIR and passes hyperparameters as these same options.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before Keras: the backend's start-up notes drown the progress

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from embeddings.preprocess import PREPROCESSING_VERSION
from training import canvases, datasets, folds, synthetic
from training.batches import Batches, Share
from training.canvases import Canvases
from training.losses import AllPairsLoss
from training.measure import distances
from training.network import build_tower, siamese

TOWER, RUN = "tower.keras", "run.json"
console = Console(stderr=True)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, with every default that shaped the shipped bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_argument_group("where")
    where.add_argument("--data", type=Path, default=os.environ.get("SM_CHANNEL_TRAINING"), help="images")
    where.add_argument("--out", type=Path, default=os.environ.get("SM_MODEL_DIR"), help="the trained tower goes here")
    where.add_argument("--cache", type=Path, help="keep preprocessed canvases here between runs")
    where.add_argument("--checkpoints", type=Path, help="resume from and save to this folder after every epoch")
    what = parser.add_argument_group("what")
    what.add_argument("--fold", default="none", choices=[*"01234", "none"], help="none = every writer is fitted")
    what.add_argument(
        "--forgeries", default="yes", choices=["yes", "no"], help="no = the control without any of CEDAR's"
    )
    what.add_argument("--drawn-writers", type=int, default=800, help="synthetic writers that join the real ones")
    how = parser.add_argument_group("how")
    how.add_argument("--epochs", type=int, default=8)
    how.add_argument("--steps", type=int, default=100, help="batches in an epoch")
    how.add_argument("--learning-rate", type=float, default=2e-3)
    how.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    if chosen.data is None or chosen.out is None:
        parser.error("--data and --out are needed (or SM_CHANNEL_TRAINING and SM_MODEL_DIR)")
    chosen.data, chosen.out = Path(chosen.data), Path(chosen.out)
    return chosen


def collections(chosen: argparse.Namespace) -> list[Share]:
    """What is fitted, as shares of every batch: CEDAR, then what is at hand for breadth."""
    cedar = fitted_cedar(chosen)
    shares = [Share(cedar, owners=8, genuine=3, forged=3)]
    broad = chosen.data / "cross-media-chinese"
    if broad.is_dir():
        names = canvases.load(datasets.cross_media(broad), chosen.cache)
        shares.append(Share(names, owners=16, genuine=2, forged=0, texts=2))
    if chosen.drawn_writers:
        drawn = synthetic.canvases(range(chosen.drawn_writers), chosen.cache)
        shares.append(Share(drawn, owners=6, genuine=2, forged=2))
    return shares


def fitted_cedar(chosen: argparse.Namespace) -> Canvases:
    """CEDAR's signatures that may be learned from."""
    root = chosen.data / "cedar" if (chosen.data / "cedar").is_dir() else chosen.data
    cedar = canvases.load(datasets.cedar(root), chosen.cache)
    if chosen.fold != "none":
        fit, _, _ = folds.split(int(chosen.fold))
        cedar = cedar.only(fit)
    return cedar if chosen.forgeries == "yes" else cedar.where(cedar.genuine)


def prepare(shares: list[Share]) -> keras.Model:
    """The untrained network: a direction grid with a head that already half decides."""
    network = siamese(build_tower())
    start_head(network, shares[0].canvases)
    return network


def start_head(network: keras.Model, known: Canvases, logit: float = 5.0) -> None:
    """One scale and one bias so that strangers and genuine pairs start `logit` apart, with zero between them."""
    tower, few = network.get_layer("tower"), np.flatnonzero(known.genuine)[:: max(1, int(known.genuine.sum()) // 400)]
    apart = distances(*2 * [embed(tower, known.pixels[few])])
    mates = known.owner[few][:, None] == known.owner[few][None]
    near, far = np.median(apart[mates & ~np.eye(len(few), dtype=bool)]), np.median(apart[~mates])
    factor = logit / max(far - near, 1e-3)
    scale = tower.get_layer("scale")
    scale.set_weights_to(factor * scale.weights_now())
    network.get_layer("head").bias.assign(factor * (near + far) / 2)


def embed(tower: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Canvases uint8 (n, 128, 256) to vectors float32 (n, d)."""
    if not len(pixels):
        return np.zeros((0, tower.output_shape[-1]), np.float32)
    return np.concatenate(
        [
            tower.predict(_as_input(pixels[at : at + 512]), batch_size=128, verbose=0)
            for at in range(0, len(pixels), 512)
        ]
    )


def fit(network: keras.Model, shares: list[Share], chosen: argparse.Namespace) -> list[float]:
    """Trains in place and answers the loss of every epoch. Resumes where `--checkpoints` holds a state."""
    network, losses = _resume(network, chosen)
    batches = Batches(shares, chosen.steps, chosen.seed)
    with _progress() as progress:
        task = progress.add_task("training", total=chosen.epochs * chosen.steps, loss=float("nan"))
        progress.update(task, completed=len(losses) * chosen.steps)
        tick = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda _, logs: progress.update(task, advance=1, loss=logs["loss"])
        )
        for epoch in range(len(losses), chosen.epochs):
            batches.epoch = epoch
            done = network.fit(batches, epochs=epoch + 1, initial_epoch=epoch, verbose=0, callbacks=[tick])
            losses.append(float(done.history["loss"][0]))
            progress.console.print(f"epoch {epoch + 1}/{chosen.epochs} loss {losses[-1]:.4f}")
            _checkpoint(network, losses, chosen)
    return losses


def compiled(network: keras.Model, chosen: argparse.Namespace, *, same_text: bool) -> keras.Model:
    """The network with its loss and a learning rate that warms up and falls along a cosine."""
    total = chosen.epochs * chosen.steps
    warm = min(100, total // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        chosen.learning_rate / 10, total - warm, alpha=0.02, warmup_target=chosen.learning_rate, warmup_steps=warm
    )
    shares = {"same_text": 0.2, "other": 0.3} if same_text else {"same_text": 0.0, "other": 0.5}
    network.compile(optimizer=keras.optimizers.Adam(rate), loss=AllPairsLoss(skilled=0.5, **shares))
    return network


def main(arguments: list[str] | None = None) -> Path:
    """Trains and writes `tower.keras` and `run.json`; answers the folder."""
    chosen = options(arguments)
    keras.utils.set_random_seed(chosen.seed)
    shares = collections(chosen)
    network = prepare(shares)
    compiled(network, chosen, same_text=any(share.texts for share in shares))
    losses = fit(network, shares, chosen)
    chosen.out.mkdir(parents=True, exist_ok=True)
    network.get_layer("tower").save(chosen.out / TOWER)
    (chosen.out / RUN).write_text(json.dumps(_record(network, shares, losses, chosen), indent=1) + "\n", "utf-8")
    console.print(f"tower in {chosen.out}, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    return chosen.out


def _record(network: keras.Model, shares: list[Share], losses: list[float], chosen: argparse.Namespace) -> dict:
    """What was done, beside the weights: enough to do it again."""
    recipe = {
        name: value for name, value in vars(chosen).items() if name not in {"data", "out", "cache", "checkpoints"}
    }
    return {
        "recipe": recipe,
        "preprocessing_version": PREPROCESSING_VERSION,
        "bias": float(network.get_layer("head").bias.numpy()),
        "losses": [round(loss, 5) for loss in losses],
        "collections": [
            {
                "source": str(share.canvases.owner[0]).split("/")[0],
                "owners": len(set(share.canvases.owner)),
                "signatures": len(share.canvases),
                "forged": int((~share.canvases.genuine).sum()),
            }
            for share in shares
        ],
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def _as_input(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None].astype(np.float32)


def _checkpoint(network: keras.Model, losses: list[float], chosen: argparse.Namespace) -> None:
    if chosen.checkpoints is None:
        return
    chosen.checkpoints.mkdir(parents=True, exist_ok=True)
    fresh = chosen.checkpoints / "fresh.keras"
    network.save(fresh)
    fresh.replace(chosen.checkpoints / "siamese.keras")  # a killed run never leaves half a file
    (chosen.checkpoints / "losses.json").write_text(json.dumps(losses), "utf-8")


def _resume(network: keras.Model, chosen: argparse.Namespace) -> tuple[keras.Model, list[float]]:
    state = chosen.checkpoints / "siamese.keras" if chosen.checkpoints else None
    if state is None or not state.exists():
        return network, []
    kept = keras.models.load_model(state)
    network.set_weights(kept.get_weights())
    network.optimizer.build(network.trainable_variables)
    for mine, theirs in zip(network.optimizer.variables, kept.optimizer.variables, strict=True):
        mine.assign(theirs)
    return network, json.loads((chosen.checkpoints / "losses.json").read_text("utf-8"))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


if __name__ == "__main__":
    main()
