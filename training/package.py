"""Packs this code for SageMaker: one tar.gz with what trains, the script that starts it, and what it needs."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = "countersign_train.py"
START = b"""from training.container import check_image, reported

with reported():  # around the imports too: an outdated image fails in them
    check_image()
    from training.train import main

    main()
"""


def pack(into: Path) -> Path:
    """Writes `code-HASH.tar.gz`; the same code gives the same bytes, so an upload is made once."""
    files = {PROGRAM: START, "requirements.txt": (ROOT / "training" / "requirements-container.txt").read_bytes()}
    for folder in ("embeddings", "training"):
        for path in sorted((ROOT / folder).glob("*")):
            if path.suffix == ".py" or path.name == "folds.json":
                files[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w") as archive,
    ):
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    target = into / f"code-{hashlib.sha256(packed.getvalue()).hexdigest()[:16]}.tar.gz"
    into.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed.getvalue())
    return target
