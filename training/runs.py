"""What `training.train` left in a folder, looked at before anything is measured or made of it."""

from __future__ import annotations

import json
from pathlib import Path

from embeddings.preprocess import PREPROCESSING_VERSION

TOWER, RUN = "tower.keras", "run.json"


class BrokenRun(ValueError):
    """The run is not what it is taken for; the message says which and what to do."""


def described(run: Path) -> dict:
    """What `run.json` says. Raises BrokenRun where it is missing, or of another preprocessing than this code's."""
    try:
        found: dict = json.loads((run / RUN).read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise BrokenRun(f"{run} holds no readable {RUN}: train it again") from problem
    if found["preprocessing_version"] != PREPROCESSING_VERSION:
        raise BrokenRun(
            f"{run} was trained on preprocessing {found['preprocessing_version']}, this code has "
            f"{PREPROCESSING_VERSION}: train it again"
        )
    return found


def of_fold(run: Path, fold: int, data_hash: str | None) -> bool:
    """Whether there is a tower of this fold. Raises BrokenRun where it was trained on another fold or, as far as
    the run says it, on another training set: it may have been fitted on those whom it would be tested on."""
    if not (run / TOWER).is_file():
        return False
    found = described(run)
    trained_on = found.get("lineage", {}).get("data")
    if str(found["recipe"]["fold"]) != str(fold):
        raise BrokenRun(f"{run} was trained with --fold {found['recipe']['fold']}, not {fold}")
    if data_hash and trained_on != data_hash:
        raise BrokenRun(f"{run} was trained on data {trained_on}, not on {data_hash}: give its own set as --data")
    return True
