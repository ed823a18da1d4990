"""Whoever works on a batch is killed in the middle: the next goes on, and no row is verified twice or lost."""

import csv
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select

from service.database import Database
from service.models import BatchRow, Event, Verification
from tests.support.images import signature
from tests.support.server import ROOT, Server
from tests.support.world import parts, wait_until
from tests.test_batches import form, manifest

ROWS = 300
KILLS = 3


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    settings = {"COUNTERSIGN_WORKERS": "1", "COUNTERSIGN_LOG_LEVEL": "warning"}
    started = Server(tmp_path, database_url, settings).start()
    with started.client() as http:
        answer = http.post(
            "/v1/customers",
            data={"customer_id": "ada", "account_id": "4711"},
            files=parts("specimen", signature("ada"), signature("ada", 1)),
        )
        assert answer.status_code == 201, answer.text
    yield started
    started.stop()


def verified(server: Server) -> tuple[int, int, int]:
    """Verifications, events of them, and different verifications that rows refer to."""
    database = Database(server.database_url, pool_size=1)
    with database.reading() as session:
        made = session.scalar(select(func.count()).select_from(Verification)) or 0
        events = session.scalar(select(func.count()).where(Event.kind == "signature_verified")) or 0
        rows = session.scalar(select(func.count(BatchRow.verification_id.distinct()))) or 0
    database.close()
    return made, events, rows


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_is_followed_by_another_that_does_the_rest(server: Server) -> None:
    named = {f"{number}.png": signature("ada", number % 5) for number in range(ROWS)}
    with server.client() as http:
        batch = http.post("/v1/batches", files=form(manifest(*(["4711", name] for name in named)), named)).json()

        def progress() -> dict[str, Any]:
            shown: dict[str, Any] = http.get(f"/v1/batches/{batch['batch_id']}", params={"limit": 1}).json()
            return shown

        seen = 0
        for _ in range(KILLS):
            before = seen
            wait_until(lambda before=before: progress()["done"] > before, 120)
            server.kill()
            server.start(migrate=False)
            seen = progress()["done"]
            assert 0 < seen < ROWS
        wait_until(lambda: progress()["state"] == "done", 240)

        assert (progress()["done"], progress()["failed"]) == (ROWS, 0)
    assert verified(server) == (ROWS, ROWS, ROWS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_command_line_goes_on_where_it_was(server: Server, tmp_path: Path, processes: int) -> None:
    server.stop()
    (tmp_path / "scans").mkdir()
    for number in range(5):
        (tmp_path / "scans" / f"{number}.png").write_bytes(signature("ada", number))
    listed = tmp_path / "monday.csv"
    listed.write_bytes(manifest(*(["4711", f"scans/{number % 5}.png"] for number in range(ROWS))))
    out = tmp_path / "results.csv"
    command = [sys.executable, "-m", "service", "verify-batch", str(listed), "--out", str(out)]
    command += ["--processes", str(processes)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=server.environment, cwd=ROOT, stderr=subprocess.DEVNULL)

    def lines() -> int:
        return out.read_bytes().count(b"\n") if out.exists() else 0

    for _ in range(KILLS):
        before = lines()
        run = start()
        wait_until(lambda before=before: lines() > before + 1, 120)
        children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGKILL)
        run.wait(20)
        assert lines() <= ROWS
        _, left = psutil.wait_procs(children, 20)
        assert not left  # they do not outlive the run
    run = start()
    assert run.wait(240) == 0

    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [str(number) for number in range(1, ROWS + 1)]
    assert len({row["verification_id"] for row in rows}) == ROWS
    assert verified(server) == (ROWS, ROWS, ROWS)
    assert not out.with_name("results.csv.batch").exists()
