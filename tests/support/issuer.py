"""An OpenID Connect issuer on this machine: its document, its keys, and tokens it signs."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "countersign"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class TestIssuer:
    __test__ = False  # pytest would take it for a test

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {"first": new_rsa()}
        self.asked: list[str] = []
        self.document: dict[str, Any] = {}
        self.answers = True
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                self.send_response(200 if issuer.answers else 503)
                self.end_headers()
                self.wfile.write(json.dumps(issuer.content(self.path)).encode())

            def log_message(self, *_unused: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"http://127.0.0.1:{self._server.server_address[1]}/bank"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def content(self, path: str) -> dict[str, Any]:
        if path == "/bank/.well-known/openid-configuration":
            return {"issuer": self.name, "jwks_uri": f"{self.name}/keys", **self.document}
        return {"keys": [described(kid, key) for kid, key in self.keys.items()]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        given = {"iss": self.name, "aud": AUDIENCE, "sub": "ada", "exp": now + 300, "scope": "openid verify enrol"}
        return {name: value for name, value in (given | changed).items() if value is not None}

    def token(self, kid: str = "first", key: Key | None = None, **changed: Any) -> str:
        key = key or self.keys[kid]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(self.claims(**changed), key, algorithm, {"kid": kid})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def new_rsa(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def described(kid: str, key: Key) -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
