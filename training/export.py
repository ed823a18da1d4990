"""Turn a trained tower and its evaluation into a bundle, the folder that the service loads.

    python -m training.export --run runs/final --evaluation runs/evaluation --version 2026.1 --out embeddings/bundles

The tower is written as a SavedModel (`tower/1`, for TensorFlow Serving) and as `tower.tflite` (for LiteRT); nothing
is written unless both agree to 1e-4 on drawn signatures. This is the one module that needs TensorFlow itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from rich.console import Console

from embeddings.bundle import FORMAT
from embeddings.preprocess import PREPROCESSING_VERSION
from training import network as _layers  # noqa: F401 (a saved tower is made of them: Keras must know them to read it)
from training import runs, synthetic
from training.canvases import CANVAS
from training.card import card
from training.runs import TOWER, BrokenRun

TOLERANCE = 1e-4


class TowersDisagree(RuntimeError):
    """The converted tower does not answer what the trained one answers; nothing was written."""


def folded(tower: keras.Model, slope: float) -> keras.Model:
    """The tower with `slope` folded into its weights w: what it answers is what is stored, and the L1
    distance between two answers is `slope` times the trained one."""
    model = keras.models.clone_model(tower)
    model.set_weights(tower.get_weights())
    scale = model.get_layer("scale")
    scale.set_weights_to(scale.weights_now() * np.float32(slope))
    return model


def write_tower(tower: keras.Model, folder: Path, canvases: np.ndarray) -> None:
    """Writes `tower/1` and `tower.tflite` into `folder` after comparing both on `canvases`, float32
    (n, 128, 256, 1). Raises TowersDisagree."""
    import tensorflow as tf  # only the conversion needs it

    saved = folder / "tower" / "1"
    tower.export(saved, format="tf_saved_model", verbose=False)
    converted = tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert()
    (folder / "tower.tflite").write_bytes(converted)
    worst = float(np.abs(tower.predict(canvases, verbose=0) - run_litert(folder / "tower.tflite", canvases)).max())
    if worst > TOLERANCE:
        raise TowersDisagree(f"LiteRT differs from Keras by {worst:.2e}, more than {TOLERANCE:.0e}")


def run_litert(path: Path, canvases: np.ndarray) -> np.ndarray:
    """Vectors float32 (n, d) of canvases float32 (n, 128, 256, 1), one at a time on one thread, as served."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    vectors = []
    for canvas in canvases:
        interpreter.set_tensor(into, canvas[None])
        interpreter.invoke()
        vectors.append(interpreter.get_tensor(out)[0])
    return np.stack(vectors)


def write_bundle(run: Path, evaluation: Path, version: str, out: Path) -> Path:
    """Writes `out/version` and answers it. An existing bundle is never changed: FileExistsError. Raises BrokenRun
    where the evaluation was of towers that were trained on another set."""
    final = out / version
    if final.exists():
        raise FileExistsError(f"{final} exists; a published model version never changes, choose another")
    trained = runs.described(run)
    figures = json.loads((evaluation / "evaluation.json").read_text("utf-8"))
    evaluated, fitted = figures.get("tested", {}).get("data"), trained.get("lineage", {}).get("data")
    if evaluated and evaluated != fitted:
        raise BrokenRun(f"{run} was trained on data {fitted}, {evaluation} is about {evaluated}: evaluate its own")
    tower = folded(keras.models.load_model(run / TOWER), figures["shipped"]["slope"])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as partial:
        folder = Path(partial) / version
        folder.mkdir()
        write_tower(tower, folder, _drawn_canvases())
        (folder / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        (folder / "card.md").write_text(card(version, trained, figures), "utf-8")
        (folder / "lineage.json").write_text(json.dumps(trained.get("lineage", {}), indent=1) + "\n", "utf-8")
        manifest = _manifest(folder, version, tower.output_shape[-1], figures["shipped"])
        (folder / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
        shutil.move(folder, final)
    return final


def _manifest(folder: Path, version: str, dimension: int, shipped: dict) -> dict:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "format": FORMAT,
        "model_version": version,
        "preprocessing_version": PREPROCESSING_VERSION,
        "canvas": list(CANVAS),
        "dimension": dimension,
        "bias": shipped["bias"],
        "typical": shipped["typical"],
        "thresholds": shipped["thresholds"],
        "error_rates": shipped["error_rates"],
        "files": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        },
    }


def _drawn_canvases() -> np.ndarray:
    return synthetic.canvases(range(10_000, 10_004)).pixels[..., None].astype(np.float32)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="what training.train wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="what training.evaluate wrote")
    parser.add_argument("--version", required=True, help="the model version, and the folder's name")
    parser.add_argument("--out", type=Path, default=Path("embeddings/bundles"))
    chosen = parser.parse_args(arguments)
    try:
        written = write_bundle(chosen.run, chosen.evaluation, chosen.version, chosen.out)
    except (BrokenRun, FileExistsError) as problem:
        sys.exit(f"error: {problem}")
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    Console().print(f"{written}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
