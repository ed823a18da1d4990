"""Measure trained towers on writers that they never saw, beside the unlearned floor on the same writers.

    python -m training.evaluate --data DATA --runs runs --out runs/evaluation
    python -m training.evaluate --data sets/own --runs runs --out runs/evaluation
    python -m training.evaluate --data DATA --bundle embeddings/bundles/1.2.0 --out runs/served

RUNS holds what `training.train` wrote: `fold-0` ... `fold-4`, `final`, and `control-K` (fold K trained without
forgeries). Folds that are missing are left out and the figures say so. DATA holds `cedar/`, and `sigcomp2011-dutch/`
and `svc2004/` for the sets that no tower was trained on; or it is a training set of `training.prepare`, whose own
folds are tested then. Such a set has no scans, so nothing is said about other captures.

Every fold's scores are calibrated on writers who were neither fitted nor tested (eight of CEDAR's), then pooled.
Thresholds are chosen on those and applied once. Intervals are 95 %, over writers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from rich.console import Console

from training import accounts, aws, canvases, datasets, leak, pictures, runs, served, tested
from training.canvases import Canvases
from training.card import report
from training.conditions import CONDITIONS
from training.datasets import BrokenDataset
from training.floor import direction_grid
from training.measure import (
    Errors,
    Trials,
    auc,
    distances,
    platt,
    pool,
    rates_at,
    reliability,
    run_trials,
    typical_variation,
)
from training.runs import TOWER, BrokenRun
from training.tested import Tested
from training.train import embed
from training.training_set import BrokenTrainingSet

UNSEEN = {"dutch": "sigcomp2011-dutch", "svc2004": "svc2004"}
ACCEPT_FAR, REJECT_FRR = 0.05, 0.02
MOST_WRITERS = 1_000_000  # in a fold: by this many the numbers of writers of two folds lie apart
MENDABLE = (BrokenDataset, BrokenRun, BrokenTrainingSet)
console = Console(stderr=True)


@dataclass(frozen=True)
class Fold:
    """One fold's vectors of all canvases, and the calibration that its calibration writers gave: a scale and an
    offset of scores, and how much people typically vary (L1, before the scale)."""

    number: int
    vectors: np.ndarray
    slope: float
    offset: float
    typical: float
    calibrate: list[str]
    test: list[str]

    def trials(self, seen: Canvases, *, references: int = 1, calibrating: bool = False) -> Trials:
        """Calibrated trials of the fold's test writers, or of its calibration writers."""
        rows = np.isin(seen.owner, self.calibrate if calibrating else self.test)
        raw = run_trials(
            self.vectors[rows],
            seen.owner[rows],
            seen.genuine[rows],
            references=references,
            first_writer=MOST_WRITERS * self.number,
            typical=self.typical,
        )
        return raw.mapped(self.slope, self.offset)

    def asked(self, seen: Canvases) -> accounts.Asked:
        """The test writers with vectors whose L1 distance is on the calibrated scale."""
        rows = np.isin(seen.owner, self.test)
        return accounts.Asked(self.slope * self.vectors[rows], seen.owner[rows], seen.genuine[rows], self.offset)

    def raw_trials(self, seen: Canvases) -> Trials:
        """The test writers' trials as negated L1: eight writers' calibration also adds errors of its own."""
        return self.trials(seen).mapped(1 / self.slope, -self.offset / self.slope)


def calibrated(number: int, vectors: np.ndarray, about: Tested) -> Fold:
    """A fold with the Platt scaling that its calibration writers give."""
    split, seen = about.folds[number], about.canvases
    rows = np.isin(seen.owner, split.calibrate)
    typical = typical_variation(vectors[rows], seen.owner[rows], seen.genuine[rows])
    raw = Fold(number, vectors, 1.0, 0.0, typical, split.calibrate, split.test)
    slope, offset = platt(raw.trials(seen, calibrating=True))
    return Fold(number, vectors, slope, offset, typical, split.calibrate, split.test)


