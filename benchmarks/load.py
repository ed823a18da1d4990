"""The load generator, a process of its own: requests ready as bytes, one thread and one kept connection a client.

It shares the cores with the server, so it does as little as it can, and says what it cost.
"""

import base64
import itertools
import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.child import answer_task, measure_apart

HOST = "127.0.0.1"


def generate(
    port: int, clients: int, requests: list[bytes], seconds: float | None, per_second: float | None = None
) -> dict[str, Any]:
    """Answers `{statuses, milliseconds, total_ms, wall_s, cpu_s}`. Without `seconds` each request is sent once,
    otherwise they are repeated for that long. With `per_second` they come steadily, and each is timed from when it
    was due, so that waiting for a free client counts."""
    encoded = [base64.b64encode(request).decode() for request in requests]
    task = {"port": port, "clients": clients, "requests": encoded, "seconds": seconds, "per_second": per_second}
    return measure_apart("benchmarks.load", task)


def multipart(target: str, key: str, fields: list[tuple[str, str | bytes]]) -> bytes:
    """A POST request as bytes; a field that is bytes is sent as a file."""
    boundary = secrets.token_hex(12)
    body = b"".join(_part(boundary, name, value) for name, value in fields) + f"--{boundary}--\r\n".encode()
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _part(boundary: str, name: str, value: str | bytes) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
    if isinstance(value, bytes):
        head += '; filename="scan.png"\r\nContent-Type: image/png'
        return f"{head}\r\n\r\n".encode() + value + b"\r\n"
    return f"{head}\r\n\r\n{value}\r\n".encode()


@dataclass
class _Client(threading.Thread):
    port: int
    requests: Iterator[tuple[float, bytes]]
    deadline: float
    answers: list[tuple[float, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:  # a dataclass with equality has none, and threads are kept in sets
        return id(self)

    def run(self) -> None:
        with socket.create_connection((HOST, self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for due, request in self.requests:  # shared by all clients: an iterator in C hands out each once
                time.sleep(max(0.0, due - time.perf_counter()))
                started = due or time.perf_counter()
                if started > self.deadline:
                    return
                connection.sendall(request)
                answer = _receive(connection)
                self.answers.append((time.perf_counter() - started, answer))


def _receive(connection: socket.socket) -> bytes:
    answer = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"the server hung up after {answer[:200]!r}")
        answer += piece
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and len(body) >= _content_length(head):
            return answer


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def measure(
    port: int, clients: int, requests: list[str], seconds: float | None, per_second: float | None
) -> dict[str, Any]:
    ready = [base64.b64decode(request) for request in requests]
    shared = itertools.cycle(ready) if seconds else itertools.chain(ready)
    deadline = time.perf_counter() + seconds if seconds else float("inf")
    due = itertools.count(time.perf_counter(), 1 / per_second) if per_second else itertools.repeat(0.0)
    timed = zip(due, shared, strict=False)
    threads = [_Client(port, timed, deadline) for _ in range(clients)]
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    answers = [answer for thread in threads for answer in thread.answers]
    return {
        "statuses": Counter(answer[9:12].decode() for _, answer in answers),
        "milliseconds": [1000 * seconds for seconds, _ in answers],
        "total_ms": [ms for _, answer in answers if (ms := _total_ms(answer)) is not None],
        "wall_s": wall,
        "cpu_s": cpu,
    }


def _total_ms(answer: bytes) -> float | None:
    """What a verification says that it took."""
    timings = json.loads(answer.partition(b"\r\n\r\n")[2]).get("timings_ms")
    return timings["total"] if timings else None


if __name__ == "__main__":
    answer_task(measure)
