"""Measure trained towers on writers that they never saw, beside the unlearned floor on the same writers.

    python -m training.evaluate --data DATA --runs runs --out runs/evaluation
    python -m training.evaluate --data DATA --bundle embeddings/bundles/1.2.0 --out runs/served

RUNS holds what `training.train` wrote: `fold-0` ... `fold-4`, `final`, and `control-K` (fold K trained without
CEDAR's forgeries). Folds that are missing are left out and the figures say so. DATA holds `cedar/`, and
`sigcomp2011-dutch/` and `svc2004/` for the sets that no tower was trained on.

Every fold's scores are calibrated on eight writers who were neither fitted nor tested, then pooled. Thresholds are
chosen on those eight and applied once. Intervals are 95 %, over writers.
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

from training import accounts, canvases, datasets, folds, leak, pictures, served
from training.canvases import Canvases
from training.card import report
from training.conditions import CONDITIONS
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
from training.train import RUN, TOWER, embed

UNSEEN = {"dutch": "sigcomp2011-dutch", "svc2004": "svc2004"}
ACCEPT_FAR, REJECT_FRR = 0.05, 0.02
console = Console(stderr=True)


@dataclass(frozen=True)
class Fold:
    """One fold's vectors of all CEDAR canvases, and the calibration that its eight writers gave: a scale and an
    offset of scores, and how much people typically vary (L1, before the scale)."""

    number: int
    vectors: np.ndarray
    slope: float
    offset: float
    typical: float
    calibrate: list[str]
    test: list[str]

    def trials(self, cedar: Canvases, *, references: int = 1, calibrating: bool = False) -> Trials:
        """Calibrated trials of the fold's test writers, or of its calibration writers."""
        rows = np.isin(cedar.owner, self.calibrate if calibrating else self.test)
        raw = run_trials(
            self.vectors[rows],
            cedar.owner[rows],
            cedar.genuine[rows],
            references=references,
            first_writer=100 * self.number,
            typical=self.typical,
        )
        return raw.mapped(self.slope, self.offset)

    def asked(self, cedar: Canvases) -> accounts.Asked:
        """The test writers with vectors whose L1 distance is on the calibrated scale."""
        rows = np.isin(cedar.owner, self.test)
        return accounts.Asked(self.slope * self.vectors[rows], cedar.owner[rows], cedar.genuine[rows], self.offset)

    def raw_trials(self, cedar: Canvases) -> Trials:
        """The test writers' trials as negated L1: eight writers' calibration also adds errors of its own."""
        return self.trials(cedar).mapped(1 / self.slope, -self.offset / self.slope)


def calibrated(number: int, vectors: np.ndarray, cedar: Canvases) -> Fold:
    """A fold with the Platt scaling that its calibration writers give."""
    _, calibrate, test = folds.split(number)
    rows = np.isin(cedar.owner, calibrate)
    typical = typical_variation(vectors[rows], cedar.owner[rows], cedar.genuine[rows])
    raw = Fold(number, vectors, 1.0, 0.0, typical, calibrate, test)
    slope, offset = platt(raw.trials(cedar, calibrating=True))
    return Fold(number, vectors, slope, offset, typical, calibrate, test)


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


def applied_once(several: list[Fold], cedar: Canvases) -> dict:
    """What thresholds chosen on each fold's calibration writers did to its test writers, pooled."""
    achieved = {}
    for decision in ("accept", "reject"):
        parts = []
        for fold in several:
            threshold = thresholds_of(Errors(fold.trials(cedar, calibrating=True)))[decision]
            parts.append(fold.trials(cedar).mapped(1.0, -threshold))
        achieved[decision] = rates_at(Errors(pool(parts)), 0.0)
    return achieved


