"""Events: one row a use case, in its own transaction, naming nobody."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from service.models import Event


def record(session: Session, kind: str, *, actor: str, subject: str | None = None, **details: Any) -> None:
    """`subject` is a random internal id or a public id of a thing, never an identifier of a person."""
    session.add(Event(at=datetime.now(UTC), kind=kind, actor=actor, subject=subject, details=details))
