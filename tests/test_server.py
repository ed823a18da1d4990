"""How one server process shares itself among its clients."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from service.gunicorn_worker import REQUESTS_AT_ONCE, SILENT_SECONDS
from tests.support.images import signature
from tests.support.server import Server
from tests.support.world import parts


def test_bodies_that_arrive_slowly_keep_nobody_waiting(server_of_one_megabyte: Server) -> None:
    key = server_of_one_megabyte.key()
    head, body = _enrolment(key, "slow-body")
    with ExitStack() as stack:
        slow = [stack.enter_context(_connected(server_of_one_megabyte)) for _ in range(20)]
        for connection in slow:
            connection.sendall(head + body[:100])

        assert httpx.get(f"{server_of_one_megabyte.url}/healthz", timeout=20).status_code == 200

        slow[0].sendall(body[100:])
        assert _status(slow[0]) == 201


def test_only_so_many_requests_share_the_memory_of_a_process(server_of_one_megabyte: Server) -> None:
    head, body = _enrolment(server_of_one_megabyte.key(), "one-of-many")
    with ExitStack() as stack:
        slow = [stack.enter_context(_connected(server_of_one_megabyte)) for _ in range(REQUESTS_AT_ONCE)]
        for connection in slow:
            connection.sendall(head + body[:100])
        with _connected(server_of_one_megabyte) as next_one:
            next_one.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            next_one.settimeout(2)
            with pytest.raises(TimeoutError):
                next_one.recv(1)

            slow[0].close()

            next_one.settimeout(20)
            assert _status(next_one) == 200


def test_a_body_without_end_ends_its_connection_and_keeps_nobody_waiting(server_of_one_megabyte: Server) -> None:
    """On an address that does not even look at a body."""
    with _connected(server_of_one_megabyte) as endless:
        endless.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n")
        stream = threading.Thread(target=_send_until_closed, args=(endless,))
        stream.start()

        assert httpx.get(f"{server_of_one_megabyte.url}/healthz", timeout=20).status_code == 200

        stream.join(timeout=60)
        assert not stream.is_alive()


@pytest.mark.slow
def test_a_client_that_falls_silent_is_given_up(server_of_one_megabyte: Server) -> None:
    head, body = _enrolment(server_of_one_megabyte.key(), "fell-silent")
    with _connected(server_of_one_megabyte, timeout=SILENT_SECONDS + 30) as connection:
        connection.sendall(head + body[:100])

        assert _status(connection) == 400
        assert connection.recv(1) == b""
    assert "Traceback" not in server_of_one_megabyte.log()


@contextmanager
def _connected(server: Server, timeout: float = 60) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        yield connection


def _enrolment(key: str, customer_id: str) -> tuple[bytes, bytes]:
    """The head and the body of a request."""
    request = httpx.Request(
        "POST", "http://x", data={"customer_id": customer_id}, files=parts("specimen", signature("ada"))
    )
    body = request.read()
    head = (
        f"POST /v1/customers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {request.headers['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


def _status(connection: socket.socket) -> int:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, rest = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(rest) < length:
        rest += connection.recv(65536)
    return int(head.split()[1])


def _send_until_closed(connection: socket.socket) -> None:
    with suppress(ConnectionError):
        while True:
            connection.sendall(b"x" * 65536)
