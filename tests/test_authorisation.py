"""The table of authorisation: every route, with every scope, for an id that is there, was never there, and is gone.

Without its scope a call answers the same 403 for all three, changes nothing and tells nothing. With it, what the row
says.
"""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import httpx
import pytest

from service.access import SCOPES
from service.api.app import create_app
from service.models import Activation
from tests.support.images import signature
from tests.support.world import World, parts
from tests.test_api_access import CONTRACT

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)

Content = dict[str, Any]


class Ids:
    """Of nothing that ever was."""

    def __init__(self, world: World, caller: httpx.Client) -> None:
        self.world, self.caller = world, caller

    @cached_property
    def account_id(self) -> str:
        return self.world.new_id()

    @cached_property
    def customer_id(self) -> str:
        return self.world.new_id()

    specimen_id = verification_id = batch_id = activation_id = receipt_id = "nothing"
    model_version = "0.0.1"


class Present(Ids):
    """Of a customer with a pending specimen, on an account of their own, where a verification waits for a person."""

    @cached_property
    def customer_id(self) -> str:
        customer_id = self.world.new_id()
        self.world.enrol(customer_id, signature("ada"), accounts=[self.account_id])
        return customer_id

    @cached_property
    def specimen_id(self) -> str:  # type: ignore[override]
        with self.world.thresholds(accept=2, reject=2):  # which no score reaches, so that it is doubted
            return str(self.world.add(self.customer_id, signature("ada", 1))[0]["specimen_id"])

    @cached_property
    def verification_id(self) -> str:  # type: ignore[override]
        assert self.customer_id
        with self.world.thresholds(accept=2, reject=0):
            return str(self.world.verify(self.account_id, signature("ada", 2))["verification_id"])

    @cached_property
    def batch_id(self) -> str:  # type: ignore[override]
        answer = self.caller.post("/v1/batches", **batch(self))
        return str(answer.json()["batch_id"])

    @cached_property
    def activation_id(self) -> str:  # type: ignore[override]
        given = dict.fromkeys(("model_version", "from_version"), "1.0.0")
        counts = dict.fromkeys(("done", "total", "needs_reenrolment"), 0)
        activation_id = f"act_{secrets.token_hex(12)}"
        with self.world.product.database.writing() as session:
            session.add(
                Activation(
                    activation_id=activation_id,
                    mode="switch",
                    state="done",
                    created_at=datetime.now(UTC),
                    **given,
                    **counts,
                )
            )
        return activation_id

    @cached_property
    def receipt_id(self) -> str:  # type: ignore[override]
        leaver = self.world.new_id()
        self.world.enrol(leaver, signature("leaver"))
        return str(self.world.api.delete(f"/v1/customers/{leaver}").json()["receipt_id"])

    @cached_property
    def model_version(self) -> str:  # type: ignore[override]
        return str(self.world.product.models.default_version)


class Gone(Present):
    """The customer is erased and the account deleted. A batch, an activation, a receipt and a model version cannot be
    erased."""

    def close(self, *needed: str) -> None:
        assert self.customer_id
        for name in needed:
            getattr(self, name)
        assert self.world.api.delete(f"/v1/customers/{self.customer_id}").status_code == 200
        assert self.world.api.delete(f"/v1/accounts/{self.account_id}").status_code == 200


def nothing(_: Ids) -> Content:
    return {}


def customer(ids: Ids) -> Content:
    return {"data": {"customer_id": ids.customer_id}, "files": parts("specimen", signature("ada"))}


def specimen(_: Ids) -> Content:
    return {"files": parts("specimen", signature("ada", 3))}


def image(_: Ids) -> Content:
    return {"files": parts("image", signature("ada", 4))}


def two_images(_: Ids) -> Content:
    return {"files": parts("image_a", signature("ada")) + parts("image_b", signature("bob"))}


def account(_: Ids) -> Content:
    return {"json": {"signatories": []}}


def decision(_: Ids) -> Content:
    return {"json": {"decision": "accept", "note": "as I know it"}}


def position(_: Ids) -> Content:
    return {"json": {"position": 0}}


def batch(ids: Ids) -> Content:
    manifest = f"account_id,image\n{ids.account_id},a.png\n".encode()
    return {
        "files": [("manifest", ("m.csv", manifest, "text/csv")), ("image", ("a.png", signature("ada"), "image/png"))]
    }


def mode(_: Ids) -> Content:
    return {"json": {"mode": "switch"}}


class Row(NamedTuple):
    """The statuses with the scope, for an id that is there, was never there, is gone."""

    present: int
    absent: int
    gone: int
    content: Callable[[Ids], Content] = nothing


