"""What a record of the audit trail and its seal are, byte for byte. docs/audit.md says the same in words.

hash(n) = SHA-256(hash(n - 1) || record(n)),  hash(0) = 32 zero bytes
"""

import hashlib
from datetime import datetime
from typing import Any, Protocol

from service.models import AuditSeal, Event
from service.signing import canonical, instant

NOTHING = bytes(32)

COLUMNS = (Event.id, Event.at, Event.kind, Event.actor, Event.subject, Event.details)
"""What a record says of an event."""


class EventRow(Protocol):
    """An `Event`, or a row with its columns."""

    id: Any
    at: Any
    kind: Any
    actor: Any
    subject: Any
    details: Any


def record_hash(former: bytes, seq: int, event: EventRow) -> bytes:
    return hashlib.sha256(former + canonical(show_record(seq, event))).digest()


def show_record(seq: int, event: EventRow) -> dict[str, Any]:
    return {
        "seq": seq,
        "event_id": event.id,
        "at": instant(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "subject": event.subject,
        "details": event.details,
    }


def seal_statement(
    number: int, first: int, last: int, hash_: bytes, sealed_at: datetime, key_id: str
) -> dict[str, Any]:
    return {
        "number": number,
        "first": first,
        "last": last,
        "hash": hash_.hex(),
        "sealed_at": instant(sealed_at),
        "key_id": key_id,
    }


def statement_of(seal: AuditSeal) -> dict[str, Any]:
    return seal_statement(seal.number, seal.first, seal.last, seal.hash, seal.sealed_at, seal.key_id)
