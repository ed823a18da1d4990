"""Unpacks archives that somebody else made. Only images and manifests come out, and nothing lands outside the folder.

An archive that tries more than that (a path that climbs, a link, a bomb) is refused as a whole: whoever packed it
meant harm or made a mistake, and a training set of what is left would be wrong in either case.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

WANTED = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".csv"}
ZIP, TAR, RAR = (".zip",), (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), (".rar", ".7z")


class HostileArchive(ValueError):
    """The archive holds what no collection of images needs; nothing of it is used."""


class UnreadableArchive(ValueError):
    """The archive is damaged, encrypted, or of a kind that this machine cannot read; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """What an honest collection stays under. CEDAR has 2,640 files in 260 MB; images hardly compress."""

    bytes: int = 8 << 30
    files: int = 500_000
    file_bytes: int = 64 << 20


@dataclass(frozen=True)
class Member:
    name: str
    is_file: bool
    is_folder: bool
    blocks: Iterable[bytes]


def is_archive(name: str) -> bool:
    return name.lower().endswith(ZIP + TAR + RAR)


def unpack(archive: Path, into: Path, limits: Limits | None = None) -> Iterator[int]:
    """Writes the images and CSV files of `archive` under `into`; yields the bytes of each. Raises HostileArchive or
    UnreadableArchive, and then whatever was written is no use."""
    limits, total, count = limits or Limits(), 0, 0
    with closing(_members(archive)) as members:
        for member in members:
            target = _place(member, into, archive)
            if target is None:
                continue
            count += 1
            if count > limits.files:
                raise HostileArchive(f"{archive}: more than {limits.files} files; raise --max-files if that is right")
            size = _write(member, target, limits, archive, limits.bytes - total)
            total += size
            yield size


def _place(member: Member, into: Path, archive: Path) -> Path | None:
    """Where a member goes; None where it is not wanted."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise HostileArchive(f"{archive}: {member.name!r} leads out of the folder")
    if not member.is_file and not member.is_folder:
        raise HostileArchive(f"{archive}: {member.name!r} is a link or a device; pack plain files only")
    junk = path.name.startswith(".") or "__MACOSX" in path.parts
    if member.is_folder or junk or path.suffix.lower() not in WANTED:
        return None
    return into.joinpath(*path.parts)


def _write(member: Member, target: Path, limits: Limits, archive: Path, left: int) -> int:
    """Counts what really comes out: the sizes in an archive's directory are claims."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with target.open("wb") as file:
        for block in member.blocks:
            size += len(block)
            if size > min(limits.file_bytes, left):
                raise HostileArchive(
                    f"{archive}: {member.name!r} unpacks to more than allowed "
                    f"({limits.file_bytes >> 20} MiB a file, {limits.bytes >> 30} GiB in all); "
                    "raise --max-gib if that is right"
                )
            file.write(block)
    return size


def _members(archive: Path) -> Iterator[Member]:
    name = archive.name.lower()
    reader = _zip if name.endswith(ZIP) else _tar if name.endswith(TAR) else _libarchive
    try:
        yield from reader(archive)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError) as problem:
        if isinstance(problem, RuntimeError) and "password" in str(problem):
            raise UnreadableArchive(f"{archive} is encrypted; unpack it yourself and give the folder") from problem
        raise UnreadableArchive(f"{archive} cannot be read to its end ({problem}); fetch it again") from problem


def _zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            plain = mode in (0, stat.S_IFREG)
            yield Member(info.filename, plain and not info.is_dir(), info.is_dir(), _zip_blocks(opened, info))


def _zip_blocks(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with opened.open(info) as file:
        while block := file.read(1 << 20):
            yield block


def _tar(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, "r|*") as opened:  # a stream: a name that repeats is seen as often as it is there
        for info in opened:
            yield Member(info.name, info.isreg(), info.isdir(), _tar_blocks(opened, info))


def _tar_blocks(opened: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    file = opened.extractfile(info)
    while file is not None and (block := file.read(1 << 20)):
        yield block


def _libarchive(archive: Path) -> Iterator[Member]:
    try:
        import libarchive
    except (ImportError, AttributeError, OSError, TypeError) as problem:  # the package without the library
        raise UnreadableArchive(
            f"{archive}: rar and 7z are read through libarchive, which is missing here. Install it "
            "(apt-get install libarchive13 && pip install libarchive-c), or unpack the archive and give the folder."
        ) from problem
    try:
        with libarchive.file_reader(os.fspath(archive)) as entries:
            for entry in entries:
                yield Member(entry.pathname, entry.isfile, entry.isdir, entry.get_blocks())
    except libarchive.exception.ArchiveError as problem:
        raise UnreadableArchive(f"{archive} cannot be read to its end ({problem}); fetch it again") from problem
