"""Recurring work, leased in the database: any number of workers may run, each turn is done by one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from service import idempotency, misses, review
from service.database import Database, Overtaken, conflict_insert, lock_templates
from service.models import ChangeMark, Job, TemplateChange
from service.settings import Settings

LEASE = timedelta(minutes=5)


@dataclass(frozen=True)
class Recurring:
    every: timedelta
    run: Callable[[Session, Settings], str]


def trim_changes(session: Session, settings: Settings) -> str:
    """Forgets index changes that every process has applied long ago, and marks where the log begins."""
    lock_templates(session)
    before = datetime.now(UTC) - timedelta(hours=settings.change_retention_hours)
    last = session.scalar(select(func.max(TemplateChange.seq)).where(TemplateChange.at < before))
    if last is None:
        return "nothing to trim"
    mark = conflict_insert(session, ChangeMark).values(id=1, low_water=last)
    session.execute(mark.on_conflict_do_update(index_elements=["id"], set_={"low_water": last}))
    session.execute(delete(TemplateChange).where(TemplateChange.seq <= last))
    return f"trimmed to {last}"


def expire_answers(session: Session, _settings: Settings) -> str:
    return f"{idempotency.expire(session)} expired"


def forget_misses(session: Session, _settings: Settings) -> str:
    return f"{misses.expire(session)} forgotten"


RECURRING = {
    "trim_changes": Recurring(timedelta(minutes=10), trim_changes),
    "expire_answers": Recurring(timedelta(minutes=1), expire_answers),
    "forget_misses": Recurring(timedelta(minutes=10), forget_misses),
    "return_expired_claims": Recurring(timedelta(minutes=1), review.return_expired),
}


def run_due(database: Database, settings: Settings, worker: str) -> list[tuple[str, str]]:
    """Does every job whose time has come and that nobody else holds; name and result of each."""
    done = []
    for name, job in RECURRING.items():
        if not lease(database, name, worker):
            continue
        with database.writing() as session:
            result = job.run(session, settings)
            _finish(session, name, worker, job.every, result)
        done.append((name, result))
    return done


def lease(database: Database, name: str, worker: str, lasting: timedelta = LEASE) -> bool:
    """Whether it is due and nobody else's."""
    now = datetime.now(UTC)
    with database.writing() as session:
        session.execute(
            conflict_insert(session, Job)
            .values(name=name, due_at=now)
            .on_conflict_do_nothing(index_elements=["name"])
        )
        free = or_(Job.leased_until.is_(None), Job.leased_until < now)
        taken = session.execute(
            update(Job)
            .where(Job.name == name, Job.due_at <= now, free)
            .values(leased_until=now + lasting, leased_by=worker)
            .returning(Job.name)
        )
        return taken.one_or_none() is not None


def renew(session: Session, name: str, worker: str, lasting: timedelta) -> None:
    """Raises `Overtaken` where the lease ran out and another worker took it: what depends on it is not written."""
    mine = update(Job).where(Job.name == name, Job.leased_by == worker)
    renewed = session.execute(mine.values(leased_until=datetime.now(UTC) + lasting).returning(Job.name))
    if renewed.one_or_none() is None:
        raise Overtaken


def release(database: Database, name: str, worker: str) -> None:
    with database.writing() as session:
        mine = update(Job).where(Job.name == name, Job.leased_by == worker)
        session.execute(mine.values(leased_until=None, leased_by=None))


def _finish(session: Session, name: str, worker: str, every: timedelta, result: str) -> None:
    session.execute(
        update(Job)
        .where(Job.name == name, Job.leased_by == worker)
        .values(due_at=datetime.now(UTC) + every, leased_until=None, leased_by=None, last_result=result)
    )
