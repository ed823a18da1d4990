"""The key store: a file of its own, outside the database and its backups.

Only while the two are apart does a stolen database say nothing, and only then can destroying a key kill a backup.
"""

import base64
import contextlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self


class BrokenKeyStore(RuntimeError):
    """The key store is missing or damaged although the database needs it; restore it, nothing replaces it."""


@dataclass(frozen=True)
class KeyStore:
    """`keys` seal data (AES-256), `active` is the one that seals new data, `lookup` hashes identifiers. The last of
    `signing` (Ed25519) signs, the others signed before it."""

    keys: dict[str, bytes]
    active: str
    lookup: bytes
    signing: tuple[bytes, ...]

    @classmethod
    def open(cls, url: str, *, may_create: bool = True) -> Self:
        """Opens the store at `file:PATH`; where there is none makes it, readable by its owner alone, if it may."""
        path = Path(url.removeprefix("file:"))
        if not path.exists():
            if not may_create:
                raise BrokenKeyStore(f"{path} is missing, and the database is not known to be empty: restore it")
            _create(path)
        try:
            stored = json.loads(path.read_text("utf-8"))
            keys = {key_id: base64.b64decode(key, validate=True) for key_id, key in stored["keys"].items()}
            lookup = base64.b64decode(stored["lookup"], validate=True)
            signing = tuple(base64.b64decode(seed, validate=True) for seed in stored.get("signing", []))
            store = cls(keys, stored["active"], lookup, signing or (_derived(lookup),))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise BrokenKeyStore(f"{path} is not a readable key store: {type(problem).__name__}") from problem
        if store.active not in keys or {len(key) for key in (*keys.values(), lookup, *signing)} != {32}:
            raise BrokenKeyStore(f"{path} lacks its active key or holds a key that is not 32 bytes")
        return store


def _create(path: Path) -> None:
    """Written whole beside its place, then linked: a crash leaves no half store, and of two first starts one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_id = secrets.token_hex(8)
    content = {"keys": {key_id: _new_key()}, "active": key_id, "lookup": _new_key(), "signing": [_new_key()]}
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _derived(lookup: bytes) -> bytes:
    """The signing key of a store from before there were any. The file, which may be read-only, stays as it is,
    and every host that has a copy of it signs alike."""
    return hmac.digest(lookup, b"countersign signing key\0\1", "sha256")


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
