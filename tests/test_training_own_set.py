"""A collection of one's own, from scans to a bundle that scores: no CEDAR anywhere."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training/requirements.txt is not installed")

from embeddings import Encoder
from tests.support import images
from tests.support.collection import write
from training import measure, prepare, runs, tested, training_set
from training.runs import BrokenRun
from training.training_set import BrokenTrainingSet


def collect(folder: Path, writers: int, genuine: int = 4, forged: int = 2) -> Path:
    """Scans of invented writers with a manifest."""
    rows = ["path,writer,kind"]
    for writer in range(writers):
        for kind, count in (("genuine", genuine), ("forged", forged)):
            for number in range(count):
                path = f"{writer}/{kind}-{number}.png"
                hand = writer if kind == "genuine" else ("forger", writer)
                write(folder, {path: images.signature(hand, number)})
                rows.append(f"{path},w{writer},{kind}")
    (folder / "manifest.csv").write_text("\n".join(rows), "utf-8")
    return folder


def prepared(folder: Path) -> Path:
    prepare.main([str(folder), "--out", str(folder / "set"), "--name", "bank"])
    return folder / "set"


def test_the_writers_of_a_prepared_set_are_tested_by_its_own_folds(tmp_path: Path) -> None:
    folder = prepared(collect(tmp_path, 10))

    about = tested.read(folder)

    assert (about.name, len(about.canvases), about.left_out) == ("bank", 60, 0)
    assert about.folds == training_set.load(folder).folds
    assert about.described()["folds"] == 5 * [{"test": 2, "calibrate": 2, "fit": 6}]
    assert about.counts((1, 2, 3, 5)) == [1, 2, 3]


def test_whoever_has_no_forgery_is_fitted_by_all_and_tested_by_none(tmp_path: Path) -> None:
    manifest = collect(tmp_path, 11) / "manifest.csv"
    rows = manifest.read_text("utf-8").splitlines()
    manifest.write_text("\n".join(row for row in rows if not row.endswith("w3,forged")), "utf-8")

    about = tested.read(prepared(tmp_path))

    assert set(about.beside.owner) == {"bank/w3"}
    assert "bank/w3" not in about.canvases.owner
    assert about.described()["folds"] == 5 * [{"test": 2, "calibrate": 2, "fit": 6}]


def test_whoever_has_no_usable_forgery_is_in_no_figure_and_counted(tmp_path: Path) -> None:
    folder = collect(tmp_path, 15)
    for number in (0, 1):
        (folder / f"3/forged-{number}.png").write_bytes(images.blank_page())

    about = tested.read(prepared(folder))

    assert (about.left_out, about.canvases.unusable) == (1, 2)
    assert "bank/w3" not in about.canvases.owner


def test_a_set_without_forgeries_can_set_no_thresholds(tmp_path: Path) -> None:
    with pytest.raises(BrokenTrainingSet, match=r"holds no forgeries.*manifest\.csv"):
        tested.read(prepared(collect(tmp_path, 10, forged=0)))


def test_too_few_writers_are_refused_with_how_many_are_needed(tmp_path: Path) -> None:
    with pytest.raises(BrokenTrainingSet, match="10 at least"):
        tested.read(prepared(collect(tmp_path, 6)))


def test_other_folds_of_the_same_signatures_are_another_set(tmp_path: Path) -> None:
    scans = str(collect(tmp_path / "scans", 10))

    one, two = (
        prepare.main([scans, "--out", str(tmp_path / seed), "--seed", seed])["data_hash"] for seed in ("1", "2")
    )

    assert one != two


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipe": {"fold": "1"}}, "--fold 1, not 0"),
        ({"lineage": {"data": "another"}}, "trained on data another, not on mine"),
        ({"preprocessing_version": "0"}, "preprocessing 0"),
    ],
)
def test_a_run_that_may_have_been_fitted_on_whom_it_is_tested_on_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    described = {"recipe": {"fold": "0"}, "lineage": {"data": "mine"}, "preprocessing_version": "2"}
    write(tmp_path, {runs.TOWER: b"a tower", runs.RUN: json.dumps(described).encode()})
    assert runs.of_fold(tmp_path, 0, "mine")
    (tmp_path / runs.RUN).write_text(json.dumps(described | changes), "utf-8")

    with pytest.raises(BrokenRun, match=complaint):
        runs.of_fold(tmp_path, 0, "mine")


def test_trials_that_lie_apart_by_chance_give_no_endless_slope() -> None:
    score = np.array([-1.0, -1.1, -9.0])
    slope, offset = measure.platt(measure.Trials(score, np.array([0, 0, 1]), np.zeros(3, int)))

    assert 0 < slope < 1
    assert 0.5 < 1 / (1 + np.exp(-(slope * -1.0 + offset))) < 0.9


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning")
def test_a_set_of_ones_own_becomes_a_bundle_that_scores(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="training/requirements.txt is not installed")
    from training import evaluate, train

    folder = prepared(collect(tmp_path / "scans", 10))
    few = ["--data", str(folder), *"--epochs 1 --steps 1 --drawn-writers 0".split()]  # noqa: SIM905
    for fold, name in (("0", "fold-0"), ("1", "fold-1"), ("none", "final")):  # all five take twice as long
        train.main([*few, "--fold", fold, "--out", str(tmp_path / "runs" / name)])

    measured = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "evaluation")]
    evaluate.main(["--data", str(folder), *measured])
    made = ["--run", str(tmp_path / "runs" / "final"), "--evaluation", str(tmp_path / "evaluation")]
    export = [
        sys.executable,
        "-m",
        "training.export",
        *made,
        "--out",
        str(tmp_path / "bundles"),
    ]  # knows no layer yet
    subprocess.run([*export, "--version", "bank-1"], check=True)

    encoder = Encoder.load(tmp_path / "bundles" / "bank-1")
    own, mate, other = encoder.embed([images.signature(1), images.signature(1, 1), images.signature(2)])
    assert encoder.score(own[np.newaxis], mate) > encoder.score(own[np.newaxis], other)
    card = encoder.bundle.card.read_text("utf-8")
    assert "bank: writer-disjoint, pooled over 2 of 5 folds of 2 writers" in card
    assert "CEDAR" not in card
    _claim_other_data(tmp_path / "evaluation" / "evaluation.json")
    refused = subprocess.run([*export, "--version", "bank-2"], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "evaluate its own" in refused.stderr


def _claim_other_data(evaluation: Path) -> None:
    figures = json.loads(evaluation.read_text("utf-8"))
    figures["tested"]["data"] = "another"
    evaluation.write_text(json.dumps(figures), "utf-8")
