"""How gunicorn runs the application. Modules are imported before the fork and shared; everything that holds a thread,
a connection or a model is made after it."""

import os
import shutil
import tempfile
from typing import Any

from service.first_reading import FirstReading
from service.settings import load_settings

_settings = load_settings()
# Of the process that reads ahead and of the server's. Linux alone has memory without a name.
first_reading = FirstReading(_settings.workers + 1) if hasattr(os, "memfd_create") else None

# The metrics library reads this when it is first imported, so it is set before anything else is.
_folder = os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="countersign-metrics-"))

bind = _settings.bind
workers = _settings.workers
worker_class = "service.gunicorn_worker.Worker"
preload_app = True
timeout = 60
graceful_timeout = 20
keepalive = 5
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108 (a heartbeat file must not wait for a disk)
limit_request_line = 4096
limit_request_fields = 64
loglevel = "warning"


def when_ready(_server: Any) -> None:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    host, _, port = _settings.metrics_bind.rpartition(":")
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(int(port), host.strip("[]"), registry)


def post_worker_init(worker: Any) -> None:
    from service.api.endpoint import PRODUCT
    from service.product import Product

    worker.wsgi.extensions[PRODUCT] = Product.open(_settings, first_reading)


def worker_exit(_server: Any, worker: Any) -> None:
    from service.api.endpoint import PRODUCT

    opened = worker.wsgi.extensions.get(PRODUCT)
    if opened is not None:
        opened.close()


def child_exit(_server: Any, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    if first_reading is not None:
        first_reading.forget()


def on_exit(_server: Any) -> None:
    shutil.rmtree(_folder, ignore_errors=True)
