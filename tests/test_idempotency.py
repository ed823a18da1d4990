import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from service.enrolment import read_specimens
from service.errors import Refused
from service.idempotency import LEASE, Answer, Claim, claim, complete
from service.models import IdempotentRequest
from tests.support.images import signature
from tests.support.world import World, parts

A_DAY = 24


@pytest.fixture
def key(world: World) -> dict[str, str]:
    return {"Idempotency-Key": world.new_id("key")}


def test_a_replay_answers_the_same_bytes_and_does_nothing_twice(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    first = _enrol(world.api, customer_id, key)
    after_first = world.counts()

    second = _enrol(world.api, customer_id, key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert world.counts() == after_first


def test_a_replayed_verification_is_not_a_second_one(world: World, key: dict[str, str]) -> None:
    account = world.new_id()
    world.enrol(world.new_id(), signature("ada"), accounts=[account])

    def verify() -> httpx.Response:
        path = f"/v1/accounts/{account}/verifications"
        return world.api.post(path, files=parts("image", signature("ada")), headers=key)

    assert verify().content == verify().content
    assert len(world.api.get("/v1/verifications", params={"account_id": account}).json()["items"]) == 1


def test_another_body_under_the_same_key_is_a_mismatch(world: World, key: dict[str, str]) -> None:
    customer_id, other = world.new_id(), world.new_id()
    _enrol(world.api, customer_id, key)
    before = world.counts()

    answers = [_enrol(world.api, other, key), _enrol(world.api, customer_id, key, image=signature("bruno"))]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "idempotency_mismatch")] * 2
    assert world.counts() == before


@pytest.mark.parametrize("how", ["another_boundary", "another_order", "json"])
def test_the_same_fields_are_the_same_request_however_they_are_written(
    world: World, key: dict[str, str], how: str
) -> None:
    customer_id, account, image = world.new_id(), world.new_id(), signature("ada")
    first = _post_form(world, key, "one", [("customer_id", customer_id), ("account_id", account)], image)

    if how == "another_boundary":
        again = _post_form(world, key, "two", [("customer_id", customer_id), ("account_id", account)], image)
    elif how == "another_order":
        again = _post_form(world, key, "one", [("account_id", account), ("customer_id", customer_id)], image)
    else:
        fields = {"account_ids": [account], "customer_id": customer_id}
        encoded = base64.b64encode(image).decode()
        again = world.api.post("/v1/customers", json={**fields, "specimens": [encoded]}, headers=key)

    assert first.status_code == 201
    assert again.content == first.content


def test_a_request_in_flight_answers_409_to_its_repetition(world: World, key: dict[str, str], held: "Held") -> None:
    customer_id = world.new_id()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(_enrol, world.api, customer_id, key)
        held.wait()
        repetition = _enrol(world.api, customer_id, key)
        held.let_go()

    assert (repetition.status_code, repetition.json()["code"]) == (409, "idempotency_in_progress")
    assert first.result().status_code == 201
    assert _enrol(world.api, customer_id, key).content == first.result().content


def test_two_identical_requests_at_once_make_one_customer(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    together = threading.Barrier(4)

    def enrol(_: int) -> httpx.Response:
        together.wait()
        return _enrol(world.api, customer_id, key)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(enrol, range(4)))

    made = [answer for answer in answers if answer.status_code == 201]
    assert made
    assert {answer.content for answer in made} == {made[0].content}
    waiting = [answer.json()["code"] for answer in answers if answer.status_code != 201]
    assert set(waiting) <= {"idempotency_in_progress"}
    assert len(world.api.get(f"/v1/customers/{customer_id}").json()["specimens"]) == 1


def test_a_key_belongs_to_one_caller(world: World, key: dict[str, str]) -> None:
    first, second = world.new_id(), world.new_id()
    _enrol(world.api, first, key)

    with world.client("enrol") as colleague:
        answer = _enrol(colleague, second, key)

    assert answer.status_code == 201
    assert answer.json()["customer_id"] == second


