"""Killing the server at any moment loses nothing that was answered, and leaves nothing half there."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from embeddings.encoder import Encoder
from service.customers import open_identity
from service.database import Database
from service.enrolment import IMAGE
from service.keystore import KeyStore
from service.models import Customer, Event, Mandate, Receipt, Signatory, Specimen, Template, TemplateChange
from service.search_index import SearchIndex
from service.templates import open_vector
from service.vault import SealedValue, Vault
from tests.support.images import signature
from tests.support.server import Server
from tests.support.world import parts, wait_until

CLIENTS = 4
MOST_ANSWERS_IN_A_LIFE = 30


@dataclass
class Teller:
    """One client: lets people join, adds specimens and lets people leave, one request after the other.

    Nobody else changes these people, so `present` (to their specimens) is exactly what was answered. When the server
    dies, `unanswered` is the one request of which nobody knows whether it was done.
    """

    name: str
    chance: random.Random
    present: dict[str, list[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    unanswered: tuple[str, str, int] | None = None
    answers: int = 0
    surprises: list[str] = field(default_factory=list)
    joined: int = 0

    def work(self, url: str, key: str) -> None:
        """Until the server dies."""
        with _client(url, key) as http:
            while self.unanswered is None:
                try:
                    self._do_something(http)
                except httpx.TransportError:
                    return
                self.unanswered = None

    def _do_something(self, http: httpx.Client) -> None:
        what = self.chance.choice(["join", "join", "add", "leave"]) if self.present else "join"
        count = self.chance.randint(1, 2)
        if what == "join":
            self.joined += 1
            customer_id = f"{self.name}-{self.joined}"
            self.unanswered = (what, customer_id, count)
            answer = http.post(
                "/v1/customers",
                data={"customer_id": customer_id, "account_id": f"account-{self.name}"},
                files=parts("specimen", *(signature(customer_id, variant) for variant in range(count))),
            )
            if self._expected(answer, 201):
                self.present[customer_id] = [entry["specimen_id"] for entry in answer.json()["specimens"]]
            return
        customer_id = self.chance.choice(list(self.present))
        self.unanswered = (what, customer_id, count)
        if what == "add":
            images = [signature(customer_id, self.chance.randint(2, 9)) for _ in range(count)]
            answer = http.post(f"/v1/customers/{customer_id}/specimens", files=parts("specimen", *images))
            if self._expected(answer, 201):
                self.present[customer_id] += [entry["specimen_id"] for entry in answer.json()["items"]]
        elif self._expected(http.delete(f"/v1/customers/{customer_id}"), 200):
            del self.present[customer_id]
            self.gone.add(customer_id)

    def _expected(self, answer: httpx.Response, status: int) -> bool:
        self.answers += 1
        if answer.status_code != status:
            self.surprises.append(f"{answer.status_code} {answer.text}")
        return answer.status_code == status

    def settle(self, http: httpx.Client) -> None:
        """The request without an answer was done as a whole or not at all; which, is only known now."""
        assert self.unanswered is not None
        what, customer_id, count = self.unanswered
        self.unanswered = None
        found = _specimens(http, customer_id)
        before = self.present.pop(customer_id, None)
        if what == "join":
            assert found is None or len(found) == count
        elif what == "leave":
            assert found is None or found == before
        else:
            assert before is not None
            assert found is not None
            assert found[: len(before)] == before
            assert len(found) in {len(before), len(before) + count}
        if found is None:
            self.gone.add(customer_id)
        else:
            self.present[customer_id] = found

    def check(self, http: httpx.Client, most: int) -> None:
        """Over HTTP, of at most so many: whoever is present is found by their own signature, whoever left is not."""
        for customer_id in self._some(list(self.present), most):
            assert _specimens(http, customer_id) == self.present[customer_id]
            assert _found(http, customer_id)[0] == customer_id
        for customer_id in self._some(sorted(self.gone), most):
            assert _specimens(http, customer_id) is None
            assert customer_id not in _found(http, customer_id)

    def _some(self, customer_ids: list[str], most: int) -> list[str]:
        return self.chance.sample(customer_ids, min(most, len(customer_ids)))


def _client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def _specimens(http: httpx.Client, customer_id: str) -> list[str] | None:
    answer = http.get(f"/v1/customers/{customer_id}")
    if answer.status_code == 404:
        return None
    assert answer.status_code == 200
    return [entry["specimen_id"] for entry in answer.json()["specimens"]]


def _found(http: httpx.Client, customer_id: str) -> list[str]:
    answer = http.post("/v1/searches", data={"limit": "100"}, files=parts("image", signature(customer_id)))
    assert answer.status_code == 200
    return [hit["customer_id"] for hit in answer.json()["items"]]


@dataclass
class Auditor:
    """Looks into the database behind the server's back, with an index that lives through all of its deaths."""

    database: Database
    vault: Vault
    model_version: str
    dimension: int

    def __post_init__(self) -> None:
        self.index = self.new_index()

    def new_index(self) -> SearchIndex:
        index = SearchIndex(self.database, self.vault, self.model_version, self.dimension)
        index.catch_up()
        return index

    def check(self, tellers: list[Teller]) -> None:
        present = {name: specimens for teller in tellers for name, specimens in teller.present.items()}
        with self.database.reading() as session:
            self._check_people(session, present)
            self._check_accounts(session, len(present))
            self._check_changes(session)
            self._check_events(session, len(present))
            active = set(
                session.scalars(select(Template.vector_id).join(Specimen).where(Specimen.status == "active"))
            )
        self.index.catch_up()
        assert self.index.vector_ids() == active
        assert self.new_index().vector_ids() == active

    def _check_people(self, session: Session, present: dict[str, list[str]]) -> None:
        customers = session.scalars(select(Customer)).all()
        stored = {open_identity(self.vault, customer).customer_id: customer for customer in customers}
        assert stored.keys() == present.keys()
        for customer_id, customer in stored.items():
            assert [specimen.specimen_id for specimen in customer.specimens] == present[customer_id]
            for specimen in customer.specimens:
                sealed = SealedValue(specimen.key_id, specimen.nonce, specimen.sealed)
                assert self.vault.open(customer.owner, IMAGE, sealed).startswith(b"\x89PNG")
                (template,) = specimen.templates
                assert len(open_vector(self.vault, customer.owner, template)) == self.dimension
        wanted = sum(map(len, present.values()))
        for table in (Specimen, Template):
            assert session.scalar(select(func.count()).select_from(table)) == wanted

    def _check_accounts(self, session: Session, people: int) -> None:
        in_force = select(Signatory).where(Signatory.superseded_at.is_(None))
        signatories = session.scalars(in_force).all()
        assert len(signatories) == people
        assert all(signatory.customer_id is not None for signatory in signatories)
        mandates = session.scalars(select(Mandate.account_id).where(Mandate.superseded_at.is_(None))).all()
        assert {signatory.account_id for signatory in signatories} <= set(mandates)

    def _check_changes(self, session: Session) -> None:
        """The last change of every vector says what the database holds of it."""
        changes = session.execute(select(TemplateChange.vector_id, TemplateChange.op).order_by(TemplateChange.seq))
        last = {row.vector_id: row.op for row in changes}
        rows = session.execute(select(Template.vector_id, Specimen.status).join(Specimen)).all()
        assert {row.vector_id for row in rows if row.status == "active"} == {
            vector_id for vector_id, op in last.items() if op == "add"
        }
        assert {row.vector_id for row in rows}.isdisjoint(
            vector_id for vector_id, op in last.items() if op == "remove"
        )

    def _check_events(self, session: Session, people: int) -> None:
        kinds = Counter(session.scalars(select(Event.kind)))
        assert kinds["customer_enrolled"] - kinds["customer_removed"] == people
        assert session.scalar(select(func.count()).select_from(Receipt)) == kinds["customer_removed"]


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path, database_url, {"COUNTERSIGN_WORKERS": "2", "COUNTERSIGN_LOG_LEVEL": "warning"}).start()
    yield started
    started.stop()


