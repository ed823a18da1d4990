"""One decorator states the whole contract of a call: scope, body, answer, refusals. It authenticates, reads the
request, opens the transaction, applies idempotency and documents all of it."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast

from apiflask import APIBlueprint
from flask import Response, current_app, g, request
from pydantic import BaseModel
from sqlalchemy.orm import Session

from service import idempotency
from service.access import Caller, identify
from service.api.body import read_body, read_query
from service.api.problems import MEDIA_TYPE, Problem
from service.api.schema import body_schema, parameters
from service.database import again_when_overtaken
from service.errors import CODES, Refused
from service.idempotency import Answer, Claim
from service.product import Product

PRODUCT = "countersign"
RATE = "countersign rate"
SECURITY = "api_key"
REPEATABLE = ("POST", "DELETE")
"""Methods that take an `Idempotency-Key`; a PUT or GET may be repeated as it is."""

JSON = "application/json"
PNG = "image/png"

View = Callable[..., BaseModel | tuple[BaseModel, int] | bytes]


def endpoint(
    blueprint: APIBlueprint,
    method: str,
    path: str,
    *,
    scope: str,
    returns: type[BaseModel] | str,
    status: int = 200,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    refusals: Sequence[str] = (),
    stores: bool = True,
) -> Callable[[View], View]:
    """`returns` is the model of the answer, or the media type of one that is bytes. `stores` is false for a POST that
    only asks: it then takes no place in the queue of those who write."""

    media = returns if isinstance(returns, str) else JSON

    def decorate(view: View) -> View:
        @wraps(view)
        def handle(**path_values: str) -> Response:
            g.caller = authorise(scope)
            if any("\0" in value for value in path_values.values()):  # PostgreSQL cannot even look it up
                raise Refused("not_found")
            inputs: dict[str, Any] = {}
            if body is not None:
                inputs["body"] = read_body(body)
            if query is not None:
                inputs["query"] = read_query(query)
            work = _Work(view, status, media, path_values | inputs)
            key = request.headers.get("Idempotency-Key") if method in REPEATABLE else None
            if key is not None:
                return work.once(key, inputs.get("body"))
            return work.write() if stores and method != "GET" else work.read()

        codes = _codes(method, path, refusals, takes_body=body is not None, takes_query=query is not None)
        responses = problem_responses(codes)
        documented = handle
        if isinstance(returns, str):  # OpenAPI 3.1 writes bytes as a media type without a schema
            responses[status] = {"description": "Successful response", "content": {returns: {}}}
        else:
            documented = blueprint.output(returns, status_code=status)(handle)
        documented = blueprint.doc(
            responses=responses,
            security=[{SECURITY: [scope]}],
            extensions=_extensions(method, body, query),
        )(documented)
        blueprint.route(path, methods=[method])(documented)
        return view

    return decorate


def product() -> Product:
    """Raises `not_ready` in a process that has not opened it yet."""
    opened = current_app.extensions[PRODUCT]
    if opened is None:
        raise Refused("not_ready")
    return cast("Product", opened)


def caller() -> Caller:
    return cast("Caller", g.caller)


def session() -> Session:
    return cast("Session", g.session)


def names(*subjects: str) -> None:
    """Says whom this answer names, so that a kept copy of it goes when they do."""
    g.subjects.update(subjects)


def authorise(scope: str) -> Caller:
    """Raises `unauthenticated`, `issuer_unavailable`, `too_many_requests` or `missing_scope`."""
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key:
        raise Refused("unauthenticated")
    known = _identify(key.strip())
    if known is None:
        raise Refused("unauthenticated")
    _slow_down(known)
    if scope not in known.scopes:
        raise Refused("missing_scope")
    return known


def _identify(key: str) -> Caller | None:
    opened = product()
    if opened.issuer is not None and not key.startswith("cs_"):
        return opened.issuer.identify(key)
    with opened.database.asking() as connection:
        known = identify(connection, key)
    if known is not None:
        opened.key_uses.note(known.used)
    return known


def counted() -> str | None:
    """The caller, if the caller's misses count: who reviews sees every score anyway."""
    return None if "review" in caller().scopes else caller().key_id


