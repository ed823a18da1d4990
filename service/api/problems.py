"""Errors as RFC 9457 problem documents: every one of them is made here."""

import math
from http import HTTPStatus
from typing import Any

import structlog
from apiflask import APIFlask
from flask import Response, g, json
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from service.errors import CODES, Refused
from service.vault import SealBroken

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
BY_STATUS = {
    400: "malformed_body",
    401: "unauthenticated",
    403: "missing_scope",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "not_ready",
}


class Problem(BaseModel):
    """RFC 9457. `code` is stable; the table of codes is in the documentation."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[Any] = Field(default_factory=list, description="Which fields, and what is wrong with each.")


def register(app: APIFlask) -> None:
    app.register_error_handler(Refused, _from_refusal)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(OperationalError, _from_database)
    app.register_error_handler(Exception, _from_bug)


def problem(code: str, headers: dict[str, str] | None = None, **details: Any) -> Response:
    meaning = CODES[code]
    g.problem_code = code
    body = {
        "type": "about:blank",
        "title": HTTPStatus(meaning.status).phrase,
        "status": meaning.status,
        "code": code,
        "detail": meaning.sentence,
        "request_id": g.get("request_id", ""),
    } | details
    response = Response(json.dumps(body), status=meaning.status, mimetype=MEDIA_TYPE, headers=headers)
    if meaning.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="countersign"'
    return response


def _from_refusal(refused: Refused) -> Response:
    seconds = refused.retry_after
    headers = None if seconds is None else {"Retry-After": str(max(1, math.ceil(seconds)))}
    return problem(refused.code, headers, **refused.details)


def _from_http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400:  # a redirect is an HTTPException too
        return error
    allowed = dict(error.get_headers()).get("Allow")
    fallback = "malformed_body" if status < 500 else "internal_error"
    return problem(BY_STATUS.get(status, fallback), headers={"Allow": allowed} if allowed else None)


def _from_database(error: OperationalError) -> Response:
    """Away, full, or too busy: nothing was stored, and trying again is right."""
    log.error("database_unavailable", problem=type(error.orig).__name__, request_id=g.get("request_id"))
    return problem("not_ready", headers={"Retry-After": "1"})


def _from_bug(error: Exception) -> Response:
    # The traceback's last frames, not the message: messages of drivers repeat parameters, which may be personal.
    log.error(
        "seal_broken" if isinstance(error, SealBroken) else "unhandled",
        problem=type(error).__name__,
        at=_frames(error),
        request_id=g.get("request_id"),
    )
    return problem("internal_error")


def _frames(error: Exception) -> list[str]:
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-8:]
