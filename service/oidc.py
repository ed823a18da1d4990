"""Callers who bring a token of an OpenID Connect issuer instead of an API key (RFC 7519, RFC 8725).

Nothing about them is stored here: what they may do stands in the token, and they are noted under a pseudonym that
only the key store can make of issuer and subject. A token is good until it ends, so an issuer should let it end soon.
"""

import json
import threading
from http.client import HTTPException
from time import monotonic
from typing import Any
from urllib.request import HTTPRedirectHandler, build_opener

import jwt
import structlog

from service.access import SCOPES, Caller
from service.errors import Refused
from service.settings import Settings
from service.vault import Vault

log = structlog.get_logger()

ALGORITHMS = ("RS256", "ES256")
"""Signed by the issuer alone: with a shared secret, whoever checks tokens could make them."""

LEEWAY_SECONDS = 30
REFRESH_SECONDS = 300.0
PAUSE_SECONDS = 30.0
"""Unknown key ids make this server ask the issuer no more often, however many are sent."""

KEEP_SECONDS = 24 * 3600.0
"""Keys of an issuer that is away are good for so long: those who hold its tokens go on working."""

TIMEOUT_SECONDS = 2.0
MOST_BYTES = 1 << 18
_CHECKS: Any = {"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True}


class Issuer:
    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._name = str(settings.oidc_issuer)
        self._audience = settings.oidc_audience
        self._claim = settings.oidc_scopes_claim
        self._vault = vault
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = threading.Lock()

    def identify(self, token: str) -> Caller | None:
        """Whose token this is; None for one that is not to be trusted. Raises `issuer_unavailable` where that cannot
        be told, for the key that it names is not known and the issuer does not answer."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid")) if header.get("alg") in ALGORITHMS else None
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._name,
                leeway=LEEWAY_SECONDS,
                options=_CHECKS,
            )
        except jwt.PyJWTError:
            return None
        subject = self._vault.lookup("caller", f"{self._name}\0{claims['sub']}")
        pseudonym = f"oidc_{subject.hex()[:24]}"
        return Caller(pseudonym, self._scopes(claims), pseudonym)

    def catch_up(self) -> None:
        """Asks for the issuer's keys, so that no request waits for those it has had for long."""
        with self._lock:
            self._refresh()

    def _key(self, kid: object) -> jwt.PyJWK | None:
        if not isinstance(kid, str):
            return None
        with self._lock:
            if self._is_known(kid):
                return self._keys[kid]
            if monotonic() >= self._tried + PAUSE_SECONDS:
                self._refresh()
            if self._is_known(kid):
                return self._keys[kid]
            if self._fetched < self._tried:
                raise Refused("issuer_unavailable", retry_after=PAUSE_SECONDS)
        return None

    def _is_known(self, kid: str) -> bool:
        return kid in self._keys and monotonic() < self._fetched + KEEP_SECONDS

    def _refresh(self) -> None:
        self._tried = monotonic()
        try:
            self._keys = {key["kid"]: jwt.PyJWK(key) for key in self._fetch_keys() if _is_for_signing(key)}
            self._fetched = self._tried
        except (OSError, HTTPException, ValueError, AttributeError, KeyError, TypeError, jwt.PyJWTError) as problem:
            log.error("issuer_unavailable", problem=type(problem).__name__)

    def _fetch_keys(self) -> list[dict[str, Any]]:
        document = _fetch(f"{self._name.rstrip('/')}/.well-known/openid-configuration")
        address = str(document["jwks_uri"])
        if document["issuer"] != self._name or not address.startswith(self._name.partition("//")[0]):
            raise ValueError("another issuer's document, or one that leads to keys which anybody could change")
        return list(_fetch(address)["keys"])

    def _scopes(self, claims: dict[str, Any]) -> frozenset[str]:
        told = claims.get(self._claim, [])
        names = told.split() if isinstance(told, str) else told
        return frozenset(scope for scope in SCOPES if isinstance(names, list) and scope in names)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_unused: Any) -> None:
        """Nobody but the issuer itself says where its keys are."""


def _fetch(address: str) -> Any:
    with build_opener(_NoRedirects).open(address, timeout=TIMEOUT_SECONDS) as answer:
        return json.loads(answer.read(MOST_BYTES))


def _is_for_signing(key: dict[str, Any]) -> bool:
    kinds = {"RSA": "RS256", "EC": "ES256"}
    is_ours = key.get("alg", kinds.get(key["kty"])) == kinds.get(key["kty"]) and key.get("crv") in {None, "P-256"}
    return key["kty"] in kinds and is_ours and key.get("use", "sig") == "sig" and isinstance(key.get("kid"), str)
