"""How many requests a caller may send, and how often a caller may miss an account."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, update

from service import misses, rate
from service.jobs import forget_misses
from service.models import AccountMisses, Event, Verification
from service.rate import Rate
from tests.support.images import signature
from tests.support.world import World, parts, wait_until

NEVER = 2.0
"""A threshold that no score reaches."""

MOST = 3


@contextmanager
def at(now: float) -> Iterator[None]:
    with patch.object(rate, "monotonic", lambda: now):
        yield


@given(
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=100),
)
def test_however_requests_come_no_more_than_a_burst_beyond_the_pace_are_let_through(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    limit, now, let_through = Rate(per_second, burst), 1000.0, []
    for pause in pauses:
        now += pause
        with at(now):
            if not limit.take("key"):
                let_through.append(now)

    for start, first in enumerate(let_through):
        for end, last in enumerate(let_through[start:], start):
            assert end - start + 1 <= burst + (last - first) * per_second + 0.011


@given(per_second=st.floats(0.1, 1000), burst=st.integers(1, 50), asked=st.integers(1, 100))
def test_a_burst_is_let_through_at_once_and_the_next_request_after_the_wait_that_was_told(
    per_second: float, burst: int, asked: int
) -> None:
    limit = Rate(per_second, burst)
    with at(1000):
        waits = [limit.take("key") for _ in range(burst + asked)]
    with at(1000 + waits[-1] * 1.0001):
        after = limit.take("key")

    assert waits[:burst] == [0] * burst
    assert all(0 < wait <= 1.001 / per_second for wait in waits[burst:])
    assert after == 0


def test_callers_do_not_count_for_each_other() -> None:
    limit = Rate(1, 1)

    with at(1000):
        assert [limit.take(f"key {number}") for number in range(1000)] == [0] * 1000
        assert limit.take("key 0") > 0


def test_processes_that_were_forked_count_together() -> None:
    limit = Rate(0.001, 100)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(sum(limit.take("key") == 0 for _ in range(60)))
        children.append(child)

    let_through = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert sum(let_through) == 100


def test_threads_of_a_process_count_together() -> None:
    limit = Rate(0.001, 100)

    with ThreadPoolExecutor(4) as pool:
        let_through = list(pool.map(lambda _: limit.take("key") == 0, range(400)))

    assert sum(let_through) == 100


@pytest.fixture
def limited(world: World) -> World:
    return World(world.settings.model_copy(update={"rate_limit": 0.01, "rate_burst": MOST}), world.product)


def test_a_caller_who_sends_too_many_requests_is_told_when_to_come_back(limited: World) -> None:
    with limited.client("enrol") as hasty, limited.client("enrol") as patient:
        answers = [hasty.get("/v1/customers") for _ in range(MOST + 1)]
        other = patient.get("/v1/customers")

    assert [answer.status_code for answer in answers] == [200] * MOST + [429]
    assert answers[-1].json()["code"] == "too_many_requests"
    assert 90 <= int(answers[-1].headers["Retry-After"]) <= 100
    assert other.status_code == 200


def test_a_request_with_a_wrong_key_is_not_counted_for_the_key(limited: World) -> None:
    key = limited.key("enrol")
    with limited.client() as forger:
        for _ in range(MOST + 1):
            forger.get("/v1/customers", headers={"Authorization": f"Bearer {key[:-3]}xxx"})
        answer = forger.get("/v1/customers", headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 200


@pytest.fixture
def strict(world: World) -> Iterator[World]:
    """Three misses are allowed."""
    settings, before = world.settings.model_copy(update={"account_misses": MOST}), world.product.settings
    world.product.settings = settings
    yield World(settings, world.product)
    world.product.settings = before


@pytest.fixture
def account(strict: World) -> str:
    account = strict.new_id()
    strict.enrol(strict.new_id(), signature("ada"), accounts=[account])
    return account


@pytest.fixture
def clerk(strict: World) -> Iterator[httpx.Client]:
    with strict.client("verify") as client:
        yield client


def ask(client: httpx.Client, account: str, **fields: str) -> httpx.Response:
    files = parts("image", signature("ada"))
    return client.post(f"/v1/accounts/{account}/verifications", data=fields, files=files)


def miss(world: World, client: httpx.Client, account: str, times: int) -> list[int]:
    with world.thresholds(accept=NEVER, reject=0):
        return [ask(client, account).status_code for _ in range(times)]


def test_whoever_misses_an_account_too_often_gets_no_more_answers_about_it(
    strict: World, account: str, clerk: httpx.Client
) -> None:
    assert miss(strict, clerk, account, MOST) == [201] * MOST

    locked = ask(clerk, account)

    assert (locked.status_code, locked.json()["code"]) == (429, "account_locked_out")
    assert lockouts(strict, account) == 1
    assert 3500 < int(locked.headers["Retry-After"]) <= 3600


def test_what_is_accepted_counts_for_nothing(strict: World, account: str, clerk: httpx.Client) -> None:
    with strict.thresholds(accept=0, reject=0):
        assert [ask(clerk, account).status_code for _ in range(MOST + 2)] == [201] * (MOST + 2)


def test_a_forger_with_a_key_locks_out_that_key_and_nobody_else(
    strict: World, account: str, clerk: httpx.Client
) -> None:
    other = strict.new_id()
    strict.enrol(strict.new_id(), signature("ada"), accounts=[other])
    miss(strict, clerk, account, MOST)

    with strict.client("verify") as colleague:
        assert ask(colleague, account).status_code == 201
    assert ask(clerk, other).status_code == 201
    assert ask(clerk, account).status_code == 429


def test_whoever_reviews_is_not_counted(strict: World, account: str) -> None:
    with strict.client("verify", "review") as reviewer:
        assert miss(strict, reviewer, account, MOST + 2) == [201] * (MOST + 2)


def test_a_request_for_a_laxer_threshold_is_no_way_around(strict: World, account: str, clerk: httpx.Client) -> None:
    """The forger would be told score after score, each of them accepted."""
    with strict.thresholds(accept=NEVER, reject=0):
        answers = [ask(clerk, account, target_far="0.9") for _ in range(MOST + 1)]

    assert [answer.status_code for answer in answers] == [201] * MOST + [429]


def test_when_the_time_has_passed_answers_come_again(strict: World, account: str, clerk: httpx.Client) -> None:
    miss(strict, clerk, account, MOST)
    change_until(strict, account, datetime.now(UTC) - timedelta(seconds=1))

    assert miss(strict, clerk, account, MOST + 1) == [201] * MOST + [429]


def test_a_rotated_key_begins_with_the_misses_of_the_old_one(strict: World, account: str) -> None:
    key = strict.key("verify")
    with strict.client() as anybody:
        anybody.headers["Authorization"] = f"Bearer {key}"
        miss(strict, anybody, account, MOST)
        from service.access import rotate_key

        with strict.product.database.writing() as session:
            new = rotate_key(session, key.split("_")[1], timedelta(hours=1))
        anybody.headers["Authorization"] = f"Bearer {new}"

        assert ask(anybody, account).status_code == 429


def test_many_questions_at_once_get_no_answer_too_many(strict: World, account: str) -> None:
    """Each process has looked before any of them has counted."""
    key = strict.key("verify")
    together = threading.Barrier(MOST + 3, timeout=60)
    look = misses.require_room

    def look_together(*arguments: object) -> None:
        look(*arguments)  # type: ignore[arg-type]
        together.wait()

    def ask_once(_: int) -> int:
        with strict.client() as client:
            client.headers["Authorization"] = f"Bearer {key}"
            return ask(client, account).status_code

    with (
        strict.thresholds(accept=NEVER, reject=0),
        patch.object(misses, "require_room", look_together),
        ThreadPoolExecutor(MOST + 3) as pool,
    ):
        statuses = list(pool.map(ask_once, range(MOST + 3)))

    assert sorted(statuses) == [201] * MOST + [429] * 3
    assert verifications(strict, account) == MOST


def test_rows_of_a_batch_count_as_if_they_had_been_asked_alone(
    strict: World, account: str, clerk: httpx.Client
) -> None:
    from service.batch_worker import advance

    names = [f"{number}.png" for number in range(MOST + 1)]
    lines = "".join(f"{account},{name}\n" for name in names)
    files = [("manifest", ("m.csv", f"account_id,image\n{lines}".encode(), "text/csv"))]
    files += [("image", (name, signature("ada"), "image/png")) for name in names]
    batch = clerk.post("/v1/batches", files=files).json()["batch_id"]

    with strict.thresholds(accept=NEVER, reject=0):
        wait_until(lambda: advance(strict.product, "tester", threading.Event()) == 0)

    rows = clerk.get(f"/v1/batches/{batch}").json()["items"]
    assert [row["problem"] for row in rows] == [None] * MOST + ["account_locked_out"]


def test_misses_that_count_no_more_are_forgotten(strict: World, account: str, clerk: httpx.Client) -> None:
    miss(strict, clerk, account, 1)

    with strict.product.database.writing() as session:
        forget_misses(session, strict.settings)
    kept = count_rows(strict, account)
    change_until(strict, account, datetime.now(UTC))
    with strict.product.database.writing() as session:
        forget_misses(session, strict.settings)

    assert (kept, count_rows(strict, account)) == (1, 0)


def test_a_verification_that_hits_asks_the_database_once_and_writes_nothing_for_it(
    strict: World, account: str, clerk: httpx.Client
) -> None:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    engine = strict.product.database.engine
    event.listen(engine, "before_cursor_execute", note)
    with strict.thresholds(accept=0, reject=0):
        ask(clerk, account)
    event.remove(engine, "before_cursor_execute", note)

    about = [statement for statement in seen if "account_misses" in statement]
    assert [statement.split()[0] for statement in about] == ["SELECT"]


def test_searches_are_rounded_for_whoever_does_not_review(strict: World, account: str) -> None:
    with strict.client("search") as clerk, strict.client("search", "review") as reviewer:
        shown, whole = (
            client.post("/v1/searches", files=parts("image", signature("ada 2"))).json()["items"]
            for client in (clerk, reviewer)
        )

    assert [hit["score"] for hit in shown] == [round(hit["score"], 2) for hit in whole]
    assert any(hit["score"] != round(hit["score"], 2) for hit in whole)


def change_until(world: World, account: str, until: datetime) -> None:
    with world.product.database.writing() as session:
        session.execute(update(AccountMisses).where(AccountMisses.account_id == account).values(until=until))


def lockouts(world: World, account: str) -> int:
    told = select(Event.id).where(Event.subject == account, Event.kind == "account_locked_out")
    with world.product.database.reading() as session:
        return len(session.scalars(told).all())


def count_rows(world: World, account: str) -> int:
    with world.product.database.reading() as session:
        return len(session.scalars(select(AccountMisses).where(AccountMisses.account_id == account)).all())


def verifications(world: World, account: str) -> int:
    with world.product.database.reading() as session:
        return len(session.scalars(select(Verification.id).where(Verification.account_id == account)).all())