def _slow_down(known: Caller) -> None:
    rate = current_app.extensions[RATE]
    wait = rate.take(known.key_id) if rate is not None else 0
    if wait:
        g.caller = known  # so that the log says whose it was
        raise Refused("too_many_requests", retry_after=wait)


class _Work:
    """One call of a view inside its transaction."""

    def __init__(self, view: View, status: int, media: str, inputs: dict[str, Any]) -> None:
        self._view = view
        self._status = status
        self._media = media
        self._inputs = inputs

    @again_when_overtaken
    def read(self) -> Response:
        with product().database.reading() as g.session:
            return self._answer()

    @again_when_overtaken
    def write(self) -> Response:
        with product().database.writing() as g.session:
            return self._answer()

    def once(self, key: str, body: BaseModel | None) -> Response:
        claim = _claim(key, body)
        if isinstance(claim, Answer):
            return _respond(claim.body, claim.status_code, replayed=True)
        try:
            return self._complete(claim)
        except BaseException:
            idempotency.release(product().database, claim)
            raise

    @again_when_overtaken
    def _complete(self, claim: Claim) -> Response:
        with product().database.writing() as g.session:
            response = self._answer()
            answer = Answer(response.status_code, response.get_data(as_text=True))
            idempotency.complete(g.session, product().vault, claim, answer, g.subjects)
            return response

    def _answer(self) -> Response:
        g.subjects = set()
        result = self._view(**self._inputs)
        if isinstance(result, bytes):
            return Response(result, status=self._status, mimetype=self._media)
        content, status = result if isinstance(result, tuple) else (result, self._status)
        return _respond(content.model_dump_json(by_alias=True), status)


def _respond(content: str, status: int, *, replayed: bool = False) -> Response:
    response = Response(content, status=status, mimetype=JSON)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _claim(key: str, body: BaseModel | None) -> Claim | Answer:
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise Refused(
            "invalid_field", errors=[{"field": "Idempotency-Key", "problem": "1 to 255 printable characters"}]
        )
    opened = product()
    scope = idempotency.scope_hash(opened.vault, caller().key_id, request.method, request.path, key)
    fields = body.model_dump() if body is not None else {}
    return idempotency.claim(
        opened.database,
        opened.vault,
        scope,
        idempotency.fingerprint(opened.vault, fields),
        opened.settings.idempotency_hours,
    )


_PROBLEM = Problem.model_json_schema()  # once: for every status of every call it costs a start 0.1 s


def problem_responses(codes: Sequence[str]) -> dict[int, Any]:
    """OpenAPI responses for these codes, one a status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`" for code in dict.fromkeys(some)),
            "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
        }
        for status, some in sorted(by_status.items())
    }


def _codes(method: str, path: str, refusals: Sequence[str], *, takes_body: bool, takes_query: bool) -> list[str]:
    """What any call of this form may be refused with, beside its own refusals."""
    codes = ["unauthenticated", "missing_scope", "too_many_requests", *refusals]
    if takes_body:
        codes += ["malformed_body", "too_large", "unsupported_media_type", "invalid_field"]
    if takes_query:
        codes.append("invalid_field")
    if method in REPEATABLE:
        codes += ["invalid_field", "idempotency_mismatch", "idempotency_in_progress", "erased"]
    if "<" in path and not any(CODES[code].status == 404 for code in refusals):
        codes.append("not_found")
    return codes


def _extensions(method: str, body: type[BaseModel] | None, query: type[BaseModel] | None) -> dict[str, Any]:
    found = parameters(query) if query is not None else []
    if method in REPEATABLE:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "description": "Repeating a request with the same key replays its answer.",
            }
        )
    extensions: dict[str, Any] = {"parameters": found}
    if body is not None:
        extensions["requestBody"] = body_schema(body)
    return extensions
