"""An audit trail for tests: events, a sealer's turns, and what somebody who holds the database does to it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete, insert, select, text

from service import events
from service.audit_heads import Head
from service.audit_proof import Broken, Proof, prove
from service.audit_sealer import Backlog, seal
from service.database import Database
from service.models import AuditRecord, AuditSeal, Event
from service.signing import Signer

SEED = bytes(range(32))


class Trail:
    def __init__(self, database: Database, seed: bytes = SEED) -> None:
        self.database = database
        self.signer = Signer([seed])
        self.backlog = Backlog()

    def happen(self, *subjects: object) -> None:
        """One transaction each."""
        for subject in subjects:
            with self.database.writing() as session:
                events.record(session, "thing_done", actor="somebody", subject=str(subject), note="é €")

    def seal(self) -> AuditSeal | None:
        with self.database.writing() as session:
            session.expire_on_commit = False
            return seal(session, self.signer, self.backlog)

    def prove(self, heads: Iterable[Head] = ()) -> Proof:
        return prove(self.database, self.signer.public, heads)

    def complaint(self, heads: Iterable[Head] = ()) -> str:
        """What the proof says is wrong; empty where nothing is."""
        try:
            self.prove(heads)
        except Broken as problem:
            return str(problem)
        return ""

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Afterwards the trail is as it was before."""
        tables = [table.__table__ for table in (Event, AuditRecord, AuditSeal)]
        with self.database.engine.connect() as connection:
            kept = [connection.execute(select(table)).mappings().all() for table in tables]
        yield
        with self.database.engine.begin() as connection:
            for table, rows in zip(tables, kept, strict=True):
                connection.execute(delete(table))
                connection.execute(insert(table), [dict(row) for row in rows])

    def execute(self, sql: str, **values: Any) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(text(sql), values)