def error_table(trials: Trials) -> dict:
    """Skilled and random errors as two tables."""
    errors = Errors(trials)
    by_writer = sorted(Errors(_of_writer(trials, w)).eer("skilled") for w in np.unique(trials.writer))
    worst = by_writer[-max(1, round(len(by_writer) / 10)) :]
    table: dict = {"writers": errors.writers, "worst_decile_skilled_eer": float(np.mean(worst))}
    for impostor, fars in (("skilled", (0.01, 0.05, 0.10)), ("random", (0.001, 0.01))):
        table[impostor] = {
            "trials": len(trials.of(impostor)),
            "eer": errors.interval(lambda w, kind=impostor: errors.eer(kind, w)),
            "auc": auc(trials.of("genuine"), trials.of(impostor)),
            "frr_at_far": {
                f"{far:g}": errors.interval(lambda w, kind=impostor, f=far: errors.frr_at(kind, f, w), 300)
                for far in fars
            },
        }
    return table


def thresholds_of(errors: Errors) -> dict[str, float]:
    """Accept where 5 % of skilled forgeries pass; reject where 2 % of genuine signatures are lost (log odds)."""
    accept, reject = errors.threshold_at_far("skilled", ACCEPT_FAR), errors.threshold_at_frr(REJECT_FRR)
    return {"accept": accept, "reject": min(accept, reject)}  # a tower this good would leave nothing to refer


def applied_once(several: list[Fold], seen: Canvases) -> dict:
    """What thresholds chosen on each fold's calibration writers did to its test writers, pooled."""
    achieved = {}
    for decision in ("accept", "reject"):
        parts = []
        for fold in several:
            threshold = thresholds_of(Errors(fold.trials(seen, calibrating=True)))[decision]
            parts.append(fold.trials(seen).mapped(1.0, -threshold))
        achieved[decision] = rates_at(Errors(pool(parts)), 0.0)
    return achieved


