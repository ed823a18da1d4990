"""What a request leaves behind: one log line, some counters, and headers. The route's template, never the path:
a path holds customers' ids."""

import re
import secrets
from time import perf_counter

import structlog
from flask import Flask, Response, g, request

from service import metrics
from service.access import may_hold_key
from service.headers import HEADERS, HSTS

log = structlog.get_logger()

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CALLERS_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def register(app: Flask, *, tls_in_front: bool = False) -> None:
    headers = HEADERS | (HSTS if tls_in_front else {})

    def end(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return _end(response)

    app.before_request(_begin)
    app.after_request(end)


def _begin() -> None:
    given = request.headers.get("X-Request-ID", "")
    is_plain = _CALLERS_ID.fullmatch(given) and not may_hold_key(given)
    g.request_id = given if is_plain else secrets.token_hex(8)
    g.started = perf_counter()


def _end(response: Response) -> Response:
    route = str(request.url_rule) if request.url_rule else "(none)"
    # Only names of our own choosing: whatever a stranger makes up would be a new counter each time.
    method = request.method if request.method in METHODS else "(other)"
    seconds = perf_counter() - g.started
    metrics.requests.labels(method, route, response.status_code).inc()
    metrics.request_seconds.labels(method, route).observe(seconds)
    log.info(
        "request",
        request_id=g.request_id,
        method=method,
        route=route,
        status=response.status_code,
        code=g.get("problem_code"),
        ms=round(seconds * 1000, 2),
        key=g.caller.used if "caller" in g else None,
    )
    response.headers["X-Request-ID"] = g.request_id
    return response
