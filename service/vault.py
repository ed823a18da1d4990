"""The vault: the one seam through which personal data enters and leaves the database.

Values are sealed with AES-256-GCM (NIST SP 800-38D). The owner and the kind are authenticated with them, so that a
value moved to another person, or an image put where a vector was, does not open.
"""

import hmac
import os
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.keystore import KeyStore
from service.signing import Signer


class SealedValue(NamedTuple):
    key_id: str
    nonce: bytes
    sealed: bytes


class SealBroken(RuntimeError):
    """A stored value does not open: edited, swapped, or sealed under a key that this key store does not hold."""


class Vault:
    def __init__(self, store: KeyStore) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in store.keys.items()}
        self._active = store.active
        self._lookup_key = store.lookup
        self.signer = Signer(store.signing)

    def seal(self, owner: str, kind: str, value: bytes) -> SealedValue:
        nonce = os.urandom(12)
        sealed = self._ciphers[self._active].encrypt(nonce, value, _bound_to(owner, kind))
        return SealedValue(self._active, nonce, sealed)

    def open(self, owner: str, kind: str, value: SealedValue) -> bytes:
        """Raises `SealBroken`."""
        try:
            return self._ciphers[value.key_id].decrypt(value.nonce, value.sealed, _bound_to(owner, kind))
        except (InvalidTag, KeyError) as problem:
            raise SealBroken(f"a {kind} does not open under key {value.key_id}") from problem

    def lookup(self, kind: str, identifier: str) -> bytes:
        """Keyed hash to find a row by an identifier that is stored only sealed: 32 bytes."""
        return hmac.digest(self._lookup_key, f"{kind}\0{identifier}".encode(), "sha256")


def _bound_to(owner: str, kind: str) -> bytes:
    return f"{kind}\0{owner}".encode()
