"""A sealer that is killed at any moment leaves a trail that is true, and the next goes on where it was."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from service.audit_heads import FileHeads
from service.audit_proof import prove
from service.database import Database
from service.keystore import KeyStore
from service.models import AuditRecord, AuditSeal, Event
from service.signing import Signer
from tests.support.server import ROOT, Server
from tests.support.trail import SEED, Trail
from tests.support.world import wait_until

KILLS = 30

# Imports are most of a start, so one process makes them and forks a sealer for each line that it reads.
SEALERS = """
import os, sys, time
from pathlib import Path
from service import audit_sealer
from service.audit_heads import FileHeads
from service.audit_worker import Publisher, Turns
from service.database import Database
from service.signing import Signer
audit_sealer.AT_A_TIME = 3

def work():
    database = Database(sys.argv[1], pool_size=1)
    turns = Turns(database, Signer([bytes.fromhex(sys.argv[2])]), "sealer")
    publisher = Publisher(database, FileHeads(Path(sys.argv[3])), 0)
    turns.seal()
    print(os.getpid(), flush=True)
    while True:
        publisher.publish(turns.seal())
        time.sleep(0.002)

for line in sys.stdin:
    child = os.fork()
    if not child:
        work()
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def write(trail: Trail, stopped: threading.Event) -> None:
    while not stopped.is_set():
        trail.happen("x")
        time.sleep(0.01)


class Sealers:
    def __init__(self, url: str, heads: Path) -> None:
        command = [sys.executable, "-c", SEALERS, url, SEED.hex(), str(heads)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def live_and_die(self, seconds: float) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("live\n")
        self._process.stdin.flush()
        sealer = int(self._process.stdout.readline())
        time.sleep(seconds)
        os.kill(sealer, signal.SIGKILL)
        assert self._process.stdout.readline() == "dead\n"

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def sealers(database: Database, database_url: str, tmp_path: Path) -> Iterator[Sealers]:
    started = Sealers(database_url, tmp_path / "heads.jsonl")
    yield started
    started.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killing_the_sealer_at_random_moments_leaves_a_true_trail(
    database: Database, sealers: Sealers, tmp_path: Path
) -> None:
    trail, heads, stopped = Trail(database), FileHeads(tmp_path / "heads.jsonl"), threading.Event()
    lengths = []
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, trail, stopped)
        try:
            for _ in range(KILLS):
                sealers.live_and_die(random.random() * 0.2)
                lengths.append(trail.prove(heads.read()).records)
        finally:
            stopped.set()
        writing.result(20)
    trail.execute("UPDATE jobs SET leased_until = NULL")
    while trail.seal():
        pass

    assert lengths == sorted(lengths)
    assert len(set(lengths)) > KILLS / 2  # it was killed at work
    with database.reading() as session:
        records = Counter(session.scalars(select(AuditRecord.event_id)))
        assert records == dict.fromkeys(session.scalars(select(Event.id)), 1)
    assert trail.prove(heads.read()).waiting == 0


@pytest.mark.slow
def test_a_server_seals_what_happens_and_publishes_heads(sqlite_server: Server, tmp_path: Path) -> None:
    sqlite_server.stop()
    sqlite_server.settings["COUNTERSIGN_AUDIT_HEADS"] = f"file:{tmp_path / 'heads.jsonl'}"
    sqlite_server.start(migrate=False)

    with sqlite_server.client() as http:

        def shown() -> list[str]:
            answer: httpx.Response = http.get("/v1/audit")
            return [item["kind"] for item in answer.json()["items"]]

        wait_until(shown, 30)
    heads = FileHeads(tmp_path / "heads.jsonl")
    wait_until(lambda: list(heads.read()), 30)

    database = Database(sqlite_server.database_url, pool_size=1)
    keys = Signer(KeyStore.open(f"file:{tmp_path / 'keystore.json'}").signing).public
    proof = prove(database, keys, heads.read())
    with database.reading() as session:
        assert session.scalars(select(AuditSeal.number)).all() == list(range(1, proof.seals + 1))
    database.close()
    assert proof.records
    assert proof.heads
    assert "records under" in sqlite_server.command("audit", "verify")
