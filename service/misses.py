"""Misses: a score tells a forger how close the last attempt came, so nobody may ask for many of them.

A verification misses where a signature on it is below what the model accepts by itself, or where it was rejected.
They are counted by caller and account. Counted by account alone, one stolen key or one careless clerk would close an
account to everybody, with ten scribbles; so a forger who holds a key loses that key's view of the account, and nobody
else loses anything. Who has the scope `review` sees every score anyway and is not counted.

One row says how often a caller missed an account, so that any number of processes and hosts counts together: reading
it costs each verification one look at a primary key, and only a miss writes.
"""

from datetime import UTC, datetime, timedelta
from typing import cast

from sqlalchemy import CursorResult, bindparam, case, delete, select
from sqlalchemy.orm import Session

from service.database import conflict_insert
from service.errors import Refused
from service.events import record
from service.judgement import Judgement
from service.models import AccountMisses, UtcTime
from service.product import Product
from service.settings import Settings


def require_room(product: Product, account_id: str, actor: str | None) -> None:
    """Before anything is read or judged, so that a locked account costs next to nothing. None is a caller who is not
    counted. Raises `account_locked_out`."""
    most, now = product.settings.account_misses, datetime.now(UTC)
    if actor is None or not most:
        return
    with product.database.asking() as connection:
        row = connection.execute(_COUNTED, {"actor": actor, "account_id": account_id, "now": now}).one_or_none()
    if row is not None and row.misses >= most:
        raise _locked_out(row.until, now)


def is_miss(judgement: Judgement, accepted_at: float) -> bool:
    """`accepted_at` is the model's own threshold: who asks for a laxer one learns as much from the answer."""
    bar = max(judgement.accept_at, accepted_at)
    below = any(found.score is not None and found.score < bar for found in judgement.signatures)
    return below or judgement.outcome == "reject"


def count(session: Session, settings: Settings, actor: str, account_id: str) -> None:
    """In the transaction of the verification, so that whoever asks many times at once gets no answer too many.
    Raises `account_locked_out`, and then nothing was verified."""
    now = datetime.now(UTC)
    until = now + timedelta(minutes=settings.account_lockout_minutes)
    first = conflict_insert(session, AccountMisses).values(actor=actor, account_id=account_id, misses=1, until=until)
    is_over = AccountMisses.until <= now
    counted = first.on_conflict_do_update(
        index_elements=["actor", "account_id"],
        set_={
            "misses": case((is_over, 1), else_=AccountMisses.misses + 1),
            "until": case((is_over, until), else_=AccountMisses.until),
        },
    ).returning(AccountMisses.misses, AccountMisses.until)
    row = session.execute(counted).one()
    if row.misses > settings.account_misses:
        raise _locked_out(row.until, now)
    if row.misses == settings.account_misses:
        record(session, "account_locked_out", actor=actor, subject=account_id, misses=row.misses)


def expire(session: Session) -> int:
    gone = session.execute(delete(AccountMisses).where(AccountMisses.until <= datetime.now(UTC)))
    return cast("CursorResult[object]", gone).rowcount


def _locked_out(until: datetime, now: datetime) -> Refused:
    return Refused("account_locked_out", retry_after=(until - now).total_seconds())


_COUNTED = select(AccountMisses.misses, AccountMisses.until).where(
    AccountMisses.actor == bindparam("actor"),
    AccountMisses.account_id == bindparam("account_id"),
    AccountMisses.until > bindparam("now", type_=UtcTime()),
)
