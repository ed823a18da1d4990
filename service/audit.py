"""Reading the audit trail: the records in their order. An event has its record a second after it happened."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session

from service.audit_chain import COLUMNS
from service.models import AuditRecord, AuditSeal, Event

CLOCKS = timedelta(minutes=5)
"""What the clocks of two hosts may differ by."""


class Sought(NamedTuple):
    kind: str | None = None
    subject: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_records(
    session: Session, sought: Sought, behind: int | None, limit: int, *, oldest_first: bool
) -> Sequence[Row[Any]]:
    """Columns of the event, `seq` and `hash`, beginning behind the record `behind`."""
    order = AuditRecord.seq.asc() if oldest_first else AuditRecord.seq.desc()
    query = (
        select(AuditRecord.seq, AuditRecord.hash)
        .add_columns(*COLUMNS)
        .join(AuditRecord, AuditRecord.event_id == Event.id)
        .where(*_conditions(session, sought))
        .order_by(order)
        .limit(limit)
    )
    if behind is not None:
        query = query.where(AuditRecord.seq > behind if oldest_first else AuditRecord.seq < behind)
    return session.execute(query).all()


def _conditions(session: Session, sought: Sought) -> list[ColumnElement[bool]]:
    wanted = {Event.kind: sought.kind, Event.subject: sought.subject, Event.actor: sought.actor}
    found = [column == value for column, value in wanted.items() if value is not None]
    if sought.since is not None:
        found += [Event.at >= sought.since, AuditRecord.seq >= _first_sealed(session, sought.since)]
    if sought.until is not None:
        found.append(Event.at < sought.until)
    return found


def _first_sealed(session: Session, since: datetime) -> int:
    """What happened since then was sealed since then. Events have no index by time, for which each verification would
    pay; seals are few."""
    first = session.scalar(select(func.min(AuditSeal.first)).where(AuditSeal.sealed_at >= since - CLOCKS))
    return first or 0
