"""The worker process: work that no request should wait for."""

import os
import signal
import socket
import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service import jobs
from service.database import Database
from service.settings import Settings

log = structlog.get_logger()

POLL_SECONDS = 5.0


def work(settings: Settings, stopped: threading.Event | None = None) -> None:
    """Runs due jobs until SIGTERM or SIGINT; a job in hand is finished first."""
    stopped = stopped or _stop_on_signals()
    name = f"{socket.gethostname()}:{os.getpid()}"
    database = Database(settings.database_url, pool_size=1)
    log.info("worker_started", worker=name)
    while not stopped.is_set():
        try:
            for job, result in jobs.run_due(database, settings, name):
                log.info("job_done", job=job, result=result)
        except SQLAlchemyError as problem:
            log.error("job_failed", problem=type(problem).__name__)  # leased work is taken up again later
        stopped.wait(POLL_SECONDS)
    database.close()
    log.info("worker_stopped", worker=name)


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
