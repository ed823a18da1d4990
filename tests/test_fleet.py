"""Two servers, each with a worker, on one PostgreSQL: whoever joins or leaves through one does so on both."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.images import signature
from tests.support.postgres import Postgres
from tests.support.server import Server, free_port
from tests.support.world import parts, wait_until

WORKERS = 2  # of each server
CLERKS = 3
ROUNDS = 12
TICK = 1.0  # seconds after which a process has caught up although nobody asks it anything
SLACK = 5.0  # seconds that a loaded machine may take to let that process and this one run

Clients = list[httpx.Client]


@dataclass
class Branch:
    """One of the servers, and where it tells its metrics."""

    server: Server
    metrics: str

    def index_sizes(self) -> list[int]:
        """How many templates each of its processes holds in memory."""
        told = httpx.get(self.metrics).text
        return [
            int(float(size)) for size in re.findall(r"^countersign_index_templates\{.*\} (\S+)$", told, re.MULTILINE)
        ]


@pytest.fixture(scope="module")
def branches(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Branch]]:
    folder, url = tmp_path_factory.mktemp("fleet"), postgres.new_database()
    opened = []
    for number in range(2):
        metrics = f"127.0.0.1:{free_port()}"
        settings = {
            "COUNTERSIGN_WORKERS": str(WORKERS),
            "COUNTERSIGN_METRICS_BIND": metrics,
            "COUNTERSIGN_LOG_LEVEL": "warning",
            "COUNTERSIGN_INDEX_REFRESH_SECONDS": str(TICK),
        }
        server = Server(folder, url, settings).start(migrate=number == 0)
        opened.append(Branch(server, f"http://{metrics}/metrics"))
    yield opened
    for branch in opened:
        branch.server.stop()


@pytest.fixture
def connect(branches: list[Branch]) -> Iterator[Callable[[], Clients]]:
    """Clients of both servers, for one thread, with one key that is good at both."""
    headers = {"Authorization": f"Bearer {branches[0].server.key()}"}
    opened: Clients = []

    def connected() -> Clients:
        clients = [httpx.Client(base_url=branch.server.url, headers=headers, timeout=60) for branch in branches]
        opened.extend(clients)
        return clients

    yield connected
    for client in opened:
        client.close()


@dataclass
class Ledger:
    """When who was known to have joined, began to leave, and was known to have left."""

    joined: dict[str, float] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)

    def present(self) -> list[str]:
        return [customer_id for customer_id in list(self.joined) if customer_id not in self.leaving]


def join(client: httpx.Client, ledger: Ledger, customer_id: str) -> None:
    answer = client.post(
        "/v1/customers",
        data={"customer_id": customer_id, "account_id": f"account-{customer_id}"},
        files=parts("specimen", signature(customer_id)),
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["specimens"][0]["status"] == "active"
    ledger.joined[customer_id] = time.monotonic()


def leave(client: httpx.Client, ledger: Ledger, customer_id: str) -> None:
    ledger.leaving[customer_id] = time.monotonic()
    answer = client.delete(f"/v1/customers/{customer_id}")
    assert answer.status_code == 200, answer.text
    ledger.left[customer_id] = time.monotonic()


def found(client: httpx.Client, customer_id: str) -> list[str]:
    """Whom a search for this customer's signature finds, best first."""
    answer = client.post("/v1/searches", data={"limit": "100"}, files=parts("image", signature(customer_id)))
    assert answer.status_code == 200, answer.text
    return [hit["customer_id"] for hit in answer.json()["items"]]


def verify(client: httpx.Client, customer_id: str) -> httpx.Response:
    image = parts("image", signature(customer_id))
    return client.post(f"/v1/accounts/account-{customer_id}/verifications", files=image)


def come_and_go(clients: Clients, ledger: Ledger, name: str) -> None:
    """What one server answered, the other one knows from the next request on."""
    for turn in range(ROUNDS):
        customer_id = f"{name}-{turn}"
        here, there = random.sample(clients, 2)
        join(here, ledger, customer_id)
        assert found(there, customer_id)[0] == customer_id
        answer = verify(there, customer_id)
        assert answer.status_code == 201, answer.text
        assert [candidate["customer_id"] for candidate in answer.json()["candidates"]] == [customer_id]
        if turn % 3 == 0:
            continue
        here, there = random.sample(clients, 2)
        leave(here, ledger, customer_id)
        for client in (there, here):
            assert customer_id not in found(client, customer_id)
            assert verify(client, customer_id).json()["code"] == "account_not_enrolled"


def watch(clients: Clients, ledger: Ledger, finished: threading.Event) -> int:
    """Searches anywhere: nobody who had left before it is found, nobody who is there all the while is missed."""
    searches = 0
    while not finished.is_set():
        known = list(ledger.joined)
        if not known:
            continue
        sought = random.choice(known)
        began = time.monotonic()
        hits = found(random.choice(clients), sought)
        ended = time.monotonic()
        assert [hit for hit in hits if ledger.left.get(hit, ended) < began] == []
        if ledger.joined[sought] < began and ledger.leaving.get(sought, ended) >= ended:
            assert hits[0] == sought
        searches += 1
    return searches


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nobody_who_left_is_matched_and_nobody_present_is_missed_on_any_server(
    branches: list[Branch], connect: Callable[[], Clients]
) -> None:
    ledger, finished = Ledger(), threading.Event()

    with ThreadPoolExecutor(CLERKS + 2) as pool:
        watchers = [pool.submit(watch, connect(), ledger, finished) for _ in range(2)]
        try:
            for clerk in [pool.submit(come_and_go, connect(), ledger, f"clerk{number}") for number in range(CLERKS)]:
                clerk.result()
        finally:
            finished.set()
        assert sum(watcher.result() for watcher in watchers) > 0

    assert len(ledger.left) == CLERKS * ROUNDS * 2 // 3
    assert len(ledger.present()) == CLERKS * ROUNDS // 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_after_someone_left_the_signature_is_in_the_memory_of_no_process(
    branches: list[Branch], connect: Callable[[], Clients]
) -> None:
    """Although nobody searches there. The rule is one second, which the tick keeps; the slack is for this machine."""
    ledger = Ledger()
    here, there = connect()

    def every_process_holds(count: int) -> bool:
        return [branch.index_sizes() for branch in branches] == [[count] * WORKERS] * len(branches)

    before = _customers(here)
    for number in range(3):
        join(here, ledger, f"customer-{number}")
    wait_until(lambda: every_process_holds(before + 3), TICK + SLACK)
    leave(here, ledger, "customer-0")
    wait_until(lambda: every_process_holds(before + 2), TICK + SLACK)
    leave(there, ledger, "customer-1")
    leave(here, ledger, "customer-2")
    wait_until(lambda: every_process_holds(before), TICK + SLACK)


def _customers(client: httpx.Client) -> int:
    return len(client.get("/v1/customers", params={"limit": 100}).json()["items"])
