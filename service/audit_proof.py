"""The proof of the audit trail: every hash is made anew from the events as they are now, every signature checked. It
names the first record that is not what was sealed.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from service.audit_chain import COLUMNS, NOTHING, record_hash, statement_of
from service.audit_heads import Head
from service.database import Database
from service.models import AuditRecord, AuditSeal, Event
from service.signing import SEAL, PublicKeys

AT_A_TIME = 5000

LATE = timedelta(minutes=5)
"""By then an event is sealed, wherever later ones are: transactions last seconds."""


class Broken(Exception):
    """What is wrong, and where: the message is for a person."""


class Proof(NamedTuple):
    """How much is proven, how many events wait for their seal, and when the last was made."""

    records: int
    seals: int
    heads: int
    waiting: int
    sealed_at: datetime | None


def prove(database: Database, keys: PublicKeys, heads: Iterable[Head] = ()) -> Proof:
    """Raises `Broken`. The trail may grow meanwhile."""
    chain = _Chain(keys)
    with database.reading() as session:
        seals = _seals(session)
        seal = next(seals, None)
        for row in _records(session):
            chain.add(row)
            if seal is not None and seal.last == row.seq:
                chain.close(seal)
                seal = next(seals, None)
        chain.end(seal)
        waiting = _count_waiting(session, chain.sealed_at)
    return Proof(chain.seq, chain.number, _compare(database, heads), waiting, chain.sealed_at)


class _Chain:
    def __init__(self, keys: PublicKeys) -> None:
        self._keys = keys
        self._hash = NOTHING
        self.seq = 0
        self._sealed = 0
        self.number = 0
        self.sealed_at: datetime | None = None

    def add(self, row: Row[Any]) -> None:
        self.seq += 1
        if row.seq != self.seq:
            raise Broken(f"record {self.seq} was deleted: the next is {row.seq}")
        if row.id is None:
            raise Broken(f"record {row.seq}: its event {row.event_id} was deleted")
        self._hash = record_hash(self._hash, row.seq, row)
        if self._hash != row.hash:
            raise Broken(
                f"record {row.seq} (event {row.event_id}, {row.kind}) was edited, inserted or moved: what it says "
                "and the record before it do not give its hash"
            )

    def close(self, seal: AuditSeal) -> None:
        """Whatever was made anew with all hashes is found here, as far back as its seal."""
        where = f"records {self._sealed + 1} to {self.seq}"
        if (seal.number, seal.first) != (self.number + 1, self._sealed + 1):
            raise Broken(f"{where}: the seal {self.number + 1} under them was deleted or changed")
        if seal.key_id not in self._keys:
            raise Broken(f"{where}: seal {seal.number} is signed with key {seal.key_id}, which is none of the known")
        if not self._keys.proves(SEAL, statement_of(seal), seal.signature):
            raise Broken(f"{where}: the signature of seal {seal.number} is forged, or the seal was changed")
        if seal.hash != self._hash:
            raise Broken(f"{where} were changed, hashes and all: their seal {seal.number} was given to others")
        self._sealed, self.number, self.sealed_at = seal.last, seal.number, seal.sealed_at

    def end(self, seal: AuditSeal | None) -> None:
        if seal is not None and seal.last > self.seq:
            raise Broken(f"record {self.seq + 1} was deleted: seal {seal.number} says that there are {seal.last}")
        if seal is not None:
            raise Broken(
                f"seal {seal.number} was changed or inserted: it ends at record {seal.last}, where none ends"
            )
        if self.seq != self._sealed:
            raise Broken(f"record {self._sealed + 1} was inserted, or its seal deleted: nothing signs it")


def _records(session: Session) -> Iterator[Row[Any]]:
    wanted = (
        select(AuditRecord.seq, AuditRecord.event_id, AuditRecord.hash)
        .add_columns(*COLUMNS)
        .outerjoin(Event, Event.id == AuditRecord.event_id)
        .order_by(AuditRecord.seq)
        .limit(AT_A_TIME)
    )
    behind: int | None = None
    while rows := session.execute(wanted if behind is None else wanted.where(AuditRecord.seq > behind)).all():
        yield from rows
        behind = rows[-1].seq


def _seals(session: Session) -> Iterator[AuditSeal]:
    wanted = select(AuditSeal).order_by(AuditSeal.number).limit(AT_A_TIME)
    behind: int | None = None
    while seals := session.scalars(wanted if behind is None else wanted.where(AuditSeal.number > behind)).all():
        yield from seals
        behind = seals[-1].number
        session.expunge_all()


def _count_waiting(session: Session, sealed_at: datetime | None) -> int:
    """Raises `Broken` for an event that was left out although later ones are sealed: it came another way."""
    unsealed = ~select(AuditRecord.seq).where(AuditRecord.event_id == Event.id).exists()
    if sealed_at is not None:
        newest = select(func.max(AuditRecord.event_id)).scalar_subquery()
        left_out = select(Event.id, Event.kind).where(unsealed, Event.id < newest, Event.at < sealed_at - LATE)
        first = session.execute(left_out.order_by(Event.id).limit(1)).one_or_none()
        if first is not None:
            raise Broken(f"event {first.id} ({first.kind}) has no record: it was inserted, or its record taken away")
    return session.scalar(select(func.count()).select_from(Event).where(unsealed)) or 0


def _compare(database: Database, heads: Iterable[Head]) -> int:
    """Raises `Broken` where the database is another than it was when a head went out. A seal is committed before its
    head is published: asked for after the head was read, it is there."""
    count = 0
    for some in _in_groups(heads):
        wanted = select(AuditSeal.number, AuditSeal.hash).where(AuditSeal.number.in_({head.number for head in some}))
        with database.asking() as connection:
            hashes = {row.number: row.hash.hex() for row in connection.execute(wanted)}
        for head in some:
            if head.number not in hashes:
                raise Broken(f"the end was cut off: seal {head.number} was published, and is not here")
            if hashes[head.number] != head.hash:
                raise Broken(f"seal {head.number} is another than was published: all from there on was made anew")
        count += len(some)
    return count


def _in_groups(heads: Iterable[Head], size: int = 500) -> Iterator[list[Head]]:
    group: list[Head] = []
    for head in heads:
        group.append(head)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
