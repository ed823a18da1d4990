import re
import socket
from itertools import product as pairs

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from service.access import SCOPES, revoke_key
from service.api.app import create_app
from service.headers import HEADERS
from service.models import ApiKey
from tests.support.server import Server
from tests.support.world import World

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)

CONTRACT = {
    ("POST", "/v1/customers"): "enrol",
    ("GET", "/v1/customers"): "enrol",
    ("GET", "/v1/customers/<customer_id>"): "enrol",
    ("DELETE", "/v1/customers/<customer_id>"): "enrol",
    ("POST", "/v1/customers/<customer_id>/specimens"): "enrol",
    ("DELETE", "/v1/customers/<customer_id>/specimens/<specimen_id>"): "enrol",
    ("POST", "/v1/customers/<customer_id>/specimens/<specimen_id>/confirmation"): "admin",
    ("GET", "/v1/accounts"): "admin",
    ("PUT", "/v1/accounts/<account_id>"): "admin",
    ("GET", "/v1/accounts/<account_id>"): "admin",
    ("DELETE", "/v1/accounts/<account_id>"): "admin",
    ("POST", "/v1/accounts/<account_id>/verifications"): "verify",
    ("GET", "/v1/verifications"): "review",
    ("GET", "/v1/verifications/<verification_id>"): "review",
    ("GET", "/v1/verifications/<verification_id>/evidence.png"): "review",
    ("POST", "/v1/verifications/<verification_id>/claim"): "review",
    ("DELETE", "/v1/verifications/<verification_id>/claim"): "review",
    ("POST", "/v1/verifications/<verification_id>/decision"): "review",
    ("POST", "/v1/verifications/<verification_id>/specimens"): "enrol",
    ("GET", "/v1/reviews/figures"): "review",
    ("POST", "/v1/batches"): "verify",
    ("GET", "/v1/batches"): "verify",
    ("GET", "/v1/batches/<batch_id>"): "verify",
    ("POST", "/v1/comparisons"): "verify",
    ("POST", "/v1/searches"): "search",
    ("GET", "/v1/models"): "models",
    ("POST", "/v1/models/<model_version>/activation"): "models",
    ("GET", "/v1/activations/<activation_id>"): "models",
    ("GET", "/v1/audit"): "audit",
    ("GET", "/v1/erasures/<receipt_id>"): "audit",
}
OPEN = ("/healthz", "/readyz", "/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.css")


def test_every_route_is_in_the_table_of_scopes(world: World) -> None:
    rules = create_app(world.settings).url_map.iter_rules()

    routes = {(method, rule.rule) for rule in rules for method in rule.methods or () if method != "HEAD"}

    assert {route for route in routes if route[1].startswith("/v1/")} == set(CONTRACT)
    assert {path for _, path in routes if not path.startswith(("/v1/", "/docs/"))} == set(OPEN[:4])


@ON_SQLITE
@pytest.mark.parametrize(("method", "path"), CONTRACT)
def test_a_call_is_allowed_with_its_scope_alone(world: World, method: str, path: str) -> None:
    scope = CONTRACT[method, path]
    before = world.counts()

    with world.client(scope) as right, world.client(*set(SCOPES) - {scope}) as wrong:
        allowed = right.request(method, _path(path))
        refused = wrong.request(method, _path(path))

    assert allowed.status_code in {200, 404, 415}  # it gets as far as the body or the id
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    assert world.counts()["customers"] == before["customers"]


@pytest.mark.parametrize("scope", SCOPES)
@ON_SQLITE
def test_no_scope_includes_another(world: World, scope: str) -> None:
    with world.client(scope) as caller:
        statuses = {
            needed: caller.request(method, _path(path)).status_code for (method, path), needed in CONTRACT.items()
        }

    assert {needed for needed, status in statuses.items() if status != 403} == {scope} & set(CONTRACT.values())


