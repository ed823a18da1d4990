"""The sealer: brings events into one order, chains and signs them, once a second, behind whoever wrote them.

Ids of events are not the order of commits: on PostgreSQL a small one may become visible after a large one. So records
have a sequence of their own, and an event that comes late takes the next place in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Exists, Row, Select, func, insert, select, text
from sqlalchemy.orm import Session

from service.audit_chain import COLUMNS, NOTHING, record_hash, seal_statement
from service.models import AuditRecord, AuditSeal, Event
from service.signing import SEAL, Signer

AT_A_TIME = 1000
"""Records under one seal: 30 ms, for which writers on SQLite wait."""


@dataclass
class Backlog:
    """Which events have no record yet. Up to `decided` there is none, and never will be: whoever has drawn an id so
    low has committed or rolled back, and what was committed has a record.

    On SQLite writers take turns, so all up to the last record is decided. On PostgreSQL the locks say it: whoever
    inserts holds one on the table from before the id is drawn until after the commit is visible. When nobody holds
    one any more who held it after an id was seen, everything up to that id is decided. Only the first look of a new
    sealer therefore goes through all events.
    """

    decided: int = 0
    _seen: int = 0
    _writers: frozenset[str] = field(default_factory=frozenset)

    def read(self, connection: Connection, limit: int) -> Sequence[Row[Any]]:
        """The next events to seal, oldest first. Each statement sees what is committed when it begins."""
        if connection.dialect.name == "sqlite":
            self.decided = settled = connection.scalar(select(func.max(AuditRecord.event_id))) or 0
        else:
            settled = self._settled(connection)
        found = connection.execute(_without_record(self.decided).limit(limit)).all()
        self.decided = max(self.decided, min(settled, found[0].id - 1) if found else settled)
        return found

    def _settled(self, connection: Connection) -> int:
        if self._writers & _writers(connection):
            return self.decided
        settled = self._seen
        self._seen = connection.scalar(select(func.max(Event.id))) or 0
        self._writers = _writers(connection)  # after the id: whoever drew a smaller one is among them, or done
        return settled


def seal(session: Session, signer: Signer, backlog: Backlog) -> AuditSeal | None:
    """Gives the next events their records and signs the last; None where all have one. Two sealers at once cannot
    both commit: a place in the sequence is taken once."""
    events = backlog.read(session.connection(), AT_A_TIME)
    if not events:
        return None
    former = last_seal(session)
    number, first, hash_ = (former.number + 1, former.last + 1, former.hash) if former else (1, 1, NOTHING)
    rows = []
    for seq, event in enumerate(events, first):
        hash_ = record_hash(hash_, seq, event)
        rows.append({"seq": seq, "event_id": event.id, "hash": hash_})
    session.execute(insert(AuditRecord), rows)
    return _sign(session, signer, number, first, first + len(rows) - 1, hash_)


def last_seal(session: Session) -> AuditSeal | None:
    return session.scalar(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1))


def _sign(session: Session, signer: Signer, number: int, first: int, last: int, hash_: bytes) -> AuditSeal:
    sealed_at = datetime.now(UTC)
    statement = seal_statement(number, first, last, hash_, sealed_at, signer.key_id)
    made = AuditSeal(
        number=number,
        first=first,
        last=last,
        hash=hash_,
        sealed_at=sealed_at,
        key_id=signer.key_id,
        signature=signer.sign(SEAL, statement),
    )
    session.add(made)
    session.flush()
    return made


def _without_record(decided: int) -> Select[Any]:
    return select(*COLUMNS).where(Event.id > decided, ~_has_record(decided)).order_by(Event.id)


def _has_record(decided: int) -> Exists:
    return select(AuditRecord.seq).where(AuditRecord.event_id == Event.id, AuditRecord.event_id > decided).exists()


def _writers(connection: Connection) -> frozenset[str]:
    """The transactions that may have drawn an id of an event and not committed yet."""
    return frozenset(connection.scalars(_HOLDERS))


_HOLDERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'events'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
