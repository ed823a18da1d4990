"""The worker process: work that no request should wait for."""

import os
import signal
import socket
import threading

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service import jobs, reembedding
from service.audit_worker import Sealer
from service.batch_worker import Batches
from service.database import Database
from service.models import Activation
from service.product import Product
from service.settings import Settings

log = structlog.get_logger()

STOP_SECONDS = 20  # for the row in hand, which may wait for a remote tower; cut off, it is taken up again
POLL_SECONDS = 1.0  # a rollback is urgent, and asking costs next to nothing


def work(settings: Settings, stopped: threading.Event | None = None) -> None:
    """Runs due jobs until SIGTERM or SIGINT; a job in hand is finished first."""
    stopped = stopped or _stop_on_signals()
    name = f"{socket.gethostname()}:{os.getpid()}"
    database = Database(settings.database_url, pool_size=1)
    activations = Activations(settings, name, stopped)
    batches = Batches(settings, name, stopped)
    batches.start()
    sealer = Sealer(settings, name, stopped)
    sealer.start()
    log.info("worker_started", worker=name)
    while not stopped.is_set():
        try:
            for job, result in jobs.run_due(database, settings, name):
                log.info("job_done", job=job, result=result)
            activations.advance(database)
        except SQLAlchemyError as problem:
            log.error("job_failed", problem=type(problem).__name__)  # leased work is taken up again later
        stopped.wait(POLL_SECONDS)
    batches.join(STOP_SECONDS)
    sealer.join(STOP_SECONDS)
    activations.close()
    database.close()
    log.info("worker_stopped", worker=name)


class Activations:
    """Opens what an activation needs, a vault and models, with the first one: most workers never see one."""

    def __init__(self, settings: Settings, worker: str, stopped: threading.Event) -> None:
        self._settings = settings
        self._worker = worker
        self._stopped = stopped
        self._product: Product | None = None

    def advance(self, database: Database) -> None:
        with database.asking() as connection:
            if connection.scalar(select(Activation.id).where(Activation.slot == 1)) is None:
                return
        if self._product is None:
            self._product = Product.assemble(self._settings)
        result = reembedding.advance(self._product, self._worker, self._stopped)
        if result is not None:
            log.info("job_done", job=reembedding.JOB, result=result)

    def close(self) -> None:
        if self._product is not None:
            self._product.close()


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
