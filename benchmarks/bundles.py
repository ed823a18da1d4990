"""The bundle under measurement, and one with templates of a size that is asked for."""

import json
import os
import shutil
from pathlib import Path

from benchmarks.child import measure_apart
from embeddings.bundle import MANIFEST, Bundle, load
from embeddings.encoder import Encoder


def current() -> Bundle:
    """`COUNTERSIGN_BUNDLE`, or the one that ships."""
    return Encoder.load(os.environ.get("COUNTERSIGN_BUNDLE")).bundle


def renamed(version: str, folder: Path) -> Path:
    """The current bundle under another version. Checksums cover the files that the manifest lists, not itself."""
    shutil.copytree(current().folder, folder)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"model_version": version}), "utf-8")
    return folder


def of_dimension(dimension: int, folder: Path) -> Bundle:
    """The current bundle if its templates have this size, otherwise a stand-in with a tower that only averages."""
    bundle = current()
    if bundle.dimension == dimension:
        return bundle
    measure_apart("benchmarks.stand_in", {"dimension": dimension, "folder": str(folder)})
    return load(folder)
