"""RESULTS.csv: one line a row, in the order of the manifest, written as answers come.

Beside it lies RESULTS.csv.batch for as long as a run is not at its end. It says which batch this is, and is there
before the batch is, so that a run that was killed at any moment is found again. What the file holds is only a copy of
the database: a line that a kill tore is cut off and written again.
"""

import csv
import fcntl
import io
import json
import os
import re
from pathlib import Path
from typing import Any

from service.batches import Result, new_id
from service.manifest import Entry

COLUMNS = (
    "row",
    "account_id",
    "image",
    "reference",
    "status",
    "code",
    "at_fault",
    "outcome",
    "score",
    "reasons",
    "verification_id",
)

_FORMULA = ("=", "+", "-", "@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class NotResumable(Exception):
    """The file is of another run, finished, or being written by somebody else; the message says which."""


class ResultsFile:
    def __init__(self, path: Path, manifest_hash: str) -> None:
        """Begins a run or finds again the one that was interrupted. Raises `NotResumable`, `OSError`."""
        self._path = path
        self._marker = path.with_name(f"{path.name}.batch")
        self._held = _hold(self._marker)
        try:
            self.batch_id = self._identify(manifest_hash)
            self.rows = self._mend()
            self._file = path.open("a", encoding="utf-8", newline="")
        except BaseException:
            os.close(self._held)
            raise

    def write(self, entry: Entry, result: Result) -> None:
        self._file.write(_line(entry, result))
        self._file.flush()  # survives this process; a power cut may take it, and then it is written again
        self.rows += 1

    def finish(self) -> None:
        os.fsync(self._file.fileno())
        self._marker.unlink()
        _sync_folder(self._path)

    def close(self) -> None:
        self._file.close()
        os.close(self._held)

    def _identify(self, manifest_hash: str) -> str:
        noted = os.pread(self._held, 4096, 0)
        try:
            run = json.loads(noted)
        except ValueError:  # new, or killed while it was written: then there is no batch yet
            if self._path.exists():
                self._marker.unlink()
                raise NotResumable(f"{self._path} is there already and not of an interrupted run") from None
            run = {"batch_id": new_id(), "manifest": manifest_hash}
            os.pwrite(self._held, json.dumps(run).encode(), 0)
            os.fsync(self._held)
            _sync_folder(self._path)
        if run["manifest"] != manifest_hash:
            raise NotResumable(f"{self._path} was begun with another manifest, or with this one before it changed")
        batch_id: str = run["batch_id"]
        return batch_id

    def _mend(self) -> int:
        """Cuts off what is not whole; how many rows there are."""
        header = ",".join(COLUMNS) + "\n"
        content = self._path.read_bytes() if self._path.exists() else b""
        if not content.startswith(header.encode()):
            self._path.write_text(header, "utf-8")
            return 0
        rows, kept = 0, len(header)
        for line in content[kept:].splitlines(keepends=True):
            if not line.startswith(f"{rows + 1},".encode()) or not line.endswith(b"\n"):
                break
            rows, kept = rows + 1, kept + len(line)
        os.truncate(self._path, kept)
        return rows


def neutral(value: str) -> str:
    """A value from outside as a cell that no spreadsheet takes for a formula, on one line."""
    value = _CONTROL.sub(" ", value)
    return f"'{value}" if value.lstrip().startswith(_FORMULA) else value


def _line(entry: Entry, result: Result) -> str:
    cells: tuple[Any, ...] = (
        entry.position,
        neutral(entry.account_id),
        neutral(entry.image),
        neutral(entry.fields.get("reference", "")),
        result.state,
        result.problem,
        " ".join(result.at_fault),
        result.outcome,
        result.score,
        " ".join(result.reasons),
        result.verification_id,
    )
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _hold(marker: Path) -> int:
    while True:
        held = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise NotResumable(f"another run is writing {marker.with_suffix('')}") from None
        if marker.exists() and os.path.samestat(os.fstat(held), marker.stat()):
            return held
        os.close(held)  # the run that held it has just finished and removed it


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
