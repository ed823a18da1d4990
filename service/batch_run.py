"""One run over a manifest whose images are files, in this process or in several."""

import multiprocessing
import os
import signal
import threading
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service import batches, logs
from service.batch_files import read_image
from service.batches import Result, Row, RowTaken
from service.database import Overtaken
from service.errors import Refused
from service.manifest import Entry
from service.models import Batch, BatchRow
from service.product import Product
from service.settings import Settings

AHEAD = 16
"""Rows in hand or done before their turn to be written, for each process: accounts come unevenly."""


class Interrupted(Exception):
    """What remains waits until the same run is started again; the message says why."""


@dataclass(frozen=True)
class Run:
    settings: Settings
    batch: int
    folder: Path


def results(run: Run, entries: Sequence[Entry], processes: int) -> Generator[tuple[Entry, Result], None, None]:
    """In the order of the entries. Raises `Interrupted`.

    All rows of an account go to one process, in order: a copy of an earlier row is then known for one, as it would be
    if they were asked one by one.
    """
    if processes == 1:
        yield from _results_here(run, entries)
        return
    context = multiprocessing.get_context("spawn")  # of a fork, threads and connections would be left over
    pools = [ProcessPoolExecutor(1, context, initializer=_open, initargs=(run,)) for _ in range(processes)]

    def submit(entry: Entry) -> Future[Result | str]:
        return pools[zlib.crc32(entry.account_id.encode()) % processes].submit(_answer, entry)

    try:
        coming: deque[tuple[Entry, Future[Result | str]]] = deque()
        left = iter(entries)
        while True:
            room = AHEAD * processes - len(coming)
            coming += [(entry, submit(entry)) for entry in islice(left, room)]
            if not coming:
                return
            entry, future = coming.popleft()
            yield entry, _checked(future.result())
    except BrokenProcessPool as problem:
        raise Interrupted("a process died") from problem
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _results_here(run: Run, entries: Sequence[Entry]) -> Generator[tuple[Entry, Result], None, None]:
    with closing(_Answerer(run)) as answerer:
        for entry in entries:
            yield entry, _checked(answerer.answer(entry))


def _checked(answered: Result | str) -> Result:
    if isinstance(answered, str):
        raise Interrupted(answered)
    return answered


class _Answerer:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._product = Product.assemble(run.settings)
        self._product.models.hear()

    def answer(self, entry: Entry) -> Result | str:
        """Also of a row that was answered before; or why there is none for now: an exception may not travel well."""
        try:
            row = self._waiting(entry)
            if row is not None:
                self._answer(row, entry)
            with self._product.database.reading() as session:
                return batches.get_result(session, self._run.batch, entry.position)
        except Refused as refused:
            return refused.code
        except (SQLAlchemyError, Overtaken) as problem:
            return f"the database does not do its work ({type(problem).__name__})"

    def close(self) -> None:
        self._product.close()

    def _answer(self, row: Row, entry: Entry) -> None:
        most_bytes = self._run.settings.max_image_mb * 2**20
        try:
            batches.answer(self._product, row, partial(read_image, self._run.folder, entry.image, most_bytes))
        except RowTaken:
            return  # by a process of a run that was killed

    def _waiting(self, entry: Entry) -> Row | None:
        wanted = select(BatchRow.id, BatchRow.batch_id, Batch.actor, Batch.counts_misses, BatchRow.fields).join(Batch)
        waiting = wanted.where(
            BatchRow.batch_id == self._run.batch, BatchRow.position == entry.position, BatchRow.state == "waiting"
        )
        with self._product.database.asking() as connection:
            found = connection.execute(waiting).one_or_none()
        return None if found is None else Row(*found)


_of_process: list[_Answerer] = []
"""The one of a process of the pool."""


def _open(run: Run) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the run, which ends its processes in order
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logs.configure(run.settings.log_level)
    _of_process.append(_Answerer(run))


def _answer(entry: Entry) -> Result | str:
    return _of_process[0].answer(entry)


def _die_with_parent() -> None:
    """The pool's processes would wait forever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
