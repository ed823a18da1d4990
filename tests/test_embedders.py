"""Processes that embed for an activation: what they give, that they stand back, and how they end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from embeddings.encoder import Encoder
from embeddings.errors import UnusableImage
from service import embedders
from service.embedders import Embed
from service.settings import Settings
from tests.support.images import signature
from tests.support.server import ROOT
from tests.support.world import wait_until

MANY = embedders.FEW + 1

LEFT_ALONE = """
import os, signal
from embeddings.encoder import Encoder
from service.embedders import embedders
from service.settings import Settings

if __name__ == "__main__":
    with embedders(Settings(activation_threads=1), Encoder.load(), 1_000) as embed:
        embed([]).result()
        print(os.getpid(), flush=True)
        signal.pause()
"""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture(scope="module")
def embed(encoder: Encoder) -> Iterator[Embed]:
    with embedders.embedders(Settings(activation_threads=1), encoder, MANY) as opened:
        yield opened


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_process_gives_what_this_process_gives_problems_in_their_places(embed: Embed, encoder: Encoder) -> None:
    images = [signature("ada"), b"no image", signature("bruno")]

    ada, problem, bruno = embed(images).result()

    assert isinstance(problem, UnusableImage)
    assert (problem.index, problem.code) == (1, "image_format")
    assert np.array_equal(ada, encoder.enrol(images[0]))
    assert np.array_equal(bruno, encoder.enrol(images[2]))


def test_it_stands_back_behind_requests_and_holds_no_connection(embed: Embed) -> None:
    embed([]).result()

    (child,) = children()
    assert child.nice() == min(psutil.Process().nice() + embedders.NICE, 19)
    assert not child.net_connections()


def test_it_ends_with_whoever_started_it_however_that_ended() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", LEFT_ALONE], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    started = psutil.Process(parent.pid).children(recursive=True)
    assert started

    parent.send_signal(signal.SIGKILL)

    parent.wait(20)
    parent.stdout.close()
    wait_until(lambda: not any(process.is_running() for process in started))
