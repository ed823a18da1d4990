"""At a start every server process needs the same templates. One process reads and opens them while the others are
still importing, and those copy: half a second less with 100,000 templates.

The copy lies in memory without a name, in no file system, and goes as soon as the last process has it.
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PATIENCE_SECONDS = 20
_HEAD = struct.Struct("<4q64s")  # processes still to come, seq, templates, dimension, model version


class Snapshot(NamedTuple):
    """Every active template of one model version as of change `seq`: ids int64 (n,), vectors float32 (n, d)."""

    seq: int
    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    model_version: str


class FirstReading:
    """Made before the fork. Whoever comes first reads; one that comes later, in place of one that died, reads for
    itself."""

    def __init__(self, processes: int) -> None:
        self._others = processes - 1  # besides the one that reads
        self._file = os.memfd_create("templates")

    def take(self, read: Callable[[], Snapshot]) -> Snapshot:
        """The templates, by `read` in the process that comes first. Raises what `read` does."""
        with self._alone(PATIENCE_SECONDS) as alone:
            if alone and os.fstat(self._file).st_size == 0:
                snapshot = read()
                self._keep(snapshot)
                return snapshot
            if alone:
                still, *head = _HEAD.unpack(os.pread(self._file, _HEAD.size, 0))
                snapshot_left = self._copy(*head) if still else None
                self._set_still(max(still - 1, 0))  # also where somebody died while writing
                if snapshot_left is not None:
                    return snapshot_left
        return read()

    def forget(self) -> None:
        """A process died, perhaps before it came here; what it did not take must not outlive an erasure."""
        with self._alone(1):
            self._set_still(0)

    @contextmanager
    def _alone(self, seconds: float) -> Iterator[bool]:
        """Whether nobody else is in here; false after so many seconds, for whoever is may have been stopped. The lock
        is the whole process's: one that dies leaves it free."""
        alone = False
        deadline = time.monotonic() + seconds
        while not alone and time.monotonic() < deadline:
            with suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            if not alone:
                time.sleep(0.01)
        try:
            yield alone
        finally:
            if alone:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _keep(self, snapshot: Snapshot) -> None:
        if not self._others:
            return
        at = _HEAD.size
        for part in (snapshot.ids, snapshot.vectors):
            at += _write(self._file, _bytes_of(part), at)
        templates, dimension = snapshot.vectors.shape
        head = _HEAD.pack(self._others, snapshot.seq, templates, dimension, snapshot.model_version.encode())
        os.pwrite(self._file, head, 0)

    def _copy(self, seq: int, templates: int, dimension: int, model_version: bytes) -> Snapshot:
        ids = np.empty(templates, np.int64)
        vectors = np.empty((templates, dimension), np.float32)
        at = _HEAD.size
        for part in (ids, vectors):
            at += _read(self._file, _bytes_of(part), at)
        return Snapshot(seq, ids, vectors, model_version.rstrip(b"\0").decode())

    def _set_still(self, processes: int) -> None:
        os.pwrite(self._file, struct.pack("<q", processes), 0)
        if not processes:
            os.ftruncate(self._file, _HEAD.size)  # gives the memory back


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """The memory of a contiguous array."""
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type] # a Buffer since Python 3.12


def _write(file: int, content: memoryview, at: int) -> int:
    done = 0
    while done < len(content):  # one call writes 2 GiB at most
        done += os.pwrite(file, content[done:], at + done)
    return done


def _read(file: int, into: memoryview, at: int) -> int:
    done = 0
    while done < len(into):
        done += os.preadv(file, [into[done:]], at + done)
    return done
