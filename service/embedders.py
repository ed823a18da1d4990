"""Who embeds many images beside the requests, and behind them.

They are processes of low priority. As threads they would share an interpreter with the transaction that everybody
else who writes is waiting for, and it would wait for those who stand back. They are given images and give vectors: no
key, no database.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from embeddings.encoder import Encoder, Vectors
from embeddings.errors import UnusableImage
from service import logs
from service.settings import Settings
from service.towers import open_encoder

FEW = 32
"""One thread has embedded so many before a process is ready."""

NICE = 10

Answer = Vectors | UnusableImage
Embed = Callable[[Sequence[bytes]], Future[list[Answer]]]


@contextmanager
def embedders(settings: Settings, encoder: Encoder, images: int) -> Iterator[Embed]:
    """For about so many images in all. What they answer raises what the tower raises, and `BrokenExecutor` where a
    process was killed."""
    pool: Executor
    if images <= FEW:
        pool, embed = ThreadPoolExecutor(1, initializer=_stand_back), encoder.enrol_each
    else:
        pool, embed = _processes(settings, encoder.bundle.folder), _embed
    try:
        yield lambda some: pool.submit(embed, some)
    finally:
        pool.shutdown(cancel_futures=True)


def _processes(settings: Settings, bundle: Path) -> Executor:
    apart = multiprocessing.get_context("spawn")  # a fork would share this process's open connections
    return ProcessPoolExecutor(settings.activation_threads, apart, _begin, (settings, bundle))


def _begin(settings: Settings, bundle: Path) -> None:
    global _encoder
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _stand_back()
    logs.configure(settings.log_level)
    _encoder = open_encoder(settings, bundle)


def _embed(images: Sequence[bytes]) -> list[Answer]:
    return _encoder.enrol_each(images)


def _end_with_parent() -> None:
    """Whoever is killed tells nobody, and an executor's process would wait for it without end."""
    cast("multiprocessing.process.BaseProcess", multiprocessing.parent_process()).join()
    os._exit(1)


def _stand_back() -> None:
    """Verifications come first where cores are scarce. Linux lowers one thread, and nobody may raise it again."""
    with suppress(OSError):
        me = os.PRIO_PROCESS, threading.get_native_id()
        os.setpriority(*me, os.getpriority(*me) + NICE)


_encoder: Encoder
"""Of a process, made as it begins."""
