"""What must stay secret stands in no log, no metric and no answer, wherever a careless client puts it."""

import socket

import httpx
import pytest

from tests.support.images import signature
from tests.support.issuer import TestIssuer
from tests.support.server import Server
from tests.support.world import parts


@pytest.fixture(scope="module")
def token() -> str:
    issuer = TestIssuer()
    issuer.stop()
    return issuer.token(scope="enrol")


def test_a_key_or_token_in_an_odd_place_is_not_logged_counted_or_repeated(
    server_of_one_megabyte: Server, token: str
) -> None:
    server, key = server_of_one_megabyte, server_of_one_megabyte.key()
    answers = [text for secret in (key, token) for text in _everywhere(server, secret)]
    metrics = httpx.get(f"http://{server.environment['COUNTERSIGN_METRICS_BIND']}/metrics").text

    assert len(answers) > 20
    for secret in (key.split("_", 2)[2], token.split(".")[1], token.split(".")[2]):
        assert [text for text in answers if secret in text] == []
        assert secret not in server.log()
        assert secret not in metrics


def _everywhere(server: Server, secret: str) -> list[str]:
    """What was answered, headers and all."""
    bearer = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answers = [
            client.get("/v1/customers", headers=bearer),
            client.get("/v1/customers", headers={"Authorization": secret}),
            client.get("/v1/customers", headers={"Authorization": f"Basic {secret}"}),
            client.get("/v1/customers", headers={"Authorization": f"Bearer {secret[:-1]}"}),
            client.get("/v1/customers", headers={"Authorization": f"Bearer {secret}x"}),
            client.get("/v1/customers", headers={"X-API-Key": secret, "Cookie": f"key={secret}", "Referer": secret}),
            client.get("/v1/customers", headers={**bearer, "X-Request-ID": secret, "User-Agent": secret}),
            client.get("/v1/customers", headers={"X-Request-ID": secret[:60]}),
            client.get(f"/v1/customers?key={secret}", headers=bearer),
            client.get(f"/v1/customers?{secret}=1", headers=bearer),
            client.get(f"/v1/customers/{secret}", headers=bearer),
            client.get(f"/{secret}", headers=bearer),
            client.request(secret, "/v1/customers", headers=bearer),
            client.post("/v1/customers", json={secret: secret}, headers=bearer),
            client.post("/v1/customers", content=secret, headers={**bearer, "Content-Type": "application/json"}),
            client.post("/v1/customers", headers={**bearer, "Content-Type": secret}),
            client.post("/v1/comparisons", files=parts(secret, signature("ada")), headers=bearer),
            client.delete("/v1/customers/nobody", headers={**bearer, "Idempotency-Key": secret}),
        ]
    raw = [
        f"GET /{secret} HTTP/9.9\r\n\r\n",
        f"{secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\n{secret}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {secret}\r\n\r\n",
    ]
    return [f"{answer.headers}{answer.text}" for answer in answers] + [_raw(server, line) for line in raw]


def _raw(server: Server, request: str) -> str:
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            received += chunk
    return received.decode()
