"""Where signatures come from: a folder, an archive or an S3 prefix, in CEDAR's layout or with a CSV manifest."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from training import aws, datasets
from training.archives import Limits, UnreadableArchive, is_archive, unpack
from training.datasets import BrokenDataset, Signature

MANIFEST = "manifest.csv"
KINDS = {"genuine": True, "forged": False}


def bring(source: str, work: Path, progress: Progress, limits: Limits | None = None) -> Path:
    """A folder with the images of `source`, fetched and unpacked under `work` unless they are there already."""
    if aws.is_s3(source):
        fetched = work / "fetched"
        aws.download_prefix(source, fetched, progress)
        archives = [path for path in fetched.iterdir() if is_archive(path.name)]
        return _unpacked(archives[0], work, progress, limits) if len(archives) == 1 else fetched
    path = Path(source)
    if path.is_file() and is_archive(path.name):
        return _unpacked(path, work, progress, limits)
    if not path.is_dir():
        raise BrokenDataset(f"{source} is no folder, no archive (zip, tar, rar) and no s3:// prefix")
    return path


def _unpacked(archive: Path, work: Path, progress: Progress, limits: Limits | None) -> Path:
    """Unpacked once: the marker is written when all of it is out, and says which archive it was."""
    folder, marker = work / "unpacked", work / "unpacked.json"
    facts = {"name": archive.name, "bytes": archive.stat().st_size, "changed": archive.stat().st_mtime_ns}
    if marker.exists() and json.loads(marker.read_text("utf-8")) == facts:
        return folder
    marker.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    task = progress.add_task(f"unpacking {archive.name}", total=None)
    try:
        for _ in unpack(archive, folder, limits):
            progress.advance(task)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # what came before the hostile part is not kept either
        raise
    if not folder.is_dir():
        raise UnreadableArchive(f"{archive} holds no image")
    progress.update(task, total=progress.tasks[task].completed)
    marker.write_text(json.dumps(facts), "utf-8")
    return folder


def read(folder: Path, name: str) -> list[Signature]:
    """The signatures of a folder, by the first layout that fits in it or in the one folder that it holds.

    manifest.csv              columns path, writer, kind (genuine or forged) and, optionally, text
    full_org/, full_forg/     CEDAR, also inside of `signatures/`
    genuine/WRITER/*.png      and forged/WRITER/*.png; owners are called `name/WRITER`
    cedar/, cross-media-chinese/    several of them side by side

    Raises BrokenDataset.
    """
    for looks_like, reader in _LAYOUTS:
        if looks_like(folder):
            return reader(folder, name)
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if len(inside) == 1:
        return read(inside[0], name)
    raise BrokenDataset(
        f"{folder} has no layout that is known here. Give CEDAR's (full_org/original_W_N.png, full_forg/...), "
        f"genuine/WRITER/*.png with forged/WRITER/*.png, or a {MANIFEST} with columns path, writer, kind"
    )


def manifest(folder: Path, name: str) -> list[Signature]:
    """`manifest.csv`: one row an image, paths relative to it. Raises BrokenDataset naming the line."""
    with (folder / MANIFEST).open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        lacking = {"path", "writer", "kind"} - set(rows.fieldnames or ())
        if lacking:
            raise BrokenDataset(f"{folder / MANIFEST} lacks the columns {', '.join(sorted(lacking))}")
        found = [_row(folder, name, number, row) for number, row in enumerate(rows, 2)]
    if not found:
        raise BrokenDataset(f"{folder / MANIFEST} lists no image")
    return sorted(found)


def _row(folder: Path, name: str, line: int, row: dict[str, str]) -> Signature:
    where = f"{folder / MANIFEST}, line {line}"
    path = (folder / (row["path"] or "")).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise BrokenDataset(f"{where}: {row['path']} leads out of the folder")
    if not path.is_file():
        raise BrokenDataset(f"{where}: there is no file {row['path']}")
    if not row["writer"] or row["kind"] not in KINDS:
        raise BrokenDataset(f"{where}: give a writer, and kind genuine or forged")
    owner = f"{name}/{row['writer']}"
    return Signature(owner, KINDS[row["kind"]], path, f"{name}/{row['text']}" if row.get("text") else owner)


def _several(folder: Path) -> list[Signature]:
    found = datasets.cedar(folder / "cedar")
    broad = folder / "cross-media-chinese"
    return sorted(found + (datasets.cross_media(broad) if broad.is_dir() else []))


_LAYOUTS: list[tuple[Callable[[Path], bool], Callable[[Path, str], list[Signature]]]] = [
    (lambda folder: (folder / MANIFEST).is_file(), manifest),
    (lambda folder: (folder / "full_org").is_dir(), lambda folder, _: datasets.cedar(folder)),
    (lambda folder: (folder / "genuine").is_dir(), datasets.by_folder),
    (lambda folder: (folder / "cedar").is_dir(), lambda folder, _: _several(folder)),
]
