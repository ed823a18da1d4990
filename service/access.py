"""API keys: `cs_<key id>_<secret>`. Only a hash of the secret is kept; the secret has 256 bits, so one plain SHA-256
is enough and a slow password hash would only slow every request down."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from service.database import Database
from service.events import record
from service.models import ApiKey, UtcTime

SCOPES = ("enrol", "verify", "search", "review", "audit", "models", "admin")
_FORM = re.compile(r"cs_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").digest()

USE = timedelta(minutes=1)
"""How exactly the last use of a key is known."""

NOTE_SECONDS = 10.0


@dataclass(frozen=True)
class Caller:
    """`key_id` is what everything is noted under, and stays over rotations; `used` is the key that was sent."""

    key_id: str
    scopes: frozenset[str]
    used: str


def create_key(
    session: Session, scopes: Iterable[str], name: str | None = None, lasting: timedelta | None = None
) -> str:
    """Stores a new key and returns it: the only time that its secret is seen. ValueError for an unknown scope."""
    wanted = sorted(set(scopes))
    if not wanted or not set(wanted) <= set(SCOPES):
        raise ValueError(f"scopes are one or more of: {', '.join(SCOPES)}")
    made, key = _make(wanted, name, lasting)
    session.add(made)
    record(session, "key_created", actor="operator", subject=made.key_id, scopes=wanted, expires=_told(made))
    return key


def rotate_key(session: Session, key_id: str, overlap: timedelta, lasting: timedelta | None = None) -> str | None:
    """Another key for the same caller, with the scopes and the name of this one, which ends after the overlap. It
    lasts as long as this one was to last, unless `lasting` says otherwise. None where no live key has this id."""
    now = datetime.now(UTC)
    old = session.scalar(select(ApiKey).where(ApiKey.key_id == key_id, _is_live(now)).with_for_update())
    if old is None:
        return None
    if lasting is None and old.expires_at is not None:
        lasting = old.expires_at - old.created_at
    made, key = _make(old.scopes, old.name, lasting)
    made.first_key_id = old.first_key_id or old.key_id
    session.add(made)
    ends_at = now + overlap
    old.expires_at = ends_at if old.expires_at is None else min(old.expires_at, ends_at)
    record(session, "key_rotated", actor="operator", subject=key_id, by=made.key_id, ends=_told(old))
    return key


def revoke_key(session: Session, key_id: str) -> bool:
    key = session.scalar(select(ApiKey).where(ApiKey.key_id == key_id, ApiKey.revoked_at.is_(None)))
    if key is None:
        return False
    key.revoked_at = datetime.now(UTC)
    record(session, "key_revoked", actor="operator", subject=key_id)
    return True


def list_keys(session: Session) -> list[ApiKey]:
    return list(session.scalars(select(ApiKey).order_by(ApiKey.id)))


def identify(connection: Connection, key: str) -> Caller | None:
    """Whose key this is; None for a malformed, unknown, wrong, expired or revoked one."""
    parts = _FORM.fullmatch(key)
    if parts is None:
        return None
    row = connection.execute(_LIVE_KEY, {"key_id": parts[1], "now": datetime.now(UTC)}).one_or_none()
    # An unknown id costs the same comparison as a wrong secret, so the time says nothing.
    if not hmac.compare_digest(row.secret_hash if row else _NOBODY, _hash(parts[2])):
        return None
    return Caller(row.first_key_id or parts[1], frozenset(row.scopes), parts[1]) if row else None


def may_hold_key(text: str) -> bool:
    """Whole or cut off, so that it is better not logged."""
    return "cs_" in text


class KeyUses:
    """Which keys were used, written down on a tick. A request that wrote for it would wait for a disk and, on SQLite,
    for everybody else who writes. One that is killed forgets its last few seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: set[str] = set()

    def note(self, key_id: str) -> None:
        self._used.add(key_id)

    def catch_up(self) -> None:
        """Writes a key at most once a minute, however many processes saw it."""
        used = frozenset(self._used)
        if not used:
            return
        now = datetime.now(UTC)
        stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - USE)
        with self._database.writing() as session:
            session.execute(update(ApiKey).where(ApiKey.key_id.in_(used), stale).values(last_used_at=now))
        self._used -= used


def _make(scopes: list[str], name: str | None, lasting: timedelta | None) -> tuple[ApiKey, str]:
    key_id, secret, now = secrets.token_hex(8), secrets.token_urlsafe(32), datetime.now(UTC)
    made = ApiKey(key_id=key_id, secret_hash=_hash(secret), scopes=scopes, created_at=now, name=name)
    made.expires_at = None if lasting is None else now + lasting
    return made, f"cs_{key_id}_{secret}"


def _is_live(now: object) -> ColumnElement[bool]:
    return and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now))


_LIVE_KEY = select(ApiKey.secret_hash, ApiKey.scopes, ApiKey.first_key_id).where(
    ApiKey.key_id == bindparam("key_id"), _is_live(bindparam("now", type_=UtcTime()))
)


def _told(key: ApiKey) -> str | None:
    return key.expires_at.isoformat(timespec="seconds") if key.expires_at else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
