"""Pictures of an evaluation: detection error trade-off curves and score histograms."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed to draw into a file

import matplotlib.pyplot as plt
import numpy as np

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


def _save(figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
