"""The model that ships: `.tflite`, checksum, and thresholds chosen on drawn cheques that it never learned from."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from embeddings import cheque_map
from embeddings.cheque_map import Mark, Marks, overlap
from embeddings.finder import MANIFEST, NETWORK, Finder
from embeddings.runtime import Network
from training.cheques import scenes
from training.cheques.capture import Scene, box
from training.cheques.measures import ENOUGH

console = Console()
TOLERANCE = 2e-3
UNSEEN = 600  # scenes
PROVISIONAL = {"signature": 0.3, "cheque": 0.2, "second_cheque": 0.15}  # until they are chosen
RARELY = 0.01  # of cheques may be taken for none, a third as many single ones for two
NOWHERE = 0.1  # intersection over union with any signature; a mark that is merely inexact is not false
LEAST = 0.1  # no threshold is lower
FALSE = 0.1  # regions where nobody signed, a drawn scene, that the threshold bears at most
LIKELY = 0.5  # ... and it is never lower: a region is more likely a signature than not


def write(run: Path, version: str, out: Path, cache: Path, data: Path | None) -> Path:
    """Writes `out/version` and answers it. An existing version is never changed: FileExistsError."""
    folder = out / version
    if folder.exists():
        raise FileExistsError(f"{folder} exists; a published model version never changes, choose another")
    network = keras.models.load_model(run / "cheque.keras", compile=False)
    folder.mkdir(parents=True)
    path = folder / NETWORK
    path.write_bytes(converted(network))
    manifest = {
        "version": version,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": list(cheque_map.INPUT),
        "thresholds": PROVISIONAL,
        "calibration": {"slope": 1.0, "shift": 0.0},
        "training": json.loads((run / "run.json").read_text("utf-8")),
    }
    _describe(folder, manifest)
    answers = unseen(Finder(folder), cache, data)
    _check(network, Network(path), [scene for scene, _ in answers[:4]])
    manifest["calibration"] = calibration(answers)
    limits, figures = choose(calibrated(answers, **manifest["calibration"]))
    _describe(folder, manifest | {"thresholds": limits, "drawn": figures})
    console.print(f"{folder}: {path.stat().st_size / 1e6:.2f} MB, {limits}, {figures}")
    return folder


def _describe(folder: Path, manifest: dict) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def converted(network: keras.Model) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as partial:
        network.export(partial, format="tf_saved_model", verbose=False)
        return tf.lite.TFLiteConverter.from_saved_model(partial).convert()


def _check(network: keras.Model, runtime: Network, drawn: list[Scene]) -> None:
    for scene in drawn:
        picture = cheque_map.picture(scene.grey)[..., None]
        worst = float(np.abs(runtime(picture) - network(picture[None]).numpy()[0]).max())
        if worst > TOLERANCE:
            raise ValueError(f"LiteRT differs from Keras by {worst:.2e}, more than {TOLERANCE:.0e}")


def unseen(finder: Finder, cache: Path, data: Path | None, count: int = UNSEEN) -> list[tuple[Scene, Marks]]:
    """Scenes that were never learned from, and everything that the network marks on them."""
    bank = scenes.bank_of(scenes.VALIDATION, cache, data)
    found = []
    for number in track(range(scenes.VALIDATION, scenes.VALIDATION + count), "unseen drawn cheques", transient=True):
        scene = scenes.scene(number, bank)
        found.append((scene, finder.marks(scene.grey)))
    return found


def calibration(answers: list[tuple[Scene, Marks]]) -> dict[str, float]:
    """From the logarithm of a mark's heat to the logit of its being a signature. Marks were read uncalibrated, which
    makes a heat h the confidence h / (1 + h)."""
    right = [one for scene, marks in answers for one in _hits(scene, marks)]
    false = [one for scene, marks in answers for one in _false(scene, marks)]
    confidence = np.clip(np.array(right + false), 1e-4, 1 - 1e-4)
    logs = np.log(confidence / (1 - confidence))[:, None]
    fitted = LogisticRegression(C=100.0).fit(logs, np.arange(len(logs)) < len(right))
    return {"slope": round(float(fitted.coef_[0, 0]), 4), "shift": round(float(fitted.intercept_[0]), 4)}


def calibrated(answers: list[tuple[Scene, Marks]], slope: float, shift: float) -> list[tuple[Scene, Marks]]:
    """The same marks as a finder with this calibration reads them."""

    def sure(mark: Mark) -> Mark:
        heat = mark.confidence / (1 - mark.confidence)
        return replace(mark, confidence=1 / (1 + math.exp(-slope * math.log(heat) - shift)))

    return [(scene, Marks([sure(mark) for mark in marks.signatures], marks.cheques)) for scene, marks in answers]


def choose(answers: list[tuple[Scene, Marks]]) -> tuple[dict[str, float], dict[str, float]]:
    """Thresholds, and what they give on these scenes: for signatures where they become more likely than not,
    for cheques one that few of them fail, for second cheques one that few single ones reach: a cheque that is
    refused costs more than other paper that passes without a signature, or than a pair that is not noticed."""
    whole = [(scene, marks) for scene, marks in answers if not any(_edge(truth, scene) for truth in scene.truths)]
    right = [one for scene, marks in whole for one in _hits(scene, marks)]
    false = [one for scene, marks in whole for one in _false(scene, marks)]
    one = [_confidence(marks, 0) for scene, marks in answers if scene.cheques]
    none = [_confidence(marks, 0) for scene, marks in answers if not scene.cheques]
    two = [_confidence(marks, 1) for scene, marks in answers if len(scene.cheques) == 2]
    single = [_confidence(marks, 1) for scene, marks in answers if len(scene.cheques) == 1]
    limits = {
        "signature": max(sorted([0.0, *false])[-1 - int(FALSE * len(whole))] + 0.005, LIKELY),
        "cheque": max(float(np.quantile(one, RARELY)), LEAST),
        "second_cheque": max(float(np.quantile(single, 1 - RARELY / 3)), LEAST),
    }
    limits = {name: round(value, 3) for name, value in limits.items()}
    figures = {
        "scenes": len(answers),
        "signatures": sum(len(scene.truths) for scene, _ in whole),
        "found": sum(value >= limits["signature"] for value in right),
        "false": sum(value >= limits["signature"] for value in false),
        "cheques_refused": sum(value < limits["cheque"] for value in one),
        "of_cheques": len(one),
        "others_passed": sum(value >= limits["cheque"] for value in none),
        "of_others": len(none),
        "pairs_noticed": sum(value >= limits["second_cheque"] for value in two),
        "of_pairs": len(two),
        "single_taken_for_two": sum(value >= limits["second_cheque"] for value in single),
    }
    return limits, figures


def _confidence(marks: Marks, which: int) -> float:
    return marks.cheques[which].confidence if len(marks.cheques) > which else 0.0


def _edge(truth, scene: Scene) -> bool:
    x, y, w, h = box(truth.ink)
    return x < 0 or y < 0 or x + w > scene.grey.shape[1] or y + h > scene.grey.shape[0]


def _hits(scene: Scene, marks: Marks) -> list[float]:
    """Confidences of marks that are a signature of their own, by their fields."""
    left, hits = [box(truth.field) for truth in scene.truths], []
    for mark in marks.signatures:
        best = max(left, key=lambda one: overlap(one, mark.field), default=None)
        if best is not None and overlap(best, mark.field) >= ENOUGH:
            left.remove(best)
            hits.append(mark.confidence)
    return hits


def _false(scene: Scene, marks: Marks) -> list[float]:
    """Confidences of marks where there is no signature at all."""
    fields = [box(truth.field) for truth in scene.truths]
    return [m.confidence for m in marks.signatures if all(overlap(m.field, one) < NOWHERE for one in fields)]
