"""`serve`: the HTTP server and a worker, started and stopped together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import structlog

from service.settings import Settings

log = structlog.get_logger()

ROOT = Path(__file__).parent.parent
RESTART_SECONDS = 1.0


def run(settings: Settings) -> int:
    """Until one of them ends or a signal comes; a worker that dies is started again. The server's exit status."""
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "python:service.gunicorn_conf", "wsgi:app"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    worker = _start_worker()
    log.info("serving", bind=settings.bind, metrics=settings.metrics_bind)

    def forward(number: int, _frame: FrameType | None) -> None:
        server.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    try:
        while server.poll() is None:
            if worker.poll() is not None:
                log.error("worker_died", status=worker.returncode)
                time.sleep(RESTART_SECONDS)
                worker = _start_worker()
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    return server.returncode


def _start_worker() -> subprocess.Popen[bytes]:
    # A process group of its own: Ctrl-C in a terminal reaches the supervisor, which then stops both in order.
    return subprocess.Popen(
        [sys.executable, "-m", "service", "worker"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        start_new_session=True,
    )
