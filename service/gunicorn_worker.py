"""gunicorn's worker, with our own answer to what never becomes a request of the application."""

import json
import secrets
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from service.errors import CODES

log = structlog.get_logger()


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no type information
    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: BaseException) -> None:
        """gunicorn's own repeats the broken line, in HTML and in the log; the line may hold a person's id."""
        code = "malformed_request" if isinstance(exc, ParseException) else "internal_error"
        request_id = secrets.token_hex(8)
        log.warning("no_request", problem=type(exc).__name__, code=code, request_id=request_id)
        with suppress(OSError):
            client.sendall(_problem(code, request_id))


def _problem(code: str, request_id: str) -> bytes:
    status = HTTPStatus(CODES[code].status)
    body = json.dumps(
        {
            "type": "about:blank",
            "title": status.phrase,
            "status": status,
            "code": code,
            "detail": CODES[code].sentence,
            "request_id": request_id,
        }
    ).encode()
    head = (
        f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"X-Content-Type-Options: nosniff\r\nX-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
