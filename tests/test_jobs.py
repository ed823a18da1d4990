import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service import idempotency, jobs, worker
from service.database import Database
from service.idempotency import Answer, Claim
from service.jobs import LEASE, RECURRING, Recurring, run_due
from service.keystore import KeyStore
from service.models import IdempotentRequest, IdempotentSubject, Job
from service.settings import Settings
from service.vault import Vault

WAIT = 20  # seconds after which a thread that should have moved on counts as stuck

JOBS = set(RECURRING)


@pytest.fixture
def other_host(settings: Settings, database: Database) -> Iterator[Database]:
    """The same database, opened by another worker."""
    opened = Database(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(KeyStore.open(f"file:{tmp_path / 'keys.json'}"))


def names(done: list[tuple[str, str]]) -> set[str]:
    return {name for name, _ in done}


def change_jobs(database: Database, **values: object) -> None:
    with database.writing() as session:
        session.execute(update(Job).values(**values))


def make_due(database: Database) -> None:
    change_jobs(database, due_at=datetime.now(UTC) - timedelta(seconds=1))


def test_a_first_worker_does_every_job_and_says_what_came_of_it(database: Database, settings: Settings) -> None:
    assert names(run_due(database, settings, "one")) == JOBS

    with database.reading() as session:
        rows = session.scalars(select(Job)).all()
    assert {row.name for row in rows} == JOBS
    assert all(row.last_result and row.leased_by is None and row.leased_until is None for row in rows)


def test_a_job_that_was_done_is_not_due_again_until_its_time_comes(database: Database, settings: Settings) -> None:
    run_due(database, settings, "one")

    assert run_due(database, settings, "one") == []
    make_due(database)
    assert names(run_due(database, settings, "one")) == JOBS


def test_of_workers_that_come_at_once_each_job_is_done_by_one(
    database: Database, other_host: Database, settings: Settings
) -> None:
    run_due(database, settings, "first")
    for _ in range(10):
        make_due(database)
        together = threading.Barrier(2, timeout=WAIT)

        def work(opened: Database, name: str, together: threading.Barrier = together) -> list[tuple[str, str]]:
            together.wait()
            return run_due(opened, settings, name)

        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(work, database, "one"), pool.submit(work, other_host, "two")]
            done = [name for turn in both for name, _ in turn.result(WAIT)]

        assert sorted(done) == sorted(JOBS)


def test_a_job_in_hand_is_left_alone_by_other_workers(
    database: Database, other_host: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def take_long(_session: Session, _settings: Settings) -> str:
        begun.set()
        assert may_end.wait(WAIT)
        return "took long"

    monkeypatch.setattr(jobs, "RECURRING", {"long": Recurring(timedelta(0), take_long)})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_due, database, settings, "one")
        assert begun.wait(WAIT)
        try:
            assert run_due(other_host, settings, "two") == []
        finally:
            may_end.set()

        assert first.result(WAIT) == [("long", "took long")]


def test_the_lease_of_a_dead_worker_holds_until_it_ends_and_is_then_taken_over(
    database: Database, settings: Settings
) -> None:
    run_due(database, settings, "dead")
    make_due(database)
    for name in JOBS:
        assert jobs.lease(database, name, "dead")

    assert run_due(database, settings, "next") == []
    with database.reading() as session:
        leases = session.scalars(select(Job.leased_until)).all()
    assert all(lease is not None and lease <= datetime.now(UTC) + LEASE for lease in leases)

    change_jobs(database, leased_until=datetime.now(UTC) - timedelta(seconds=1))
    assert names(run_due(database, settings, "next")) == JOBS


def test_a_job_that_breaks_leaves_nothing_done_and_is_taken_up_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(session: Session, _settings: Settings) -> str:
        session.execute(update(Job).values(last_result="half done"))
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "RECURRING", {"fragile": Recurring(timedelta(0), break_down)})
    with pytest.raises(ZeroDivisionError):
        run_due(database, settings, "one")
    with database.reading() as session:
        assert session.scalars(select(Job.last_result)).all() == [None]

    monkeypatch.setattr(jobs, "RECURRING", {"fragile": Recurring(timedelta(0), lambda *_: "mended")})
    change_jobs(database, leased_until=datetime.now(UTC) - timedelta(seconds=1))
    assert run_due(database, settings, "two") == [("fragile", "mended")]


def test_a_worker_works_until_it_is_stopped(database: Database, settings: Settings) -> None:
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.work, settings, stopped)
        while True:
            assert not working.done()
            with database.reading() as session:
                if session.scalar(select(func.count()).where(Job.last_result.is_not(None))) == len(JOBS):
                    break
        stopped.set()

        working.result(WAIT)


def keep_answer(database: Database, vault: Vault, key: bytes, hours: float) -> None:
    claim = idempotency.claim(database, vault, key * 32, b"f" * 32, hours)
    assert isinstance(claim, Claim)
    with database.writing() as session:
        idempotency.complete(session, vault, claim, Answer(201, "{}"), [])
        session.add(IdempotentSubject(request_id=claim.id, owner="somebody"))


def test_expired_answers_go_and_the_others_stay(database: Database, settings: Settings, vault: Vault) -> None:
    keep_answer(database, vault, b"a", hours=0)
    keep_answer(database, vault, b"b", hours=1)

    assert ("expire_answers", "1 expired") in run_due(database, settings, "one")

    with database.reading() as session:
        assert session.scalars(select(IdempotentRequest.scope_hash)).all() == [b"b" * 32]
        assert session.scalar(select(func.count()).select_from(IdempotentSubject)) == 1
    replayed = idempotency.claim(database, vault, b"b" * 32, b"f" * 32, 1)
    assert replayed == Answer(201, "{}")


def test_a_key_whose_answer_expired_is_free_again(database: Database, settings: Settings, vault: Vault) -> None:
    keep_answer(database, vault, b"a", hours=0)
    run_due(database, settings, "one")

    assert isinstance(idempotency.claim(database, vault, b"a" * 32, b"g" * 32, 1), Claim)
