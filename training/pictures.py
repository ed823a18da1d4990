"""Pictures of an evaluation: detection error trade-off curves and score histograms."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed to draw into a file

import matplotlib.pyplot as plt
import numpy as np

from training.canvases import Canvases
from training.measure import Errors, Trials

COLOURS = {"genuine": "#2a7f62", "skilled": "#c0392b", "random": "#7f8c8d"}


def det(systems: dict[str, Trials], path: Path) -> None:
    """False rejection against false acceptance on logarithmic axes; a curve nearer to the corner is better."""
    figure, axes = plt.subplots(figsize=(7, 6))
    for name, trials in systems.items():
        errors = Errors(trials)
        frr = 1 - errors.curve("genuine")
        for impostor in ("skilled", "random"):
            label = f"{name}, {impostor} (EER {100 * errors.eer(impostor):.1f} %)"
            style = "-" if name == "tower" else "--"
            axes.plot(100 * errors.curve(impostor), 100 * frr, style, color=COLOURS[impostor], label=label)
    axes.plot([0.1, 100], [0.1, 100], ":", color="#bbbbbb", linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=(0.1, 100), ylim=(0.1, 100))
    axes.set(xlabel="false acceptance, %", ylabel="false rejection, %")
    axes.set_title("Unseen writers, one reference")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    _save(figure, path)


def histograms(trials: Trials, thresholds: dict[str, float], path: Path) -> None:
    """How calibrated scores in (0, 1) are spread for each kind of trial, with the thresholds."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    bins = np.linspace(0, 1, 61)
    for kind, colour in COLOURS.items():
        scores = 1 / (1 + np.exp(-trials.of(kind)))
        share = np.full(len(scores), 100 / len(scores))
        axes.hist(scores, bins, weights=share, histtype="stepfilled", alpha=0.35, color=colour, label=kind)
    for name, threshold in thresholds.items():
        axes.axvline(threshold, color="black", linewidth=1, linestyle="--")
        axes.text(threshold, 0.97, f" {name}", va="top", transform=axes.get_xaxis_transform())
    axes.set(xlabel="score", ylabel="trials of the kind, %", ylim=(0, min(axes.get_ylim()[1], 30)))
    axes.set_title("Calibrated scores of unseen writers (random trials near 0 are cut off)")
    axes.legend(loc="upper center")
    _save(figure, path)


def reliability(rows: list[dict[str, float]], path: Path) -> None:
    """The share of genuine trials by the score that they got; on the diagonal a score means what it says."""
    figure, axes = plt.subplots(figsize=(6, 6))
    axes.plot([0, 1], [0, 1], ":", color="#bbbbbb", linewidth=1)
    score, genuine = [row["score"] for row in rows], [row["genuine"] for row in rows]
    size = [30 + 900 * row["share_of_trials"] for row in rows]
    axes.plot(score, genuine, color=COLOURS["genuine"], linewidth=1)
    axes.scatter(score, genuine, size, color=COLOURS["genuine"], alpha=0.6)
    axes.set(xlabel="score", ylabel="share that is genuine", xlim=(0, 1), ylim=(0, 1))
    axes.set_title("Unseen writers; genuine and skilled forgery equally likely")
    axes.grid(visible=True, alpha=0.25)
    _save(figure, path)


def worst_writers(cedar: Canvases, by_writer: dict[str, float], path: Path, writers: int = 6) -> None:
    """Genuine signatures and forgeries, as the tower sees them, of the writers with the highest skilled errors."""
    worst = sorted(by_writer, key=by_writer.__getitem__, reverse=True)[:writers]
    figure, axes = plt.subplots(len(worst), 8, figsize=(16, 1.25 * len(worst)), squeeze=False)
    for row, writer in zip(axes, worst, strict=True):
        for genuine, half in ((True, row[:4]), (False, row[4:])):
            shown = cedar.pixels[(cedar.owner == writer) & (cedar.genuine == genuine)]
            for cell, canvas in zip(half, shown, strict=False):
                cell.imshow(canvas, cmap="gray_r", interpolation="nearest")
                cell.set_title("" if genuine else "forged", fontsize=7, color=COLOURS["skilled"], pad=2)
        row[0].set_ylabel(f"{writer}\n{100 * by_writer[writer]:.0f} %", fontsize=8)
    for cell in axes.flat:
        cell.set_xticks([])
        cell.set_yticks([])
    _save(figure, path)


def _save(figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
