"""`serve`: the HTTP server and a worker, started and stopped together.

Both are forked from a process that has imported everything: imports are most of a start, and their memory is shared.
"""

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import cast

import structlog
from sqlalchemy.engine import make_url

from service.policy import load_policy
from service.settings import Settings

log = structlog.get_logger()

RESTART_SECONDS = 1.0
HELP_SECONDS = 60.0
"""By then every process of a start has its templates, from the one that read ahead or by itself."""

# In this order: the configuration says where metrics are kept, which is read when the application is imported.
SHARED = ("service.gunicorn_conf", "wsgi", "gunicorn.app.wsgiapp", "service.worker")


def run(settings: Settings) -> int:
    """Until one of them ends or a signal comes; a worker that dies is started again. The server's exit status.
    Raises `BadSetting` where the policy is unusable, before anything is started."""
    load_policy(settings.policy)
    importlib.import_module(SHARED[0])
    started = time.monotonic()
    reader: BaseProcess | None = _start(_read_ahead, settings)
    for module in SHARED:
        importlib.import_module(module)
    make_url(settings.database_url).get_dialect().import_dbapi()
    gc.freeze()  # a collection would write to pages that are shared, and so copy them
    server = _start(_serve)
    worker = _start(_work, settings)
    log.info("serving", bind=settings.bind, metrics=settings.metrics_bind)

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(cast("int", server.pid), number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    try:
        while server.is_alive():
            if reader is not None and (reader.exitcode or time.monotonic() - started > HELP_SECONDS):
                _dismiss(reader)
                reader = None
            if not worker.is_alive():
                log.error("worker_died", status=worker.exitcode)
                time.sleep(RESTART_SECONDS)
                worker = _start(_work, settings)
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.join(timeout=30)
        if reader is not None:
            _dismiss(reader)
    return server.exitcode or 0


def _start(work: Callable[..., None], *arguments: object) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def _serve() -> None:
    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]

    sys.argv = ["gunicorn", "--config", "python:service.gunicorn_conf", "wsgi:app"]
    run()


def _work(settings: Settings) -> None:
    from service.worker import work

    _stand_apart()
    work(settings)


def _dismiss(reader: BaseProcess) -> None:
    """Its help is over, and what nobody took of it goes: it must not outlive an erasure."""
    from service.gunicorn_conf import first_reading

    reader.kill()  # also one that was stopped
    reader.join()
    if first_reading is not None:
        first_reading.forget()


def _read_ahead(settings: Settings) -> None:
    """Helps the start and may fail: then the server's processes read for themselves, and say what is wrong."""
    from service.gunicorn_conf import first_reading
    from service.product import Product

    _stand_apart()
    if first_reading is not None:
        try:
            Product.read_ahead(settings, first_reading)
        except Exception as problem:
            log.info("not_read_ahead", problem=type(problem).__name__)
            first_reading.forget()


def _stand_apart() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # one that is started again inherits the supervisor's
    # Ctrl-C in a terminal reaches the supervisor, which then stops all in order. In a session of its own it would not
    # stand back either: Linux compares priorities within a session only.
    os.setpgid(0, 0)