@pytest.fixture
def auditor(server: Server) -> Iterator[Auditor]:
    encoder = Encoder.load()
    database = Database(server.database_url)
    vault = Vault(KeyStore.open(f"file:{server.folder / 'keystore.json'}", may_create=False))
    yield Auditor(database, vault, encoder.model_version, encoder.dimension)
    database.close()


def live_and_die(server: Server, key: str, tellers: list[Teller], answers: int) -> None:
    """The server is killed at the moment of so many answers, whatever it is doing then."""
    clients = [threading.Thread(target=teller.work, args=(server.url, key)) for teller in tellers]
    before = sum(teller.answers for teller in tellers)
    for client in clients:
        client.start()
    wait_until(lambda: sum(teller.answers for teller in tellers) - before >= answers, 60)
    server.kill()
    for client in clients:
        client.join(60)
        assert not client.is_alive()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("database_url", "deaths"),
    [("sqlite", 20), ("postgresql", 5)],
    indirect=["database_url"],
    ids=["sqlite", "postgresql"],
)
def test_killing_the_server_loses_no_answer_and_leaves_nothing_half_there(
    server: Server, auditor: Auditor, deaths: int
) -> None:
    chance = random.Random()
    tellers = [Teller(f"t{number}", random.Random(chance.random())) for number in range(CLIENTS)]
    key = server.key()

    for death in range(deaths):
        live_and_die(server, key, tellers, chance.randint(1, MOST_ANSWERS_IN_A_LIFE))
        server.start(migrate=False)
        with _client(server.url, key) as http:
            for teller in tellers:
                teller.settle(http)
                teller.check(http, most=1000 if death == deaths - 1 else 1)
        auditor.check(tellers)
        assert [surprise for teller in tellers for surprise in teller.surprises] == []

    assert sum(teller.answers for teller in tellers) >= deaths
    assert any(teller.gone for teller in tellers)
