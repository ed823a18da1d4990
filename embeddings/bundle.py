"""A bundle: one model version as a folder with a tower, a head, thresholds, error rates and a card."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.error_rates import ErrorTable
from embeddings.head import Head
from embeddings.preprocess import CANVAS, PREPROCESSING_VERSION

FORMAT = 3
MANIFEST = "bundle.json"
TOWER = "tower.tflite"


class BrokenBundle(ValueError):
    """The folder is not a bundle that this version can serve; the message says which part and why."""


@dataclass(frozen=True)
class Thresholds:
    accept: float
    reject: float


@dataclass(frozen=True)
class Bundle:
    folder: Path
    model_version: str
    dimension: int
    head: Head
    thresholds: Thresholds
    error_rates: ErrorTable

    @property
    def tower(self) -> Path:
        return self.folder / TOWER

    @property
    def card(self) -> Path:
        return self.folder / "card.md"


def load(folder: Path) -> Bundle:
    """Reads a bundle and checks every file against its checksum; raises `BrokenBundle`."""
    manifest = _read_manifest(folder)
    _check_files(folder, manifest)
    try:
        _check_fit(manifest)
        return Bundle(
            folder=folder,
            model_version=str(manifest["model_version"]),
            dimension=int(manifest["dimension"]),
            head=Head(_finite(manifest["bias"]), _finite(manifest["typical"])),
            thresholds=_thresholds(manifest["thresholds"]),
            error_rates=ErrorTable.parse(manifest["error_rates"]),
        )
    except BrokenBundle:
        raise
    except (KeyError, TypeError, ValueError) as problem:
        raise BrokenBundle(f"{folder / MANIFEST} lacks or misspells {problem}") from problem


def version_of(folder: Path) -> str:
    """The model version that a folder says it holds, its files unchecked; raises `BrokenBundle`."""
    version = _read_manifest(folder).get("model_version")
    if not isinstance(version, str) or not version:
        raise BrokenBundle(f"{folder / MANIFEST} names no model_version")
    return version


def files_of(folder: Path) -> list[str]:
    """The files that the manifest in `folder` lists, relative to it, whether they are there or not: what a copy of
    the bundle needs beside the manifest. Raises `BrokenBundle`."""
    return list(_listed(folder, _read_manifest(folder)))


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except OSError as problem:
        raise BrokenBundle(f"{folder} holds no readable {MANIFEST}") from problem
    except ValueError as problem:
        raise BrokenBundle(f"{folder / MANIFEST} is not JSON") from problem
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BrokenBundle(f"{folder / MANIFEST} is not of bundle format {FORMAT}")
    return manifest


def _listed(folder: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Checksums by file, all of them inside of the folder."""
    files = manifest.get("files")
    if not isinstance(files, dict) or TOWER not in files:
        raise BrokenBundle(f"{folder / MANIFEST} lists no checksum of {TOWER}")
    for name in files:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise BrokenBundle(f"{folder / MANIFEST} names a file outside its folder: {name}")
    return files


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    for name, expected in _listed(folder, manifest).items():
        path = folder / name
        if not path.is_file():
            raise BrokenBundle(f"{folder} lacks {name}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise BrokenBundle(f"{path} was changed: its checksum is not the one in {MANIFEST}")


def _check_fit(manifest: dict[str, Any]) -> None:
    trained = manifest["preprocessing_version"]
    if trained != PREPROCESSING_VERSION:
        raise BrokenBundle(
            f"model {manifest['model_version']} was trained on preprocessing {trained}, "
            f"this version serves {PREPROCESSING_VERSION}: its scores would mean nothing"
        )
    if tuple(manifest["canvas"]) != CANVAS:
        raise BrokenBundle(f"the tower wants canvases of {manifest['canvas']}, preprocessing makes {CANVAS}")


def _finite(value: float) -> float:
    """JSON as Python reads it knows NaN and Infinity, which would make every score the same."""
    number = float(value)
    if not math.isfinite(number):
        raise BrokenBundle(f"every number must be finite, got {value}")
    return number


def _thresholds(values: dict[str, float]) -> Thresholds:
    thresholds = Thresholds(accept=float(values["accept"]), reject=float(values["reject"]))
    if not 0 < thresholds.reject <= thresholds.accept < 1:
        raise BrokenBundle(f"thresholds must satisfy 0 < reject <= accept < 1, got {values}")
    return thresholds
