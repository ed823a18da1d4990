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


UNREAD_BYTES = 64 * 1024
"""gunicorn reads so much of a body that the application left; after more it closes the connection."""


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no type information
    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi.wsgi_app = _announce_close(self.wsgi.wsgi_app)

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: BaseException) -> None:
        """gunicorn's own repeats the broken line, in HTML and in the log; the line may hold a person's id."""
        code = "malformed_request" if isinstance(exc, ParseException) else "internal_error"
        request_id = secrets.token_hex(8)
        log.warning("no_request", problem=type(exc).__name__, code=code, request_id=request_id)
        with suppress(OSError):
            client.sendall(_problem(code, request_id))


def _announce_close(application: Any) -> Any:
    """A request that is refused before its body is read ends its connection. Left to itself gunicorn promises to keep
    it, and the next request of a client that believes so is lost."""

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        answer = application(environ, start_response)
        response = start_response.__self__
        if response.status_code >= HTTPStatus.BAD_REQUEST and _is_large(environ):
            response.force_close()
        return answer

    return call


def _is_large(environ: dict[str, Any]) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return int(length) > UNREAD_BYTES if length.isdecimal() else "HTTP_TRANSFER_ENCODING" in environ


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
