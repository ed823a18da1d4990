"""Train here as SageMaker's container would, without Docker: its own toolkit, its folders, its hyperparameters.

    make train-local SET=sets/cedar
    python -m training.local --data sets/cedar --out runs/local --hyperparameter epochs=2

Needs the environment that `make train-local` builds. Below OUT/ml lies what is /opt/ml in the container; kill it and
run it again, and it goes on from OUT/ml/checkpoints, as after a spot interruption. The model is then in OUT/ml/model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training import container
from training.job import CHANNEL, encoded, given_hyperparameters, script_mode
from training.package import pack
from training.training_set import SET, BrokenTrainingSet, is_training_set

console = Console(stderr=True)


def build_tree(root: Path, data: Path, hyperparameters: dict[str, str]) -> None:
    """What SageMaker lays out before it starts the container. Checkpoints of an earlier run stay."""
    channel = root / "input" / "data" / CHANNEL
    for folder in (root / "code", root / "model", root / "output", channel):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (root / "input" / "config", root / "model", root / "output" / "data", root / "checkpoints"):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(data, channel)
    config = {
        "hyperparameters": encoded(hyperparameters),
        "resourceconfig": {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"},
        "inputdataconfig": {CHANNEL: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}},
    }
    for name, content in config.items():
        (root / "input" / "config" / f"{name}.json").write_text(json.dumps(content), "utf-8")


def environment(root: Path) -> dict[str, str]:
    """The variables that SageMaker sets, and the one that moves /opt/ml."""
    return os.environ | {
        "SAGEMAKER_BASE_DIR": str(root),
        "TRAINING_JOB_NAME": "local",
        "AWS_REGION": os.environ.get("AWS_REGION", "eu-central-1"),  # the toolkit makes a client that is never used
        "COUNTERSIGN_COMMIT": container.commit() or "",
        "PYTHONPATH": "",  # the code must come out of the package, not from here
    }


def command() -> list[str]:
    return [sys.executable, "-m", "sagemaker_training.cli.train"]


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a training set of training.prepare")
    parser.add_argument("--out", type=Path, default=Path("runs/local"))
    parser.add_argument(
        "--hyperparameter", action="append", default=[], metavar="NAME=VALUE", help="an option of training.train"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the toolkit; exits with its status."""
    chosen = options(arguments)
    if not is_training_set(chosen.data):
        sys.exit(f"error: {BrokenTrainingSet(f'{chosen.data} holds no {SET}; make one with training.prepare')}")
    root = (chosen.out / "ml").resolve()
    code = pack(chosen.out.resolve())
    build_tree(root, chosen.data, script_mode(str(code)) | given_hyperparameters(chosen.hyperparameter))
    status = subprocess.run(command(), env=environment(root), cwd=root, check=False).returncode  # noqa: S603
    if status:
        failure = root / "output" / "failure"
        sys.exit(f"error: {failure.read_text('utf-8') if failure.exists() else f'the toolkit ended with {status}'}")
    console.print(f"model in {root / 'model'}: " + ", ".join(sorted(p.name for p in (root / "model").iterdir())))


if __name__ == "__main__":
    main()