def evaluate(data: Path, trained: Path, out: Path, cache: Path | None = None) -> dict:
    """Runs the whole protocol on the runs in folder `trained`, writes `evaluation.json` and the pictures into `out`,
    and answers the figures. Raises BrokenDataset, BrokenTrainingSet or BrokenRun."""
    about = tested.read(data, cache)
    seen, folds = about.canvases, range(len(about.folds))
    numbers = [number for number in folds if runs.of_fold(trained / f"fold-{number}", number, about.data_hash)]
    if not numbers:
        raise BrokenRun(f"{trained} holds no fold-0 ... fold-{len(folds) - 1}: run training.train --fold all")
    out.mkdir(parents=True, exist_ok=True)
    grid = direction_grid(seen.pixels)
    towers = [calibrated(k, embed(_tower(trained / f"fold-{k}"), seen.pixels), about) for k in numbers]
    floors = [calibrated(k, grid, about) for k in numbers]
    figures: dict = {"tested": about.described(), "folds": numbers}
    figures["failure_to_enrol"] = {about.name: _share_unusable(seen)}
    for name, several in (("tower", towers), ("floor", floors)):
        figures[name] = {
            str(references): error_table(pool([fold.trials(seen, references=references) for fold in several]))
            for references in about.counts((1, 3, 5))
        }
        figures[name]["uncalibrated"] = _short(Errors(pool([fold.raw_trials(seen) for fold in several])))
        figures[name]["by_fold"] = [_short(Errors(fold.trials(seen))) for fold in several]
        figures[name]["leak_gate"] = leak.gate(several, seen)
        console.print(name, _short(Errors(pool([fold.trials(seen) for fold in several]))))
    figures["conditions"] = _conditions(about, towers, trained, cache) if about.signatures else {}
    figures["thresholds_applied_once"] = applied_once(towers, seen)
    figures["control_without_forgeries"] = _controls(trained, about, grid)
    counts = about.counts(accounts.REFERENCES)
    by_references = [{count: fold.trials(seen, references=count) for count in counts} for fold in towers]
    figures["accounts"] = accounts.held([fold.asked(seen) for fold in towers], by_references)
    # What ships is calibrated once more on all that the folds found out: a few writers each err, together less.
    once_more = platt(pool([trials[1] for trials in by_references]))
    pooled = {count: pool([trials[count] for trials in by_references]).mapped(*once_more) for count in counts}
    figures["shipped"] = _shipped(trained, towers, pooled[1], once_more, _yardstick(about))
    figures["shipped"]["error_rates"] = accounts.error_table(pooled)
    figures["reliability"] = reliability(pooled[1])
    final = trained / "final" if (trained / "final" / TOWER).exists() else trained / f"fold-{numbers[0]}"
    figures["unseen"] = _unseen(
        data, cache, _tower(final), figures["shipped"], float(np.mean([fold.typical for fold in floors]))
    )
    figures["images_in_two_sets"] = _shared_images(data) if about.signatures else None
    pictures.det({"tower": pooled[1], "floor": pool([fold.trials(seen) for fold in floors])}, out / "det.png")
    pictures.histograms(pooled[1], figures["shipped"]["thresholds"], out / "scores.png")
    pictures.reliability(figures["reliability"], out / "reliability.png")
    pictures.worst_writers(seen, _by_writer(towers, seen), out / "worst.png")
    (out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (out / "report.md").write_text(report("evaluation", runs.described(final), figures), "utf-8")
    return figures


def _by_writer(towers: list[Fold], seen: Canvases) -> dict[str, float]:
    """Skilled error of each test writer, by a threshold of its own."""
    found = {}
    for fold in towers:
        trials = fold.trials(seen)
        for number, name in enumerate(np.unique(seen.owner[np.isin(seen.owner, fold.test)])):
            found[str(name)] = Errors(_of_writer(trials, MOST_WRITERS * fold.number + number)).eer("skilled")
    return found


def _conditions(about: Tested, towers: list[Fold], trained: Path, cache: Path | None) -> dict:
    """Errors of the folds' test writers when what is questioned was captured otherwise than the specimen."""
    seen = about.canvases
    found = {"as scanned": {**_short(Errors(pool([fold.trials(seen) for fold in towers]))), "refused": 0}}
    for condition in CONDITIONS:
        other = canvases.load(about.signatures, cache, condition)
        rows = np.flatnonzero(np.isin(seen.at, other.at))
        both = seen.where(rows)
        pixels = other.pixels[np.isin(other.at, seen.at)]
        parts = []
        for fold in towers:
            mine = np.isin(both.owner, fold.test)
            asked = embed(_tower(trained / f"fold-{fold.number}"), pixels[mine])
            parts.append(
                run_trials(
                    asked,
                    both.owner[mine],
                    both.genuine[mine],
                    first_writer=MOST_WRITERS * fold.number,
                    enrolled=fold.vectors[rows][mine],
                ).mapped(fold.slope, fold.offset)
            )
        found[condition] = {**_short(Errors(pool(parts))), "refused": other.unusable}
        console.print(condition, found[condition])
    return found


def _shipped(
    trained: Path, towers: list[Fold], pooled: Trials, once_more: tuple[float, float], yardstick: np.ndarray
) -> dict:
    """Scale, bias and thresholds of the tower that was fitted on everybody and so has nobody left to be
    calibrated on: the folds' own, `once_more` (slope, offset) calibrated together, carried over by how far apart each
    tower sees the same strangers."""
    errors = Errors(pooled)
    logits = thresholds_of(errors)
    spreads = [_stranger_distance(_tower(trained / f"fold-{fold.number}"), yardstick) for fold in towers]
    final = trained / "final"
    own = _stranger_distance(_tower(final), yardstick) if (final / TOWER).exists() else spreads[0]
    slope = float(np.mean([fold.slope * spread for fold, spread in zip(towers, spreads, strict=True)]) / own)
    steeper, shift = once_more
    return {
        "slope": steeper * slope,
        "bias": steeper * float(np.mean([fold.offset for fold in towers])) + shift,
        "typical": steeper * float(np.mean([fold.slope * fold.typical for fold in towers])),
        "calibrated_once_more": {"slope": steeper, "offset": shift},
        "prior": "a questioned signature is genuine or a skilled forgery, equally likely",
        "fold_slopes": [fold.slope for fold in towers],
        "fold_biases": [fold.offset for fold in towers],
        "fold_stranger_distances": spreads,
        "final_stranger_distance": own,
        "thresholds": {name: float(1 / (1 + np.exp(-logit))) for name, logit in logits.items()},
        "at_thresholds": {name: rates_at(errors, logit) for name, logit in logits.items()},
    }


def _yardstick(about: Tested) -> np.ndarray:
    """Signatures that every tower was fitted on alike: the broad collection, or failing that who is tested."""
    some = np.random.default_rng(0).permutation(len(about.beside))[:400]
    return about.beside.pixels[some]


def _stranger_distance(tower: keras.Model, pixels: np.ndarray) -> float:
    vectors = embed(tower, pixels)
    return float(np.median(distances(vectors, vectors)))


def _unseen(data: Path, cache: Path | None, tower: keras.Model, shipped: dict, floor_typical: float) -> dict:
    tables = {}
    for name, folder in UNSEEN.items():
        if not (data / folder).is_dir():
            continue
        unseen = canvases.load(datasets.by_folder(data / folder, name), cache)
        vectors, grid = embed(tower, unseen.pixels), direction_grid(unseen.pixels)
        tables[name] = {"failure_to_enrol": _share_unusable(unseen)}
        for who, seen, typical in (
            ("tower", vectors, shipped["typical"] / shipped["slope"]),
            ("floor", grid, floor_typical),
        ):
            tables[name][who] = {
                str(references): error_table(
                    run_trials(seen, unseen.owner, unseen.genuine, references=references, typical=typical)
                )
                for references in (1, 3, 5)
            }
        trials = run_trials(vectors, unseen.owner, unseen.genuine).mapped(shipped["slope"], shipped["bias"])
        tables[name]["at_shipped_thresholds"] = {
            decision: rates_at(Errors(trials), float(np.log(score / (1 - score))))
            for decision, score in shipped["thresholds"].items()
        }
        tables[name]["probe_auc"] = leak.probe_within(vectors, unseen.owner, unseen.genuine)
        console.print(name, _short(Errors(trials)))
    return tables


def _controls(trained: Path, about: Tested, grid: np.ndarray) -> list[dict]:
    """Towers that saw no forgery of the collection, on their folds: what is left when nothing of the sessions can be
    learned."""
    found, seen = [], about.canvases
    for number in range(len(about.folds)):
        run = trained / f"control-{number}"
        if runs.of_fold(run, number, about.data_hash):
            control = calibrated(number, embed(_tower(run), seen.pixels), about)
            floor = calibrated(number, grid, about)
            found.append(
                {
                    "fold": number,
                    "tower": _short(Errors(control.trials(seen))),
                    "floor": _short(Errors(floor.trials(seen))),
                    "leak_gate": leak.gate([control], seen),
                }
            )
    return found


def _short(errors: Errors) -> dict[str, float]:
    return {f"{kind}_eer": round(errors.eer(kind), 4) for kind in ("skilled", "random")}


def _of_writer(trials: Trials, writer: int) -> Trials:
    rows = trials.writer == writer
    return Trials(trials.score[rows], trials.kind[rows], trials.writer[rows])


def _share_unusable(found: Canvases) -> float:
    return found.unusable / (len(found) + found.unusable)


def _shared_images(data: Path) -> int:
    """How many image files occur in more than one collection."""
    sets = [
        {hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*.png")}
        for folder in sorted(data.iterdir())
        if folder.is_dir() and folder.name != "cheques"
    ]
    return sum(len(one & other) for at, one in enumerate(sets) for other in sets[:at])


def unseen_sets(data: Path) -> dict[str, list[datasets.Signature]]:
    """The sets that no tower is trained on, or any one set laid out alike: `genuine/WRITER`, `forged/WRITER`. Raises
    BrokenDataset where there is none."""
    if (data / "genuine").is_dir():
        return {data.name: datasets.by_folder(data, data.name)}
    found = {
        name: datasets.by_folder(data / folder, name) for name, folder in UNSEEN.items() if (data / folder).is_dir()
    }
    if not found:
        raise BrokenDataset(f"{data} holds none of {', '.join(UNSEEN.values())}, nor genuine/WRITER/*.png of its own")
    return found


def _tower(run: Path) -> keras.Model:
    return keras.models.load_model(run / TOWER, compile=False)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="images, or a training set with --runs")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--runs", type=Path, help="towers of folds, on the writers that each never saw")
    what.add_argument("--bundle", type=Path, help="a bundle as it is served, on sets that it never saw")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="keep preprocessed canvases here between runs")
    chosen = parser.parse_args(arguments)
    with aws.explained(MENDABLE):
        if chosen.bundle:
            served.write(chosen.bundle, unseen_sets(chosen.data), chosen.out)
        else:
            evaluate(chosen.data, chosen.runs, chosen.out, chosen.cache)
    console.print(f"figures in {chosen.out / ('served.md' if chosen.bundle else 'evaluation.json')}")


if __name__ == "__main__":
    main()