def test_a_key_belongs_to_one_route(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    _enrol(world.api, customer_id, key)

    comparison = world.api.post(
        "/v1/comparisons",
        files=parts("image_a", signature("ada")) + parts("image_b", signature("ada")),
        headers=key,
    )
    removed = world.api.delete(f"/v1/customers/{customer_id}", headers=key)

    assert (comparison.status_code, removed.status_code) == (200, 200)
    assert "receipt_id" in removed.json()


def test_a_refused_request_frees_its_key(world: World, key: dict[str, str]) -> None:
    customer_id, account = world.new_id(), world.new_id()
    path = f"/v1/accounts/{account}/verifications"
    before = world.counts()

    refused = world.api.post(path, files=parts("image", signature("ada")), headers=key)
    assert refused.status_code == 404
    assert world.counts() == before

    world.enrol(customer_id, signature("ada"), accounts=[account])
    assert world.api.post(path, files=parts("image", signature("ada")), headers=key).status_code == 201


def test_a_request_that_broke_frees_its_key(
    world: World, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = world.new_id()

    def broken(*_given: object, **_named: object) -> None:
        raise RuntimeError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr("service.enrolment.record", broken)
        assert _enrol(world.api, customer_id, key).status_code == 500

    assert _enrol(world.api, customer_id, key).status_code == 201


def test_a_replay_after_an_erasure_answers_erased_and_makes_nobody(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    _enrol(world.api, customer_id, key)
    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()
    before = world.counts()

    replay = _enrol(world.api, customer_id, key)

    assert (replay.status_code, replay.json()["code"]) == (410, "erased")
    assert world.counts() == before
    assert world.api.get(f"/v1/customers/{customer_id}").status_code == 404


def test_a_replay_after_one_specimen_was_removed_answers_erased(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))
    path = f"/v1/customers/{customer_id}/specimens"
    added = world.api.post(path, files=parts("specimen", signature("ada", 1)), headers=key)
    world.api.delete(f"{path}/{added.json()['items'][0]['specimen_id']}").raise_for_status()

    replay = world.api.post(path, files=parts("specimen", signature("ada", 1)), headers=key)

    assert (replay.status_code, replay.json()["code"]) == (410, "erased")


def test_a_repeated_removal_answers_the_same_receipt(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))

    first = world.api.delete(f"/v1/customers/{customer_id}", headers=key)
    second = world.api.delete(f"/v1/customers/{customer_id}", headers=key)
    without_key = world.api.delete(f"/v1/customers/{customer_id}")

    assert first.status_code == 200
    assert second.content == first.content
    assert without_key.status_code == 404


def test_a_repeated_removal_spares_the_person_who_has_the_id_now(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))
    world.api.delete(f"/v1/customers/{customer_id}", headers=key).raise_for_status()
    world.enrol(customer_id, signature("bruno"))

    world.api.delete(f"/v1/customers/{customer_id}", headers=key).raise_for_status()

    assert world.api.get(f"/v1/customers/{customer_id}").status_code == 200


def test_a_repeated_specimen_removal_answers_the_same_receipt(world: World, key: dict[str, str]) -> None:
    customer = world.enrol(world.new_id(), signature("ada"))
    path = f"/v1/customers/{customer['customer_id']}/specimens/{customer['specimens'][0]['specimen_id']}"

    assert world.api.delete(path, headers=key).content == world.api.delete(path, headers=key).content


def test_a_claim_whose_process_died_is_taken_over_after_the_lease(
    world: World, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = world.new_id()

    class Killed(BaseException):
        """Not even cleaning up happens when a process dies."""

    def die(*_given: object, **_named: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("service.enrolment.record", die)
        patched.setattr("service.idempotency.release", lambda *_given: None)
        with pytest.raises(Killed):
            _enrol(world.api, customer_id, key)

    at_once = _enrol(world.api, customer_id, key)
    assert (at_once.status_code, at_once.json()["code"]) == (409, "idempotency_in_progress")
    _let_leases_run_out(world)
    assert _enrol(world.api, customer_id, key).status_code == 201


def test_work_that_outlived_its_lease_is_rolled_back(world: World, key: dict[str, str], held: "Held") -> None:
    customer_id = world.new_id()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_enrol, world.api, customer_id, key)
        held.wait()
        _let_leases_run_out(world)  # as if another request had taken the key over in between
        held.let_go()

    assert (slow.result().status_code, slow.result().json()["code"]) == (409, "idempotency_in_progress")
    assert world.api.get(f"/v1/customers/{customer_id}").status_code == 404
    assert _enrol(world.api, customer_id, key).status_code == 201


def test_a_key_is_free_again_when_its_time_is_over(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    _enrol(world.api, customer_id, key)
    with world.product.database.writing() as session:
        session.execute(update(IdempotentRequest).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))

    again = _enrol(world.api, customer_id, key)

    assert (again.status_code, again.json()["code"]) == (409, "customer_exists")


def test_of_many_requests_that_find_an_expired_key_one_gets_it(world: World) -> None:
    scope, print_ = b"s" + world.new_id().encode()[:31], b"p" * 32
    database, vault = world.product.database, world.product.vault
    claim(database, vault, scope, print_, hours=-1)
    together = threading.Barrier(4)

    def try_to_claim(_: int) -> object:
        together.wait()
        try:
            return claim(database, vault, scope, print_, A_DAY)
        except Refused as refused:
            return refused.code

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(try_to_claim, range(4)))

    assert sum(isinstance(result, Claim) for result in results) == 1
    assert results.count("idempotency_in_progress") == 3