def evaluate(data: Path, runs: Path, out: Path, cache: Path | None) -> dict:
    """Runs the whole protocol, writes `evaluation.json` and the pictures into `out`, and answers the figures."""
    out.mkdir(parents=True, exist_ok=True)
    root = data / "cedar" if (data / "cedar").is_dir() else data
    cedar = canvases.load(datasets.cedar(root), cache)
    numbers = [number for number in range(5) if (runs / f"fold-{number}" / TOWER).exists()]
    grid = direction_grid(cedar.pixels)
    towers = [calibrated(k, embed(_tower(runs / f"fold-{k}"), cedar.pixels), cedar) for k in numbers]
    floors = [calibrated(k, grid, cedar) for k in numbers]
    figures: dict = {"folds": numbers, "failure_to_enrol": {"cedar": _share_unusable(cedar)}}
    for name, several in (("tower", towers), ("floor", floors)):
        figures[name] = {
            str(references): error_table(pool([fold.trials(cedar, references=references) for fold in several]))
            for references in (1, 3, 5)
        }
        figures[name]["uncalibrated"] = _short(Errors(pool([fold.raw_trials(cedar) for fold in several])))
        figures[name]["by_fold"] = [_short(Errors(fold.trials(cedar))) for fold in several]
        figures[name]["leak_gate"] = leak.gate(several, cedar)
        console.print(name, _short(Errors(pool([fold.trials(cedar) for fold in several]))))
    figures["conditions"] = _conditions(root, cedar, towers, runs, cache)
    figures["thresholds_applied_once"] = applied_once(towers, cedar)
    figures["control_without_forgeries"] = _controls(runs, cedar, grid)
    by_references = [
        {count: fold.trials(cedar, references=count) for count in accounts.REFERENCES} for fold in towers
    ]
    figures["accounts"] = accounts.held([fold.asked(cedar) for fold in towers], by_references)
    # What ships is calibrated once more on all that the folds found out: eight writers each err, together less.
    once_more = platt(pool([trials[1] for trials in by_references]))
    pooled = {
        count: pool([trials[count] for trials in by_references]).mapped(*once_more) for count in accounts.REFERENCES
    }
    figures["shipped"] = _shipped(runs, towers, pooled[1], once_more, _yardstick(data, cache, cedar))
    figures["shipped"]["error_rates"] = accounts.error_table(pooled)
    figures["reliability"] = reliability(pooled[1])
    final = runs / "final" if (runs / "final" / TOWER).exists() else runs / f"fold-{numbers[0]}"
    figures["unseen"] = _unseen(
        data, cache, _tower(final), figures["shipped"], float(np.mean([fold.typical for fold in floors]))
    )
    figures["images_in_two_sets"] = _shared_images(data)
    pictures.det({"tower": pooled[1], "floor": pool([fold.trials(cedar) for fold in floors])}, out / "det.png")
    pictures.histograms(pooled[1], figures["shipped"]["thresholds"], out / "scores.png")
    pictures.reliability(figures["reliability"], out / "reliability.png")
    pictures.worst_writers(cedar, _by_writer(towers, cedar), out / "worst.png")
    (out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    trained = json.loads((final / RUN).read_text("utf-8"))
    (out / "report.md").write_text(report("evaluation", trained, figures), "utf-8")
    return figures


def _by_writer(towers: list[Fold], cedar: Canvases) -> dict[str, float]:
    """Skilled error of each test writer, by a threshold of its own."""
    found = {}
    for fold in towers:
        trials = fold.trials(cedar)
        for number, name in enumerate(np.unique(cedar.owner[np.isin(cedar.owner, fold.test)])):
            found[str(name)] = Errors(_of_writer(trials, 100 * fold.number + number)).eer("skilled")
    return found


def _conditions(root: Path, cedar: Canvases, towers: list[Fold], runs: Path, cache: Path | None) -> dict:
    """Errors of the folds' test writers when what is questioned was captured otherwise than the specimen."""
    found = {"as scanned": {**_short(Errors(pool([fold.trials(cedar) for fold in towers]))), "refused": 0}}
    for condition in CONDITIONS:
        other = canvases.load(datasets.cedar(root), cache, condition)
        rows = np.flatnonzero(np.isin(cedar.at, other.at))
        both = cedar.where(rows)
        pixels = other.pixels[np.isin(other.at, cedar.at)]
        parts = []
        for fold in towers:
            mine = np.isin(both.owner, fold.test)
            asked = embed(_tower(runs / f"fold-{fold.number}"), pixels[mine])
            parts.append(
                run_trials(
                    asked,
                    both.owner[mine],
                    both.genuine[mine],
                    first_writer=100 * fold.number,
                    enrolled=fold.vectors[rows][mine],
                ).mapped(fold.slope, fold.offset)
            )
        found[condition] = {**_short(Errors(pool(parts))), "refused": other.unusable}
        console.print(condition, found[condition])
    return found


def _shipped(
    runs: Path, towers: list[Fold], pooled: Trials, once_more: tuple[float, float], yardstick: np.ndarray
) -> dict:
    """Scale, bias and thresholds of the tower that was fitted on everybody and so has nobody left to be
    calibrated on: the folds' own, `once_more` (slope, offset) calibrated together, carried over by how far apart each
    tower sees the same strangers."""
    errors = Errors(pooled)
    logits = thresholds_of(errors)
    spreads = [_stranger_distance(_tower(runs / f"fold-{fold.number}"), yardstick) for fold in towers]
    final = runs / "final"
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


def _yardstick(data: Path, cache: Path | None, cedar: Canvases) -> np.ndarray:
    """Signatures that every tower was fitted on alike: the broad collection, or failing that CEDAR itself."""
    broad = data / "cross-media-chinese"
    known = canvases.load(datasets.cross_media(broad), cache) if broad.is_dir() else cedar
    some = np.random.default_rng(0).permutation(len(known))[:400]
    return known.pixels[some]


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


def _controls(runs: Path, cedar: Canvases, grid: np.ndarray) -> list[dict]:
    """Towers that saw no CEDAR forgery, on their folds: what is left when nothing of the sessions can be learned."""
    found = []
    for number in range(5):
        if (runs / f"control-{number}" / TOWER).exists():
            control = calibrated(number, embed(_tower(runs / f"control-{number}"), cedar.pixels), cedar)
            floor = calibrated(number, grid, cedar)
            found.append(
                {
                    "fold": number,
                    "tower": _short(Errors(control.trials(cedar))),
                    "floor": _short(Errors(floor.trials(cedar))),
                    "leak_gate": leak.gate([control], cedar),
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
    """The sets that no tower is trained on, or any one set laid out alike: `genuine/WRITER`, `forged/WRITER`."""
    if (data / "genuine").is_dir():
        return {data.name: datasets.by_folder(data, data.name)}
    return {
        name: datasets.by_folder(data / folder, name) for name, folder in UNSEEN.items() if (data / folder).is_dir()
    }


def _tower(run: Path) -> keras.Model:
    return keras.models.load_model(run / TOWER, compile=False)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--runs", type=Path, help="towers of folds, on CEDAR's writers that each never saw")
    what.add_argument("--bundle", type=Path, help="a bundle as it is served, on sets that it never saw")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="keep preprocessed canvases here between runs")
    chosen = parser.parse_args(arguments)
    if chosen.bundle:
        served.write(chosen.bundle, unseen_sets(chosen.data), chosen.out)
        console.print(f"figures in {chosen.out / 'served.md'}")
        return
    evaluate(chosen.data, chosen.runs, chosen.out, chosen.cache)
    console.print(f"figures in {chosen.out / 'evaluation.json'}")


if __name__ == "__main__":
    main()
