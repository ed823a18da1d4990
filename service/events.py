"""Events: one row a use case, in its own transaction, naming nobody."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from service.database import direct_insert
from service.models import Event

_INSERT = direct_insert(Event)


def record(session: Session, kind: str, *, actor: str, subject: str | None = None, **details: Any) -> None:
    """`subject` is a random internal id or a public id of a thing, never an identifier of a person."""
    row = {"at": datetime.now(UTC), "kind": kind, "actor": actor, "subject": subject, "details": details}
    session.execute(_INSERT, row)
