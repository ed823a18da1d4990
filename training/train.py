"""Train one tower. Runs on a laptop and, unchanged, as a SageMaker script-mode entry point.

    python -m training.train --data DATA --fold 0 --out runs/fold-0     a fold: 36 writers fit, 8 + 11 stay unseen
    python -m training.train --data DATA --fold none --out runs/final   all 55 writers: the tower that ships

    python -m training.train --data sets/cedar --fold all --out runs    every fold and the final tower, one by one

DATA is a training set of `training.prepare`, or a folder that holds `cedar/` (or is CEDAR itself) and may hold
`cross-media-chinese/`. SageMaker sets SM_CHANNEL_TRAINING, SM_MODEL_DIR and passes hyperparameters as these same
options; there, checkpoints lie beside the model, and a run that a spot interruption stopped goes on from them.
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
from training import canvases, container, datasets, folds, synthetic, training_set
from training.batches import Batches, Share
from training.canvases import Canvases
from training.checkpoints import Checkpoints, History
from training.losses import AllPairsLoss
from training.measure import Errors, distances, run_trials
from training.network import build_tower, siamese
from training.runs import RUN, TOWER

console = Console(stderr=True)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, with every default that shaped the shipped bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_argument_group("where")
    where.add_argument("--data", type=Path, default=container.channel(), help="training set, or images")
    where.add_argument("--out", type=Path, default=container.model_dir(), help="the trained tower goes here")
    where.add_argument("--cache", type=Path, help="keep preprocessed canvases here between runs")
    where.add_argument(
        "--checkpoints",
        type=Path,
        default=container.checkpoint_dir(),
        help="resume from and save to this folder after every epoch",
    )
    where.add_argument(
        "--model_dir", help=argparse.SUPPRESS
    )  # TensorFlow's container may add it; SM_MODEL_DIR counts
    what = parser.add_argument_group("what")
    what.add_argument(
        "--fold", default="none", choices=[*"01234", "none", "all"], help="none = every writer is fitted"
    )
    what.add_argument(
        "--forgeries", default="yes", choices=["yes", "no"], help="no = the control without any of CEDAR's"
    )
    what.add_argument("--drawn-writers", type=int, default=800, help="synthetic writers that join the real ones")
    how = parser.add_argument_group("how")
    how.add_argument("--epochs", type=int, default=8)
    how.add_argument("--steps", type=int, default=100, help="batches in an epoch")
    how.add_argument("--learning-rate", type=float, default=2e-3)
    how.add_argument("--seed", type=int, default=1)
    how.add_argument(
        "--patience",
        type=int,
        default=0,
        help="stop after so many epochs without a better validation loss, and take the best epoch's tower; "
        "needs a fold, whose calibration writers validate; 0 = train every epoch",
    )
    chosen = parser.parse_args(arguments)
    if chosen.data is None or chosen.out is None:
        parser.error("--data and --out are needed (or SM_CHANNEL_TRAINING and SM_MODEL_DIR)")
    chosen.data, chosen.out = Path(chosen.data), Path(chosen.out)
    if chosen.checkpoints:
        chosen.checkpoints = Path(chosen.checkpoints)
    if chosen.patience and chosen.fold == "none":
        parser.error("--patience needs a --fold: with none, nobody is held out to validate on")
    return chosen


def collections(chosen: argparse.Namespace) -> list[Share]:
    """What is fitted, as shares of every batch: CEDAR, then what is at hand for breadth."""
    if training_set.is_training_set(chosen.data):
        return prepared_collections(training_set.load(chosen.data), chosen)
    cedar = fitted_cedar(chosen)
    shares = [Share(cedar, owners=8, genuine=3, forged=3)]
    broad = chosen.data / "cross-media-chinese"
    if broad.is_dir():
        names = canvases.load(datasets.cross_media(broad), chosen.cache)
        shares.append(Share(names, owners=16, genuine=2, forged=0, texts=2))
    return shares + drawn_share(chosen)


def drawn_share(chosen: argparse.Namespace) -> list[Share]:
    """Made-up writers, where they are wanted."""
    if not chosen.drawn_writers:
        return []
    return [Share(synthetic.canvases(range(chosen.drawn_writers), chosen.cache), owners=6, genuine=2, forged=2)]


def prepared_collections(prepared: training_set.TrainingSet, chosen: argparse.Namespace) -> list[Share]:
    """The same from a training set: whatever it holds, without the writers that its fold holds out."""
    held_out: set[str] = set()
    if chosen.fold != "none":
        fold = prepared.held_out(int(chosen.fold))
        held_out = {*fold.test, *fold.calibrate}
    shares = []
    for source in prepared.sources():
        known = prepared.of(source)
        fitted = known.where(~np.isin(known.owner, list(held_out)))
        if chosen.forgeries == "no":
            fitted = fitted.where(fitted.genuine)
        if (fitted.text != fitted.owner).any():  # several people wrote the same words
            shares.append(Share(fitted, owners=16, genuine=2, forged=2, texts=2))
        else:
            shares.append(Share(fitted, owners=8, genuine=3, forged=3))
    return shares + drawn_share(chosen)


def validation(chosen: argparse.Namespace) -> Canvases | None:
    """The signatures of the fold's calibration writers, whom no batch shows; None where everyone is fitted."""
    if chosen.fold == "none":
        return None
    if training_set.is_training_set(chosen.data):
        prepared = training_set.load(chosen.data)
        return prepared.canvases.only(prepared.held_out(int(chosen.fold)).calibrate)
    root = chosen.data / "cedar" if (chosen.data / "cedar").is_dir() else chosen.data
    return canvases.load(datasets.cedar(root), chosen.cache).only(folds.split(int(chosen.fold))[1])


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