@ON_SQLITE
@pytest.mark.parametrize(("method", "path"), CONTRACT)
def test_a_call_without_a_key_is_unauthenticated(world: World, method: str, path: str) -> None:
    with world.client() as nobody:
        answer = nobody.request(method, _path(path))

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="countersign"'


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "Bearer",
        lambda _: "Bearer ",
        lambda key: key,
        lambda key: f"Basic {key}",
        lambda key: f"Bearer {key[:-1]}",
        lambda key: f"Bearer {key}x",
        lambda key: f"Bearer {key} x",
        lambda key: f"Bearer {key[:-1]}{'A' if key[-1] != 'A' else 'B'}",
        lambda key: f"Bearer cs_{'0' * 16}{key[19:]}",
        lambda key: f"Bearer {key.upper()}",
        lambda _: "Bearer cs_' OR 1=1 --",
        lambda _: f"Bearer {'x' * 4000}",
    ],
)
def test_a_malformed_or_wrong_key_is_unauthenticated_and_not_repeated(world: World, change: object) -> None:
    key = world.key("enrol")

    with world.client() as nobody:
        answer = nobody.get("/v1/customers", headers={"Authorization": change(key)})

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert key[3:] not in answer.text


def test_the_word_bearer_is_read_in_any_case(world: World) -> None:
    with world.client() as caller:
        answer = caller.get("/v1/customers", headers={"Authorization": f"bearer {world.key('enrol')}"})

    assert answer.status_code == 200


def test_a_revoked_key_is_unauthenticated_at_once(world: World) -> None:
    key = world.key("enrol")
    with world.client() as caller:
        headers = {"Authorization": f"Bearer {key}"}
        assert caller.get("/v1/customers", headers=headers).status_code == 200

        with world.product.database.writing() as session:
            assert revoke_key(session, key.split("_")[1])

        assert caller.get("/v1/customers", headers=headers).status_code == 401


def test_only_a_hash_of_a_key_is_kept(world: World) -> None:
    key = world.key("enrol")
    key_id, secret = key.split("_", 2)[1:]

    with world.product.database.reading() as session:
        kept = session.scalars(select(ApiKey).where(ApiKey.key_id == key_id)).one()

    assert len(kept.secret_hash) == 32
    assert secret.encode() not in kept.secret_hash
    assert secret not in repr(vars(kept))


@pytest.mark.parametrize("path", OPEN)
def test_health_and_documentation_need_no_key(world: World, path: str) -> None:
    with world.client() as nobody:
        assert nobody.get(path).status_code == 200


def test_health_says_ok_and_readiness_says_ready(world: World) -> None:
    assert world.api.get("/healthz").json() == {"status": "ok"}
    assert world.api.get("/readyz").json() == {"status": "ready"}


def test_a_process_that_has_not_opened_the_product_is_alive_and_not_ready(world: World) -> None:
    transport = httpx.WSGITransport(create_app(world.settings))
    with httpx.Client(transport=transport, base_url="http://countersign") as starting:
        assert starting.get("/healthz").status_code == 200
        for path in ("/readyz", "/v1/customers"):
            answer = starting.get(path, headers={"Authorization": f"Bearer {world.key('enrol')}"})
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


def test_the_documentation_loads_everything_from_this_server(world: World) -> None:
    page = world.api.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert page.headers["Content-Type"].startswith("text/html")
    assert loaded
    assert all(address.startswith("/docs/") for address in loaded)
    assert all(world.api.get(address).status_code == 200 for address in loaded)
    assert "//" not in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "/openapi.json" in world.api.get("/docs/start.js").text


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v2/customers", "/v1/customers/", "/metrics", "/static/x"])
def test_an_unknown_address_is_not_found(world: World, path: str) -> None:
    answer = world.api.get(path)

    _assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize("path", ["/v1//customers", "/v1/customers//someone", "/v1/./customers//"])
