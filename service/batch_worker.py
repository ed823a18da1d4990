"""The worker's part in batches: the rows whose images lie in the database, each batch a while in its turn.

A batch is leased, so that workers take different ones. The lease only spares work: should it run out under a row that
takes long, two workers judge that row and one of them commits it.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from service import batches, jobs, metrics
from service.batches import IMAGE, Row, RowTaken
from service.database import Database, Overtaken
from service.errors import Refused
from service.models import Batch, BatchRow, Job
from service.product import Product
from service.settings import Settings
from service.vault import SealedValue

log = structlog.get_logger()

LEASE = timedelta(seconds=20)
"""So long nobody goes on where a worker was killed."""

TURN_SECONDS = 5.0
"""Well below the lease. After it the next batch has its turn: a small one does not wait for a large one to end."""

AT_A_TIME = 32
POLL_SECONDS = 1.0
NICE = 10


class Batches(threading.Thread):
    """Beside the worker's jobs, which an hour of rows must not hold up. Opens a vault and models with the first
    batch: most workers never see one."""

    def __init__(self, settings: Settings, worker: str, stopped: threading.Event) -> None:
        super().__init__(name="batches", daemon=True)
        self._settings = settings
        self._worker = worker
        self._stopped = stopped
        self._database = Database(settings.database_url, pool_size=1)
        self._product: Product | None = None

    def run(self) -> None:
        _stand_back()
        while not self._stopped.is_set():
            try:
                worked = self._work()
            except Exception as problem:
                log.error("batches_failed", problem=type(problem).__name__)  # rows are taken up again
                worked = 0
            self._stopped.wait(0 if worked else POLL_SECONDS)
        if self._product is not None:
            self._product.close()
        self._database.close()

    def _work(self) -> int:
        waiting = count_waiting(self._database)
        metrics.batch_rows_waiting.set(waiting)
        if not waiting:
            return 0
        if self._product is None:
            self._product = Product.assemble(self._settings)
        return advance(self._product, self._worker, self._stopped)


def count_waiting(database: Database) -> int:
    left = select(func.sum(Batch.total - Batch.done - Batch.failed))
    with database.asking() as connection:
        return connection.scalar(left.where(Batch.state == "running", Batch.actor != batches.OPERATOR)) or 0


def advance(product: Product, worker: str, stopped: threading.Event) -> int:
    """Gives each batch that waits and that no other worker has a turn, oldest first; how many rows were answered."""
    product.models.hear()
    answered = 0
    with product.database.asking() as connection:
        running = select(Batch.id).where(Batch.state == "running", Batch.actor != batches.OPERATOR)
        waiting = connection.scalars(running.order_by(Batch.id)).all()
    for batch in waiting:
        if stopped.is_set() or not jobs.lease(product.database, _job(batch), worker, LEASE):
            continue
        try:
            answered += _turn(product, batch, stopped)
        finally:
            _end_turn(product.database, batch, worker)
    return answered


def _turn(product: Product, batch: int, stopped: threading.Event) -> int:
    """Ends early where the model or the database gives no answer: the rows wait, and are taken up again."""
    answered, ends = 0, monotonic() + TURN_SECONDS
    while rows := _waiting(product.database, batch):
        for row in rows:
            if stopped.is_set() or monotonic() > ends:
                return answered
            try:
                batches.answer(product, row, partial(_image, product, row))
                answered += 1
            except RowTaken:
                continue
            except (Refused, Overtaken, SQLAlchemyError) as problem:
                log.warning("batch_waits", batch=batch, problem=str(getattr(problem, "code", type(problem).__name__)))
                return 0
    return answered


def _waiting(database: Database, batch: int) -> Sequence[Row]:
    wanted = (
        select(BatchRow.id, BatchRow.batch_id, Batch.actor, Batch.counts_misses, BatchRow.fields)
        .join(Batch, Batch.id == BatchRow.batch_id)
        .where(BatchRow.batch_id == batch, BatchRow.state == "waiting")
        .order_by(BatchRow.id)
        .limit(AT_A_TIME)
    )
    with database.asking() as connection:
        return [Row(*row) for row in connection.execute(wanted)]


def _image(product: Product, row: Row) -> bytes:
    """Raises `RowTaken` where it is gone, and `SealBroken`."""
    wanted = (
        select(Batch.batch_id, BatchRow.key_id, BatchRow.nonce, BatchRow.sealed)
        .join(BatchRow, BatchRow.batch_id == Batch.id)
        .where(BatchRow.id == row.id, BatchRow.state == "waiting")
    )
    with product.database.asking() as connection:
        found: Any = connection.execute(wanted).one_or_none()
    if found is None:
        raise RowTaken
    return product.vault.open(found.batch_id, IMAGE, SealedValue(found.key_id, found.nonce, found.sealed))


def _end_turn(database: Database, batch: int, worker: str) -> None:
    """A batch that is done needs no lease any more."""
    jobs.release(database, _job(batch), worker)
    with database.writing() as session:
        done = select(Batch.id).where(Batch.id == batch, Batch.state == "done").exists()
        session.execute(delete(Job).where(Job.name == _job(batch), Job.leased_by.is_(None), done))


def _job(batch: int) -> str:
    return f"batch-{batch}"


def _stand_back() -> None:
    """Requests come first where cores are scarce. Linux lowers one thread, and nobody may raise it again."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