ROWS = {
    ("POST", "/v1/customers"): Row(409, 201, 201, customer),
    ("GET", "/v1/customers"): Row(200, 200, 200),
    ("GET", "/v1/customers/<customer_id>"): Row(200, 404, 404),
    ("DELETE", "/v1/customers/<customer_id>"): Row(200, 404, 404),
    ("POST", "/v1/customers/<customer_id>/specimens"): Row(201, 404, 404, specimen),
    ("DELETE", "/v1/customers/<customer_id>/specimens/<specimen_id>"): Row(200, 404, 404),
    ("POST", "/v1/customers/<customer_id>/specimens/<specimen_id>/confirmation"): Row(200, 404, 404),
    ("GET", "/v1/accounts"): Row(200, 200, 200),
    ("PUT", "/v1/accounts/<account_id>"): Row(200, 201, 201, account),
    ("GET", "/v1/accounts/<account_id>"): Row(200, 404, 404),
    ("DELETE", "/v1/accounts/<account_id>"): Row(200, 404, 404),
    ("POST", "/v1/accounts/<account_id>/verifications"): Row(201, 404, 404, image),
    ("GET", "/v1/verifications"): Row(200, 200, 200),
    ("GET", "/v1/verifications/<verification_id>"): Row(200, 404, 200),
    ("GET", "/v1/verifications/<verification_id>/evidence.png"): Row(200, 404, 404),
    ("POST", "/v1/verifications/<verification_id>/claim"): Row(200, 404, 200),
    ("DELETE", "/v1/verifications/<verification_id>/claim"): Row(409, 404, 409),
    ("POST", "/v1/verifications/<verification_id>/decision"): Row(409, 404, 409, decision),
    ("POST", "/v1/verifications/<verification_id>/specimens"): Row(409, 404, 409, position),
    ("GET", "/v1/reviews/figures"): Row(200, 200, 200),
    ("POST", "/v1/batches"): Row(202, 202, 202, batch),
    ("GET", "/v1/batches"): Row(200, 200, 200),
    ("GET", "/v1/batches/<batch_id>"): Row(200, 404, 200),
    ("POST", "/v1/comparisons"): Row(200, 200, 200, two_images),
    ("POST", "/v1/searches"): Row(200, 200, 200, image),
    ("GET", "/v1/models"): Row(200, 200, 200),
    ("POST", "/v1/models/<model_version>/activation"): Row(409, 404, 409, mode),
    ("GET", "/v1/activations/<activation_id>"): Row(200, 404, 200),
    ("GET", "/v1/audit"): Row(200, 200, 200),
    ("GET", "/v1/erasures/<receipt_id>"): Row(200, 404, 200),
}


@pytest.fixture(scope="module")
def callers(world: World) -> Iterator[dict[str, httpx.Client]]:
    """One a scope, and nobody."""
    clients = {scope: world.client(scope) for scope in SCOPES} | {"": world.client()}
    yield clients
    for client in clients.values():
        client.close()


@ON_SQLITE
def test_every_route_has_a_row(world: World) -> None:
    rules = create_app(world.settings).url_map.iter_rules()
    routes = {(method, rule.rule) for rule in rules for method in rule.methods or () if method != "HEAD"}

    assert {route for route in routes if route[1].startswith("/v1/")} == set(ROWS) == set(CONTRACT)


@ON_SQLITE
@pytest.mark.parametrize("state", ["present", "absent", "gone"])
@pytest.mark.parametrize(("method", "path"), ROWS)
def test_a_call_answers_by_its_scope_and_its_id(
    world: World, callers: dict[str, httpx.Client], method: str, path: str, state: str
) -> None:
    row, needed = ROWS[method, path], CONTRACT[method, path]
    kind = {"present": Present, "absent": Ids, "gone": Gone}[state]
    ids = kind(world, callers[needed])
    names = [part[1:-1] for part in path.split("/") if part.startswith("<")]
    if isinstance(ids, Gone):
        ids.close(*names)
    elif isinstance(ids, Present) and names != ["batch_id"]:
        assert ids.customer_id
    address = "/".join(str(getattr(ids, part[1:-1])) if part.startswith("<") else part for part in path.split("/"))
    content = row.content(ids)
    before = world.counts()

    refused = {scope: callers[scope].request(method, address, **content) for scope in callers if scope != needed}
    after = world.counts()
    allowed = callers[needed].request(method, address, **content)

    assert {scope: answer.status_code for scope, answer in refused.items()} == {
        scope: 403 if scope else 401 for scope in refused
    }
    assert len({_told(answer) for scope, answer in refused.items() if scope}) == 1
    assert after == before
    assert allowed.status_code == getattr(row, state), allowed.text


def _told(answer: httpx.Response) -> str:
    """All of it, but for what is another each time."""
    return answer.text.replace(answer.headers["X-Request-ID"], "")
