"""Idempotency keys: a repeated request is answered from what was kept, not done again.

The key is claimed in a transaction of its own, and completed in the transaction of the work itself. So a claim that
nobody completed proves that the work was not committed, and after its lease another request may do it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.database import Database
from service.errors import Refused
from service.models import Customer, IdempotentRequest, IdempotentSubject, Specimen
from service.vault import SealedValue, Vault

KIND = "answer"
LEASE = timedelta(seconds=60)
"""Longer than any request may run, so that a claim this old belongs to a process that died."""


@dataclass(frozen=True)
class Answer:
    status_code: int
    body: str


@dataclass(frozen=True)
class Claim:
    """The right to do the work of one key."""

    id: int
    started_at: datetime


def scope_hash(vault: Vault, api_key_id: str, method: str, path: str, key: str) -> bytes:
    """Keyed, because the path may hold a customer's id."""
    return vault.lookup("idempotency", f"{api_key_id}\0{method}\0{path}\0{key}")


def fingerprint(vault: Vault, fields: Any) -> bytes:
    """Of parsed fields, images replaced by their hashes: another multipart boundary is the same request."""
    return vault.lookup("fingerprint", json.dumps(fields, sort_keys=True, default=_plain))


def claim(database: Database, vault: Vault, scope: bytes, print_: bytes, hours: float) -> Claim | Answer:
    """The right to do the work, or the answer that was given. Raises `idempotency_mismatch`,
    `idempotency_in_progress` and `erased`."""
    now = datetime.now(UTC)
    try:
        with database.writing() as session:
            return _insert(session, scope, print_, now, now + timedelta(hours=hours))
    except IntegrityError:
        pass
    try:
        with database.writing() as session:
            return _take_over(session, vault, scope, print_, now, now + timedelta(hours=hours))
    except IntegrityError as problem:  # the key came free, and another request was faster
        raise Refused("idempotency_in_progress") from problem


def complete(session: Session, vault: Vault, claim: Claim, answer: Answer, subjects: Iterable[str]) -> None:
    """Keeps the answer, in the transaction of the work. Raises `idempotency_in_progress` where the lease ran out and
    another request took over: then this one's work is rolled back."""
    named = sorted(set(subjects))
    state, sealed = "erased", None
    if _hold(session, named):
        state, sealed = "done", vault.seal(str(claim.id), KIND, answer.body.encode())
    done = session.execute(
        update(IdempotentRequest)
        .where(
            IdempotentRequest.id == claim.id,
            IdempotentRequest.started_at == claim.started_at,
            IdempotentRequest.state == "running",
        )
        .values(state=state, status_code=answer.status_code, **(sealed._asdict() if sealed else {}))
    )
    if cast("CursorResult[object]", done).rowcount != 1:
        raise Refused("idempotency_in_progress")
    rows = [{"request_id": claim.id, "owner": subject} for subject in named]
    if rows and sealed:
        session.execute(insert(IdempotentSubject), rows)


def release(database: Database, claim: Claim) -> None:
    """The work was refused: nothing was done, so the key is free again."""
    with database.writing() as session:
        session.execute(
            delete(IdempotentRequest).where(
                IdempotentRequest.id == claim.id,
                IdempotentRequest.started_at == claim.started_at,
                IdempotentRequest.state == "running",
            )
        )


def forget(session: Session, subject: str) -> int:
    """Empties every stored answer that names a person or specimen; how many there were."""
    named = select(IdempotentSubject.request_id).where(IdempotentSubject.owner == subject)
    emptied = session.execute(
        update(IdempotentRequest)
        .where(IdempotentRequest.id.in_(named), IdempotentRequest.state == "done")
        .values(state="erased", key_id=None, nonce=None, sealed=None)
    )
    session.execute(delete(IdempotentSubject).where(IdempotentSubject.owner == subject))
    return cast("CursorResult[object]", emptied).rowcount


def expire(session: Session) -> int:
    gone = session.execute(delete(IdempotentRequest).where(IdempotentRequest.expires_at <= datetime.now(UTC)))
    return cast("CursorResult[object]", gone).rowcount


def _hold(session: Session, named: Sequence[str]) -> bool:
    """Whether all of these persons and specimens are still there, and stay until the commit: an erasure that went by
    unseen would not find this answer, and it would outlive the person."""
    if not named:
        return True
    held = 0
    for public_id in (Customer.owner, Specimen.specimen_id):
        rows = select(public_id).where(public_id.in_(named)).with_for_update(read=True, key_share=True)
        held += len(session.scalars(rows).all())
    return held == len(named)


def _insert(session: Session, scope: bytes, print_: bytes, now: datetime, expires_at: datetime) -> Claim:
    request = IdempotentRequest(
        scope_hash=scope, fingerprint=print_, state="running", started_at=now, expires_at=expires_at
    )
    session.add(request)
    session.flush()
    return Claim(request.id, now)


def _take_over(
    session: Session, vault: Vault, scope: bytes, print_: bytes, now: datetime, expires_at: datetime
) -> Claim | Answer:
    known = session.scalar(select(IdempotentRequest).where(IdempotentRequest.scope_hash == scope).with_for_update())
    if known is not None and known.expires_at > now:
        return _judge(session, vault, known, print_, now)
    if known is not None:  # it is due to go; otherwise it went between the two transactions
        session.execute(delete(IdempotentRequest).where(IdempotentRequest.id == known.id))
    return _insert(session, scope, print_, now, expires_at)


def _judge(session: Session, vault: Vault, known: IdempotentRequest, print_: bytes, now: datetime) -> Claim | Answer:
    if known.fingerprint != print_:
        raise Refused("idempotency_mismatch")
    if known.state == "erased":
        raise Refused("erased")
    if known.state == "running":
        if known.started_at > now - LEASE:
            raise Refused("idempotency_in_progress")
        known.started_at = now
        session.flush()
        return Claim(known.id, now)
    value = SealedValue(str(known.key_id), known.nonce or b"", known.sealed or b"")
    return Answer(known.status_code or 200, vault.open(str(known.id), KIND, value).decode())


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    return str(value)
