"""Signatures (Ed25519, RFC 8032) under what others must be able to check without this service: seals of the audit
trail, and receipts.

What is signed is a statement, a JSON object in one canonical form, behind the purpose it was signed for: a receipt
can never pass for a seal.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEAL = "countersign audit seal 1"
RECEIPT = "countersign receipt 1"

Statement = Mapping[str, Any]


class Signer:
    """Signs with the last of its keys; the others are there to check what they once signed."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
        self._key = keys[-1]
        self.public = PublicKeys([key.public_key() for key in keys])
        self.key_id = key_id_of(self._key.public_key())

    def sign(self, purpose: str, statement: Statement) -> bytes:
        """64 bytes. The statement names `key_id`, so that nobody can say of it that it was another's."""
        return self._key.sign(_message(purpose, statement))


class PublicKeys:
    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        self._keys = {key_id_of(key): key for key in keys}

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    def proves(self, purpose: str, statement: Statement, signature: bytes) -> bool:
        """By the key that the statement names. False for a key that is not among these."""
        key = self._keys.get(str(statement.get("key_id")))
        try:
            if key is not None:
                key.verify(signature, _message(purpose, statement))
        except InvalidSignature:
            return False
        return key is not None

    def dump(self) -> str:
        keys = [
            {"key_id": key_id, "algorithm": "Ed25519", "public_key": to_text(key.public_bytes_raw())}
            for key_id, key in self._keys.items()
        ]
        return json.dumps({"keys": keys}, indent=2)

    @classmethod
    def load(cls, text: str) -> Self:
        """Raises ValueError."""
        try:
            keys = [from_text(entry["public_key"]) for entry in json.loads(text)["keys"]]
            return cls([Ed25519PublicKey.from_public_bytes(key) for key in keys])
        except (KeyError, TypeError) as problem:
            raise ValueError("no list of public keys") from problem


def canonical(value: Any) -> bytes:
    """JSON with sorted names and no blanks, in UTF-8 and not escaped: RFC 8785, for names in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def instant(time: datetime) -> str:
    """A time as statements say it: `2026-11-22T10:00:00.000000Z`, always with six digits."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def key_id_of(key: Ed25519PublicKey) -> str:
    """Out of the key itself: whoever is shown a key sees whether it is the one that was named."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def to_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def from_text(text: Any) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError) as problem:
        raise ValueError("is not base64") from problem


def _message(purpose: str, statement: Statement) -> bytes:
    return purpose.encode() + b"\n" + canonical(statement)
