"""gunicorn's worker: an event loop that takes in requests side by side and works on one at a time.

Nothing is monkey-patched, so only the sockets of clients yield. A body that arrives slowly keeps nobody waiting, and
a request that has arrived runs alone to its answer: threads that compute side by side only take Python's lock from
each other (8 clients: 131 verifications a second with two threads, 171 so).
"""

import json
import secrets
import socket
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import gevent  # type: ignore[import-untyped]
import gevent.socket  # type: ignore[import-untyped]
import structlog
from gevent.lock import BoundedSemaphore  # type: ignore[import-untyped]
from gevent.pool import Pool  # type: ignore[import-untyped]
from gevent.server import StreamServer  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from service.errors import CODES
from service.headers import HEADERS

log = structlog.get_logger()

SILENT_SECONDS = 30
"""A client that sends nothing of its body for so long is given up, and so is one that takes nothing of the answer."""

REQUEST_SECONDS = 120
"""A whole request has so long, however steadily it drips in."""

REQUESTS_AT_ONCE = 64
"""Each may hold a whole body in memory; connections that wait for their next request do not count."""

UNREAD_BYTES = 64 * 1024
"""More than so much of a body that the application left is not read to keep the connection: it is closed."""


class Worker(GeventWorker):  # type: ignore[misc] # gunicorn ships no type information
    sockets: list[Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._room = BoundedSemaphore(REQUESTS_AT_ONCE)

    def patch(self) -> None:
        """Instead of gevent's own, which patches all of Python: the database is asked without yielding."""
        self.sockets = [
            gevent.socket.socket(s.FAMILY, socket.SOCK_STREAM, fileno=s.sock.detach()) for s in self.sockets
        ]

    def server_class(self, listener: socket.socket, *, spawn: Pool, **_unused: Any) -> StreamServer:
        """gunicorn's own takes one connection at each turn of the loop, which makes those who come together wait for
        many turns; all at once would leave other processes without work."""
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=spawn)
        server.max_accept = 2
        return server

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi.wsgi_app = _announce_close(self.wsgi.wsgi_app)

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:
        client.settimeout(SILENT_SECONDS)
        super(GeventWorker, self).handle(listener, client, addr)  # gevent's own takes the limit away again

    def handle_request(self, *request: Any) -> Any:
        # A turn of the loop, so that whoever has waited longer goes first; sleep(0) may not turn it.
        gevent.sleep(1e-6)
        with self._room, gevent.Timeout(REQUEST_SECONDS, TimeoutError):
            try:
                return super().handle_request(*request)
            except TimeoutError as problem:  # the answer was not taken; a body that stays away is answered with 400
                raise StopIteration from problem

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: BaseException) -> None:
        """gunicorn's own repeats the broken line, in HTML and in the log; the line may hold a person's id."""
        code = "malformed_request" if isinstance(exc, ParseException) else "internal_error"
        request_id = secrets.token_hex(8)
        log.warning("no_request", problem=type(exc).__name__, code=code, request_id=request_id)
        with suppress(OSError):
            client.sendall(_problem(code, request_id))


def _announce_close(application: Any) -> Any:
    """A request whose body is not read to its end ends its connection. Left to itself gunicorn promises to keep it
    and reads whatever the client goes on sending: in a loop that never turns, for as long as the client likes."""

    def call(environ: dict[str, Any], start_response: Any) -> Any:
        answer = application(environ, start_response)
        if _leaves_much(environ):
            start_response.__self__.force_close()
        return answer

    return call


def _leaves_much(environ: dict[str, Any]) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    is_large = int(length) > UNREAD_BYTES if length.isdecimal() else "HTTP_TRANSFER_ENCODING" in environ
    reader = environ["wsgi.input"].reader
    return is_large and bool(reader.length if hasattr(reader, "length") else reader.parser)


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
    headers = {
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        **HEADERS,
    }
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("ascii") + body
