"""What a job leaves in S3: `model.tar.gz`, fetched, unpacked and believed only if it is whole."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

from training.aws import CloudProblem, Place, download
from training.checksums import checksum
from training.container import SUMS


class BrokenModel(RuntimeError):
    """`model.tar.gz` is not what the job wrote."""


def fetch(s3: Any, source: Place, out: Path) -> Path:
    """Downloads and unpacks a job's model to `out`, once; raises CloudProblem or BrokenModel."""
    if (out / SUMS).exists():
        check(out, source)
        return out
    archive = out.with_name(f"{out.name}.tar.gz")
    try:
        download(s3, source, archive)
    except CloudProblem as problem:
        raise BrokenModel(f"{problem} (the job may still be uploading: --attach again)") from problem
    fresh = out.with_name(f"{out.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(fresh, filter="data")
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise BrokenModel(f"{source} is cut short or damaged ({problem}): run the job again") from problem
    finally:
        archive.unlink(missing_ok=True)
    check(fresh, source)
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
    return out


def check(folder: Path, source: Place | Path) -> None:
    """Every file that the training sealed must be there, unchanged. Raises BrokenModel."""
    try:
        sums = json.loads((folder / SUMS).read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise BrokenModel(f"{source} holds no {SUMS}: the training did not end well; see the log") from problem
    for name, expected in sums.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise BrokenModel(f"{source} lacks {name}: run the job again")
        if checksum(path) != expected:
            raise BrokenModel(f"{source}: {name} has another checksum than the training wrote; run the job again")