def fit(
    network: keras.Model, shares: list[Share], chosen: argparse.Namespace, unseen: Canvases | None = None
) -> History:
    """Trains in place and answers the figures of every epoch. Resumes where `--checkpoints` holds a state; with
    `--patience` it ends early, with the weights of the epoch that did best on the `unseen` writers."""
    checkpoints = Checkpoints(chosen.checkpoints)
    history = checkpoints.resume(network)
    batches = Batches(shares, chosen.steps, chosen.seed)
    with _progress() as progress:
        task = progress.add_task("training", total=chosen.epochs * chosen.steps, loss=float("nan"))
        progress.update(task, completed=len(history) * chosen.steps)
        tick = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda _, logs: progress.update(task, advance=1, loss=logs["loss"])
        )
        for epoch in range(len(history), chosen.epochs):
            if out_of_patience(history, chosen.patience):
                break
            batches.epoch = epoch
            # Unshuffled: Keras would order the steps by a global generator, which a resumed run finds elsewhere.
            done = network.fit(
                batches, epochs=epoch + 1, initial_epoch=epoch, shuffle=False, verbose=0, callbacks=[tick]
            )
            history.append({"loss": float(done.history["loss"][0]), **validate(network, unseen)})
            container.tell(epoch + 1, history[-1])
            if chosen.patience and best_epoch(history) == len(history):
                checkpoints.keep_best(network)
            checkpoints.save(network, history)
    if chosen.patience and checkpoints.best is not None:
        network.set_weights(checkpoints.best)
    return history


def validate(network: keras.Model, unseen: Canvases | None, steps: int = 10) -> dict[str, float]:
    """The loss on fixed, unchanged batches of unseen writers, and their error rates; {} without any."""
    if unseen is None:
        return {}
    batches = Batches([Share(unseen, owners=8, genuine=3, forged=3)], steps, seed=0, augment=False)
    found = {"val_loss": float(network.evaluate(batches, verbose=0))}
    errors = Errors(run_trials(embed(network.get_layer("tower"), unseen.pixels), unseen.owner, unseen.genuine))
    if not unseen.genuine.all():
        found["val_skilled_eer"] = float(errors.eer("skilled"))
    if len(set(unseen.owner.tolist())) > 1:
        found["val_random_eer"] = float(errors.eer("random"))
    return found


def best_epoch(history: History) -> int:
    """Counted from one; the first of equals."""
    losses = [figures["val_loss"] for figures in history]
    return 1 + losses.index(min(losses))


def out_of_patience(history: History, patience: int) -> bool:
    return bool(patience and history and len(history) - best_epoch(history) >= patience)


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
    """Trains and writes `tower.keras` and `run.json`, with `--fold all` into a folder each; answers the folder."""
    with container.reported():
        container.check_image()
        chosen = options(arguments)
        for one in each_fold(chosen):
            train(one)
        container.seal(chosen.out)
    return chosen.out


def each_fold(chosen: argparse.Namespace) -> list[argparse.Namespace]:
    """What is trained: one run, or with `--fold all` the five folds and the final tower."""
    if chosen.fold != "all":
        return [chosen]
    runs = []
    for fold in [*"01234", "none"]:
        name = "final" if fold == "none" else f"fold-{fold}"
        changes = {"fold": fold, "out": chosen.out / name, "patience": 0 if fold == "none" else chosen.patience}
        if chosen.checkpoints:
            changes["checkpoints"] = chosen.checkpoints / name
        runs.append(argparse.Namespace(**{**vars(chosen), **changes}))
    return runs


def train(chosen: argparse.Namespace) -> None:
    """One tower from data to file."""
    keras.utils.set_random_seed(chosen.seed)
    container.repeatable()
    shares = collections(chosen)
    with container.every_gpu():
        network = prepare(shares)
        compiled(network, chosen, same_text=any(share.texts for share in shares))
    history = fit(network, shares, chosen, validation(chosen))
    chosen.out.mkdir(parents=True, exist_ok=True)
    network.get_layer("tower").save(chosen.out / TOWER)
    (chosen.out / RUN).write_text(json.dumps(_record(network, shares, history, chosen), indent=1) + "\n", "utf-8")
    console.print(f"tower in {chosen.out}, loss {history[0]['loss']:.3f} -> {history[-1]['loss']:.3f}")


def _record(network: keras.Model, shares: list[Share], history: History, chosen: argparse.Namespace) -> dict:
    """What was done, beside the weights: enough to do it again."""
    recipe = {
        name: value
        for name, value in vars(chosen).items()
        if name not in {"data", "out", "cache", "checkpoints", "model_dir"}
    }
    known = training_set.is_training_set(chosen.data)
    return {
        "recipe": recipe,
        "preprocessing_version": PREPROCESSING_VERSION,
        "bias": float(network.get_layer("head").bias.numpy()),
        "losses": [round(figures["loss"], 5) for figures in history],
        "history": history,
        "lineage": container.lineage(training_set.load(chosen.data).data_hash if known else None),
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
