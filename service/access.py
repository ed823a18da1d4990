"""API keys: `cs_<key id>_<secret>`. Only a hash of the secret is kept; the secret has 256 bits, so one plain SHA-256
is enough and a slow password hash would only slow every request down."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from service.events import record
from service.models import ApiKey

SCOPES = ("enrol", "verify", "search", "review", "audit", "models", "admin")
_FORM = re.compile(r"cs_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").digest()


@dataclass(frozen=True)
class Caller:
    key_id: str
    scopes: frozenset[str]


def create_key(session: Session, scopes: Iterable[str]) -> str:
    """Stores a new key and returns it: the only time that its secret is seen. ValueError for an unknown scope."""
    wanted = sorted(set(scopes))
    if not wanted or not set(wanted) <= set(SCOPES):
        raise ValueError(f"scopes are one or more of: {', '.join(SCOPES)}")
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    session.add(ApiKey(key_id=key_id, secret_hash=_hash(secret), scopes=wanted, created_at=datetime.now(UTC)))
    record(session, "key_created", actor="operator", subject=key_id, scopes=wanted)
    return f"cs_{key_id}_{secret}"


def revoke_key(session: Session, key_id: str) -> bool:
    key = session.scalar(select(ApiKey).where(ApiKey.key_id == key_id, ApiKey.revoked_at.is_(None)))
    if key is None:
        return False
    key.revoked_at = datetime.now(UTC)
    record(session, "key_revoked", actor="operator", subject=key_id)
    return True


def identify(connection: Connection, key: str) -> Caller | None:
    """Whose key this is; None for a malformed, unknown, wrong or revoked one."""
    parts = _FORM.fullmatch(key)
    if parts is None:
        return None
    row = connection.execute(_LIVE_KEY, {"key_id": parts[1]}).one_or_none()
    # An unknown id costs the same comparison as a wrong secret, so the time says nothing.
    if not hmac.compare_digest(row.secret_hash if row else _NOBODY, _hash(parts[2])):
        return None
    return Caller(parts[1], frozenset(row.scopes)) if row else None


_LIVE_KEY = select(ApiKey.secret_hash, ApiKey.scopes).where(
    ApiKey.key_id == bindparam("key_id"), ApiKey.revoked_at.is_(None)
)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