def test_an_answer_that_names_somebody_who_is_gone_is_not_kept(world: World) -> None:
    """A search that was still running when the person was erased would bring the id back into the database."""
    database, vault = world.product.database, world.product.vault
    scope, print_ = b"s" + world.new_id().encode()[:31], b"p" * 32
    running = claim(database, vault, scope, print_, A_DAY)
    assert isinstance(running, Claim)

    with database.writing() as session:
        complete(session, vault, running, Answer(200, "somebody"), ["an owner nobody has"])

    assert _stored(world, scope) == ("erased", None)


def test_a_kept_answer_is_sealed(world: World, key: dict[str, str]) -> None:
    customer_id = world.new_id()
    _enrol(world.api, customer_id, key)

    with world.product.database.reading() as session:
        kept = session.scalars(select(IdempotentRequest).order_by(IdempotentRequest.id.desc())).first()

    assert kept is not None
    assert kept.sealed is not None
    assert customer_id.encode() not in kept.sealed


@pytest.mark.parametrize("bad", ["", "x" * 256, "a\tb"])
def test_an_unusable_key_is_refused(world: World, bad: str) -> None:
    before = world.counts()

    answer = _enrol(world.api, world.new_id(), {"Idempotency-Key": bad})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert world.counts() == before


def test_a_key_on_a_read_does_nothing(world: World, key: dict[str, str]) -> None:
    before = world.counts()

    world.api.get("/v1/customers", headers=key).raise_for_status()

    assert world.counts() == before


class Held:
    """Keeps one enrolment inside its transaction until it is let go."""

    def __init__(self) -> None:
        self._inside, self._free = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self._inside.set()
        assert self._free.wait(20)

    def wait(self) -> None:
        assert self._inside.wait(20)

    def let_go(self) -> None:
        self._free.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """An enrolment is held before its first statement: after it SQLite lets nobody else write."""
    held = Held()

    def read(*given: Any) -> object:
        held.pass_through()
        return read_specimens(*given)

    monkeypatch.setattr("service.api.customers.read_specimens", read)
    yield held
    held.let_go()


def _enrol(
    api: httpx.Client, customer_id: str, headers: dict[str, str], image: bytes = signature("ada")
) -> httpx.Response:
    return api.post(
        "/v1/customers", data={"customer_id": customer_id}, files=parts("specimen", image), headers=headers
    )


def _post_form(
    world: World, key: dict[str, str], boundary: str, fields: list[tuple[str, str]], image: bytes
) -> httpx.Response:
    lines = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    )
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="specimen"; filename="{boundary}"\r\n\r\n'.encode()
    return world.api.post(
        "/v1/customers",
        content=lines + file + image + f"\r\n--{boundary}--\r\n".encode(),
        headers={**key, "Content-Type": f"multipart/form-data; boundary={boundary}"},
    )


def _let_leases_run_out(world: World) -> None:
    with world.product.database.writing() as session:
        long_ago = datetime.now(UTC) - LEASE - timedelta(seconds=1)
        running = IdempotentRequest.state == "running"
        session.execute(update(IdempotentRequest).where(running).values(started_at=long_ago))


def _stored(world: World, scope: bytes) -> tuple[str, bytes | None]:
    with world.product.database.reading() as session:
        row = session.scalars(select(IdempotentRequest).where(IdempotentRequest.scope_hash == scope)).one()
        return row.state, row.sealed
