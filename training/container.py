"""What SageMaker's container promises and expects: where things lie, what it reads in the log, how a failure is told.

Everything has a plain default, so the same script runs on a laptop.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from training.checksums import checksum

OLDEST = {"python": (3, 11), "keras": (3, 12)}  # Keras 3.12 refuses unsafe files by default and writes what we read
SUMS = "checksums.json"
REASON = 1024  # characters of the failure file that DescribeTrainingJob shows

METRICS = {
    "train:loss": r"\bloss=([0-9.eE+-]+)",
    "validation:loss": r"\bval_loss=([0-9.eE+-]+)",
    "validation:skilled_eer": r"\bval_skilled_eer=([0-9.eE+-]+)",
    "validation:random_eer": r"\bval_random_eer=([0-9.eE+-]+)",
}
"""What CloudWatch picks out of the log. `val_loss` has no word boundary inside, so `train:loss` does not match it."""


class OutdatedImage(RuntimeError):
    """The container's image is too old for this code."""


def channel() -> str | None:
    return os.environ.get("SM_CHANNEL_TRAINING")


def model_dir() -> str | None:
    return os.environ.get("SM_MODEL_DIR")


def checkpoint_dir() -> str | None:
    """SageMaker names no variable for it; it lies beside the model."""
    model = model_dir()
    return str(Path(model).parent / "checkpoints") if model else None


def tell(epoch: int, figures: dict[str, float]) -> None:
    """One line of metrics, unbuffered: `METRICS` and a person can read it."""
    print(f"epoch={epoch}", *(f"{name}={value:.5f}" for name, value in figures.items()), flush=True)


def metrics_in(line: str) -> dict[str, float]:
    """What CloudWatch would record of a line."""
    found = {name: re.search(pattern, line) for name, pattern in METRICS.items()}
    return {name: float(match[1]) for name, match in found.items() if match}


def lineage(data_hash: str | None) -> dict[str, str | None]:
    """Which data, which code, which job: what the bundle will carry."""
    return {
        "data": data_hash,
        "code": os.environ.get("COUNTERSIGN_COMMIT") or commit(),
        "job": os.environ.get("TRAINING_JOB_ARN") or os.environ.get("TRAINING_JOB_NAME"),
        "image": os.environ.get("COUNTERSIGN_IMAGE"),
    }


def commit() -> str | None:
    """The commit of the code that lies here, with `+` where it was changed since; None without git."""
    root = Path(__file__).parents[1]
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "embeddings", "training")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)  # noqa: S603, S607
    return done.stdout.strip()


def seal(folder: Path) -> None:
    """Writes the checksums that let whoever fetches the model know that it came whole."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    sums = {path.relative_to(folder).as_posix(): checksum(path) for path in files}
    (folder / SUMS).write_text(json.dumps(sums, indent=1) + "\n", "utf-8")


@contextmanager
def reported() -> Iterator[None]:
    """Leaves the reason of a failure where SageMaker looks for it, with what to change first."""
    try:
        yield
    except Exception as problem:
        model = model_dir()
        if model:
            output = Path(os.environ.get("SM_OUTPUT_DIR", Path(model).parent / "output"))
            output.mkdir(parents=True, exist_ok=True)
            text = f"{type(problem).__name__}: {problem}\n{traceback.format_exc()}"
            (output / "failure").write_text(text[:REASON], "utf-8")
        raise


def check_image(found: dict[str, tuple[int, ...]] | None = None) -> None:
    """Raises OutdatedImage before anything is computed."""
    if found is None:
        numbers = re.findall(r"\d+", importlib.metadata.version("keras"))[:2]
        found = {"python": sys.version_info[:2], "keras": tuple(map(int, numbers))}
    for name, oldest in OLDEST.items():
        if found[name] < oldest:
            have, need = (".".join(map(str, version)) for version in (found[name], oldest))
            raise OutdatedImage(
                f"this image has {name} {have}, the code needs {need} or newer: "
                "change --image of training.launch to a newer training image"
            )


def repeatable() -> None:
    """TensorFlow sums in one order from here on, threads or not: without it, one run in some differs in its last
    digits, and a resumed run with it. JAX does so by itself on a processor."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def every_gpu() -> Any:
    """A context to build and compile the network in: where there are several GPUs each takes a part of every batch,
    and pairs are formed within a part."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_logical_devices("GPU")
        return tf.distribute.MirroredStrategy().scope() if len(gpus) > 1 else nullcontext()
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices("gpu")) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    return nullcontext()