def test_an_address_with_doubled_slashes_is_not_found_and_not_repeated(world: World, path: str) -> None:
    answer = world.api.get(f"http://countersign{path}")

    _assert_problem(answer, 404, "not_found")
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *pairs(("OPTIONS", "PATCH", "TRACE", "BREW"), ("/v1/customers", "/v1/searches", "/healthz", "/docs")),
        ("HEAD", "/v1/searches"),
        ("DELETE", "/v1/customers"),
        ("POST", "/v1/verifications"),
        ("POST", "/openapi.json"),
    ],
)
def test_another_method_is_not_allowed(world: World, method: str, path: str) -> None:
    answer = world.api.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Allow"]
    if method != "HEAD":
        _assert_problem(answer, 405, "method_not_allowed")


def test_head_answers_as_get_does_without_the_content(world: World) -> None:
    got, headed = world.api.get("/v1/customers"), world.api.head("/v1/customers")

    assert headed.status_code == got.status_code == 200
    assert headed.content == b""
    assert headed.headers["Content-Type"] == got.headers["Content-Type"]


def test_a_method_that_somebody_made_up_is_not_counted_by_its_name(world: World) -> None:
    world.api.request("BREWCOFFEE", "/v1/customers")

    labels = [sample.labels for metric in REGISTRY.collect() for sample in metric.samples]
    assert "(other)" in {label.get("method") for label in labels}
    assert "BREWCOFFEE" not in {label.get("method") for label in labels}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/v1/customers", 200),
        ("GET", "/docs", 200),
        ("GET", "/docs/swagger-ui-bundle.js", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/customers", 405),
        ("POST", "/v1/searches", 415),
    ],
)
def test_every_answer_carries_the_security_headers(world: World, method: str, path: str, status: int) -> None:
    answer = world.api.request(method, path)

    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] in {"no-store", "no-cache"}
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "Strict-Transport-Security" not in answer.headers
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/healthz", "/v1/customers", "/nowhere"])
def test_where_tls_ends_in_front_every_answer_asks_for_nothing_else(world: World, path: str) -> None:
    behind = World(world.settings.model_copy(update={"tls_in_front": True}), world.product)

    assert behind.api.get(path).headers["Strict-Transport-Security"] == "max-age=31536000"


def test_what_the_server_answers_before_the_application_carries_them_too(server_of_one_megabyte: Server) -> None:
    with socket.create_connection(("127.0.0.1", server_of_one_megabyte.port), timeout=20) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        head = connection.recv(65536).decode().partition("\r\n\r\n")[0]

    assert head.startswith("HTTP/1.1 400 ")
    for name, value in HEADERS.items():
        assert f"{name}: {value}" in head


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("trace-17.A_b", True),
        ("x" * 65, False),
        ("two words", False),
        ("<script>", False),
        (f"cs_{'0' * 16}_{'x' * 43}", False),
    ],
)
def test_the_callers_request_id_is_kept_if_it_is_a_plain_word(world: World, given: str, kept: bool) -> None:
    answer = world.api.get("/nowhere", headers={"X-Request-ID": given})

    assert (answer.headers["X-Request-ID"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_real_server_answers_the_same(server_of_one_megabyte: Server) -> None:
    """Headers, methods and the address of the metrics are the server's own matter."""
    with httpx.Client(base_url=server_of_one_megabyte.url, timeout=20) as nobody:
        _assert_problem(nobody.get("/v1/customers"), 401, "unauthenticated")
        _assert_problem(nobody.options("/v1/customers"), 405, "method_not_allowed")
        _assert_problem(nobody.request("BREW", "/v1/customers"), 405, "method_not_allowed")
        _assert_problem(nobody.get("/metrics"), 404, "not_found")
        assert nobody.head("/healthz").status_code == 200
    metrics = httpx.get(f"http://{server_of_one_megabyte.environment['COUNTERSIGN_METRICS_BIND']}/metrics")
    assert 'countersign_requests_total{method="(other)"' in metrics.text


def _path(route: str) -> str:
    return re.sub(r"<\w+>", "nobody", route)


def _assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["code"] == code
    assert answer.json()["status"] == status
