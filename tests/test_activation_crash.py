"""A worker is killed in the middle of an activation, with its server: the next start goes on where it was."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from service.database import Database
from service.models import Specimen, Template
from tests.support.bundles import copy_bundle
from tests.support.images import signature
from tests.support.server import Server
from tests.support.world import parts, wait_until

PEOPLE = 160
KILLS = 2
PER_SECOND = 20  # slow enough to be killed in the middle
NEW = "9.0.0"


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    copy_bundle(tmp_path / "models", NEW)
    settings = {
        "COUNTERSIGN_WORKERS": "1",
        "COUNTERSIGN_LOG_LEVEL": "warning",
        "COUNTERSIGN_MODELS": str(tmp_path / "models"),
        "COUNTERSIGN_ACTIVATION_RATE": str(PER_SECOND),
    }
    started = Server(tmp_path, database_url, settings).start()
    yield started
    started.stop()


def enrol(http: httpx.Client, number: int) -> None:
    fields = {"customer_id": f"c{number}", "account_id": f"a{number}"}
    answer = http.post("/v1/customers", data=fields, files=parts("specimen", signature(number % 7)))
    assert answer.status_code == 201, answer.text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_activation_goes_on_and_embeds_every_specimen_once(server: Server) -> None:
    with server.client() as http:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: enrol(http, number), range(PEOPLE)))
        started = http.post(f"/v1/models/{NEW}/activation", json={"mode": "switch"}).json()

        def progress() -> dict[str, int]:
            answer: dict[str, int] = http.get(f"/v1/activations/{started['activation_id']}").json()
            return answer

        seen = 0
        for _ in range(KILLS):
            before = seen
            wait_until(lambda before=before: progress()["done"] > before, 120)
            server.kill()
            server.start(migrate=False)
            seen = progress()["done"]
            assert 0 < seen < PEOPLE
        enrol(http, PEOPLE)
        http.delete("/v1/customers/c0").raise_for_status()
        wait_until(lambda: progress()["state"] == "done", 120)

        answer = http.post(f"/v1/accounts/a{PEOPLE}/verifications", files=parts("image", signature(PEOPLE % 7)))
        assert (answer.status_code, answer.json()["model_version"]) == (201, NEW)
    database = Database(server.database_url, pool_size=1)
    with database.reading() as session:
        specimens = set(session.scalars(select(Specimen.id)))
        templates = Counter(session.scalars(select(Template.specimen_id).where(Template.model_version == NEW)))
    database.close()
    assert templates == dict.fromkeys(specimens, 1)
    assert len(specimens) == PEOPLE
