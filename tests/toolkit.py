"""Training run by SageMaker's own toolkit, as in the container. `make test-sagemaker` runs this: the toolkit has an
environment of its own, so the other targets do not collect it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_training_container import ROOT, same, weights
from training import local, train

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning")


def test_the_toolkit_runs_it_as_the_container_does_and_a_kill_costs_nothing(drawn_set: Path, tmp_path: Path) -> None:
    given = {"epochs": 3, "steps": 2, "drawn-writers": 0, "fold": "0"}
    arguments = [f"--hyperparameter={name}={value}" for name, value in given.items()]

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "training.local", "--data", str(drawn_set), "--out", str(out), *arguments]
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True)

    assert start(tmp_path / "whole").wait() == 0
    killed = start(tmp_path / "killed")
    while not list((tmp_path / "killed" / "ml" / "checkpoints").glob("epoch-*")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert start(tmp_path / "killed").wait() == 0

    models = [tmp_path / name / "ml" / "model" for name in ("whole", "killed")]
    assert same(*map(weights, models))
    assert (tmp_path / "whole" / "ml" / "output" / "success").exists()
    lineage = json.loads((models[0] / "run.json").read_text())["lineage"]
    assert lineage["data"] == train.training_set.load(drawn_set).data_hash
    assert lineage["job"] == "local"


def test_what_fails_in_the_toolkit_is_told_in_the_failure_file(drawn_set: Path, tmp_path: Path) -> None:
    shard = next(drawn_set.glob("shard-*"))
    whole = shard.read_bytes()
    try:
        shard.write_bytes(whole[:-1])
        with pytest.raises(SystemExit, match=r"BrokenTrainingSet: .* another checksum"):
            local.main(["--data", str(drawn_set), "--out", str(tmp_path)])
    finally:
        shard.write_bytes(whole)
