"""What must not be stored: every answer is a problem document with its code, and repeats nothing that was sent."""

import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from service.errors import CODES
from tests.support import images
from tests.support.images import signature
from tests.support.server import Server
from tests.support.world import World, parts

MARK = "xyzzy-7f3a"
"""Part of what is sent; no answer may hold it."""

IN_ONE_DATABASE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)
"""For what is refused before any database is asked."""

BAD_IMAGES: dict[str, tuple[Any, set[str]]] = {
    "empty": (lambda: b"", {"image_empty"}),
    "truncated PNG": (images.truncated_png, {"image_truncated"}),
    "truncated JPEG": (images.truncated_jpeg, {"image_truncated"}),
    "one pixel": (images.one_pixel, {"image_too_small"}),
    "30,000 x 30,000": (lambda: images.huge_png(30_000), {"image_too_large"}),
    "decompression bomb": (lambda: images.huge_png(19_000), {"image_too_large"}),
    "animated PNG": (images.animated_png, {"image_animated"}),
    "animated GIF": (images.animated_gif, {"image_animated", "image_format"}),
    "two pages": (images.tiff_of_two_pages, {"image_animated"}),
    "SVG": (images.svg, {"image_format"}),
    "PDF": (images.pdf, {"image_format"}),
    "text": (images.text, {"image_format"}),
    "blank page": (images.blank_page, {"no_ink"}),
    "photo": (images.photo, {"not_on_paper", "print_not_ink", "no_ink"}),
}


@pytest.fixture(scope="module")
def account(world: World) -> str:
    """An account with somebody on it, so that only the image is at fault."""
    account = world.new_id()
    world.enrol(world.new_id(), signature("ada"), accounts=[account])
    return account


@dataclass
class Door:
    """A call that takes an image: its path, the fields beside it, and the name of the image."""

    path: str
    fields: dict[str, str]
    image: str

    def named(self) -> str:
        return "specimens.0" if self.image == "specimen" else self.image


@pytest.fixture(params=["enrolment", "further specimen", "verification", "comparison", "search"])
def door(request: pytest.FixtureRequest, world: World, account: str) -> Door:
    if request.param == "enrolment":
        return Door("/v1/customers", {"customer_id": world.new_id(), "account_id": world.new_id()}, "specimen")
    if request.param == "further specimen":
        return Door(f"/v1/customers/{_signatory(world, account)}/specimens", {}, "specimen")
    if request.param == "verification":
        return Door(f"/v1/accounts/{account}/verifications", {}, "image")
    if request.param == "comparison":
        return Door("/v1/comparisons", {}, "image_b")
    return Door("/v1/searches", {}, "image")


@IN_ONE_DATABASE
@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_an_unusable_image_is_refused_by_its_code_and_nothing_is_stored(world: World, door: Door, kind: str) -> None:
    make, codes = BAD_IMAGES[kind]
    before = world.counts()

    answer = _send(world, door, make())

    _assert_problem(answer, 422, codes)
    assert answer.json()["errors"] == [{"field": door.named(), "problem": answer.json()["code"]}]
    assert world.counts() == before


def test_one_bad_specimen_among_good_ones_refuses_the_whole_enrolment(world: World) -> None:
    before = world.counts()

    answer = world.api.post(
        "/v1/customers",
        data={"customer_id": MARK},
        files=parts("specimen", signature("ada"), images.blank_page(), signature("ada", 1)),
    )

    _assert_problem(answer, 422, {"no_ink"})
    assert answer.json()["errors"] == [{"field": "specimens.1", "problem": "no_ink"}]
    assert world.counts() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("customer_id", f"{MARK}/slash"),
        ("customer_id", f"{MARK}\\backslash"),
        ("customer_id", f"{MARK}\x00"),
        ("customer_id", f"{MARK}\n"),
        ("customer_id", f"{MARK} space"),
        ("customer_id", f"{MARK}?query"),
        ("customer_id", f"{MARK}é"),
        ("customer_id", f".{MARK}"),
        ("customer_id", MARK * 20),
        ("customer_id", ""),
        ("account_id", f"{MARK}/slash"),
        ("account_id", MARK * 20),
        ("name", ""),
        ("name", f"{MARK}\x07"),
        ("name", MARK * 21),
        ("valid_from", MARK),
        ("valid_from", "2026-02-30"),
        ("valid_from", "0"),
        ("valid_from", "1767225600"),
        ("valid_from", "2026-01-01T00:00:00Z"),
        ("valid_to", "01.02.2026"),
        (MARK, "an unknown field"),
        ("account_ids", MARK),
    ],
)
def test_an_unusable_field_of_an_enrolment_is_named_and_not_repeated(world: World, field: str, value: str) -> None:
    before = world.counts()

    answer = world.api.post(
        "/v1/customers",
        data={"customer_id": world.new_id(), field: value},
        files=parts("specimen", signature("ada")),
    )

    _assert_problem(answer, 422, {"invalid_field"})
    named = {"account_id": "account_ids.0", MARK: "(unknown)", "account_ids": "(unknown)"}.get(field, field)
    assert named in {error["field"] for error in answer.json()["errors"]}
    assert world.counts() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "-1"),
        ("amount", "1.234"),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "1e400"),
        ("amount", "9" * 17),
        ("amount", "1,50"),
        ("amount", MARK),
        ("currency", "euro"),
        ("currency", "eur"),
        ("currency", "EUX"),
        ("signed_on", "yesterday"),
        ("signed_on", "2026-13-01"),
        ("signed_on", "20260101"),
        ("reference", "x" * 129),
        ("reference", f"{MARK}\x00"),
        ("kind", MARK),
        ("target_far", "1"),
        ("target_far", "NaN"),
        (MARK, "an unknown field"),
    ],
)
def test_an_unusable_field_of_a_verification_is_named_and_not_repeated(
    world: World, account: str, field: str, value: str
) -> None:
    before = world.counts()

    answer = world.api.post(
        f"/v1/accounts/{account}/verifications", data={field: value}, files=parts("image", signature("ada"))
    )

    _assert_problem(answer, 422, {"invalid_field"})
    assert answer.json()["errors"][0]["field"] == ("(unknown)" if field == MARK else field)
    assert world.counts() == before


@IN_ONE_DATABASE
@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "NaN", "1e3", MARK, ""])
def test_an_unusable_limit_of_a_search_is_refused(world: World, limit: str) -> None:
    answer = world.api.post("/v1/searches", data={"limit": limit}, files=parts("image", signature("ada")))

    _assert_problem(answer, 422, {"invalid_field"})


def test_a_validity_that_ends_before_it_begins_is_refused(world: World, account: str) -> None:
    dates = {"valid_from": "2026-02-01", "valid_to": "2026-01-31"}
    before = world.counts()

    answers = [
        world.api.post(
            "/v1/customers", data={"customer_id": MARK, **dates}, files=parts("specimen", signature("ada"))
        ),
        world.api.post(
            f"/v1/customers/{_signatory(world, account)}/specimens",
            data=dates,
            files=parts("specimen", signature("ada")),
        ),
        world.api.put(f"/v1/accounts/{MARK}", json={"signatories": [{"customer_id": MARK, **dates}]}),
    ]

    for answer in answers:
        _assert_problem(answer, 422, {"invalid_field"})
        assert "valid_to" in answer.json()["errors"][0]["problem"]
    assert world.counts() == before


@pytest.mark.parametrize("account_id", [f"{MARK}%20space", f"{MARK}%C3%A9", MARK * 20, f".{MARK}", f"{MARK}%0A"])
def test_an_account_is_not_made_under_an_unusable_id(world: World, account_id: str) -> None:
    before = world.counts()

    _assert_problem(world.api.put(f"/v1/accounts/{account_id}", json={}), 422, {"invalid_field"})
    assert world.counts() == before


@pytest.mark.parametrize("odd", [f"{MARK}%00", f"{MARK}%2Fslash", f"{MARK}%0A", MARK * 40])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/customers/{}"),
        ("DELETE", "/v1/customers/{}"),
        ("DELETE", "/v1/customers/someone/specimens/{}"),
        ("POST", "/v1/customers/{}/specimens/spc/confirmation"),
        ("GET", "/v1/accounts/{}"),
        ("DELETE", "/v1/accounts/{}"),
        ("GET", "/v1/verifications/{}"),
    ],
)
def test_an_odd_id_in_a_path_is_not_found(world: World, method: str, path: str, odd: str) -> None:
    answer = world.api.request(method, path.format(odd))

    codes = {"not_found", "customer_not_found", "account_not_found", "verification_not_found"}
    _assert_problem(answer, 404, codes)


@IN_ONE_DATABASE
@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": MARK},
        {"cursor": MARK},
        {"cursor": "====" + MARK},
        {"cursor": base64.urlsafe_b64encode(b"99999999999999999999").decode()},
        {"cursor": base64.urlsafe_b64encode(b"-1").decode()},
        {"cursor": "a" * 65},
        {MARK: "1"},
        {"limit": ["1", "2"]},
    ],
)
@pytest.mark.parametrize("path", ["/v1/customers", "/v1/accounts", "/v1/verifications"])
def test_an_unusable_query_is_refused(world: World, path: str, query: dict[str, Any]) -> None:
    _assert_problem(world.api.get(path, params=query), 422, {"invalid_field"})


@pytest.mark.parametrize(
    "query", [{"outcome": MARK}, {"state": "opened"}, {"account_id": f"{MARK}\x00"}, {"account_id": MARK * 20}]
)
def test_an_unusable_filter_is_refused(world: World, query: dict[str, str]) -> None:
    _assert_problem(world.api.get("/v1/verifications", params=query), 422, {"invalid_field"})


@IN_ONE_DATABASE
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"customer_id": "xyzzy-7f3a"',
        b"[1, 2]",
        b'"xyzzy-7f3a"',
        b"null",
        b"7",
        b"NaN",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"limit": ' + b"9" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("path", ["/v1/customers", "/v1/searches"])
def test_a_body_that_is_not_a_json_object_is_malformed(world: World, path: str, body: bytes) -> None:
    before = world.counts()

    answer = world.api.post(path, content=body, headers={"Content-Type": "application/json"})

    _assert_problem(answer, 400, {"malformed_body"})
    assert world.counts() == before


@IN_ONE_DATABASE
@pytest.mark.parametrize(
    "change",
    [
        {"specimens": []},
        {"specimens": None},
        {"specimens": MARK},
        {"specimens": [MARK]},
        {"specimens": ["====" + MARK]},
        {"specimens": ["aGVsbG8"]},
        {"specimens": [{"data": MARK}]},
        {"specimens": [7]},
        {"specimen": "aGVsbG8="},
        {"customer_id": 7},
        {"customer_id": None},
        {"customer_id": [MARK]},
        {"customer_id": {MARK: MARK}},
        {"customer_id": "\ud800"},
        {"account_ids": MARK},
        {"account_ids": [MARK, 7]},
        {"account_ids": [f"a{number}" for number in range(101)]},
        {"name": "\ud800"},
        {"valid_from": 0},
        {"valid_from": 1767225600},
        {"valid_from": True},
        {MARK: {MARK: MARK}},
    ],
)
def test_an_unusable_value_in_json_is_refused(world: World, change: dict[str, Any]) -> None:
    usable = {"customer_id": world.new_id(), "specimens": [base64.b64encode(signature("ada")).decode()]}
    before = world.counts()

    answer = world.api.post(
        "/v1/customers", content=json.dumps(usable | change), headers={"Content-Type": "application/json"}
    )

    _assert_problem(answer, 422, {"invalid_field"})
    assert world.counts() == before


@IN_ONE_DATABASE
@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1e400", "9" * 4000])
@pytest.mark.parametrize("field", ["limit", "amount", "target_far"])
def test_a_number_beyond_all_bounds_is_refused(world: World, account: str, field: str, number: str) -> None:
    path = "/v1/searches" if field == "limit" else f"/v1/accounts/{account}/verifications"
    image = base64.b64encode(signature("ada")).decode()
    body = f'{{"image": "{image}", "{field}": {number}}}'
    before = world.counts()

    answer = world.api.post(path, content=body, headers={"Content-Type": "application/json"})

    _assert_problem(answer, 422, {"invalid_field"})
    assert world.counts() == before


@IN_ONE_DATABASE
@pytest.mark.parametrize("rules", ["[" * 900 + "]" * 900, "[NaN]", '[{"up_to": 1e999}]'])
def test_deep_or_odd_rules_are_refused(world: World, rules: str) -> None:
    body = f'{{"rules": {rules}}}'

    answer = world.api.put(f"/v1/accounts/{MARK}", content=body, headers={"Content-Type": "application/json"})

    _assert_problem(answer, 422, {"invalid_field"})


@IN_ONE_DATABASE
@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "text/html", "application/xml", "application/x-www-form-urlencoded", "image/png", MARK, "", None],
)
@pytest.mark.parametrize("path", ["/v1/customers", "/v1/comparisons"])
def test_another_media_type_is_refused(world: World, path: str, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}

    answer = world.api.post(path, content=b'{"customer_id": "xyzzy-7f3a"}', headers=headers)

    _assert_problem(answer, 415, {"unsupported_media_type"})


def test_a_form_is_refused_where_there_is_no_file_to_send(world: World) -> None:
    answer = world.api.put(f"/v1/accounts/{MARK}", files=parts("image", signature("ada")))

    _assert_problem(answer, 415, {"unsupported_media_type"})


@IN_ONE_DATABASE
def test_a_form_that_ends_early_is_malformed(world: World, door: Door) -> None:
    whole = httpx.Request("POST", "http://x", data=door.fields, files=parts(door.image, signature("ada")))
    content = whole.read()
    before = world.counts()

    for length in (0, 20, len(content) // 2, len(content) - 12):
        answer = world.api.post(
            door.path, content=content[:length], headers={"Content-Type": whole.headers["Content-Type"]}
        )
        _assert_problem(answer, 400, {"malformed_body"})
    assert world.counts() == before


@IN_ONE_DATABASE
def test_a_form_without_a_boundary_is_malformed(world: World, door: Door) -> None:
    answer = world.api.post(door.path, content=b"x", headers={"Content-Type": "multipart/form-data"})

    _assert_problem(answer, 400, {"malformed_body"})


@IN_ONE_DATABASE
def test_text_where_a_file_belongs_is_refused_even_if_it_is_base64(world: World, door: Door) -> None:
    texts = {**door.fields, door.image: base64.b64encode(signature("ada")).decode()}
    before = world.counts()

    answer = world.api.post(door.path, files=[(name, (None, value)) for name, value in texts.items()])

    _assert_problem(answer, 422, {"invalid_field"})
    assert "must be a file part" in {error["problem"] for error in answer.json()["errors"]}
    assert world.counts() == before


def test_a_file_where_text_belongs_is_refused(world: World) -> None:
    before = world.counts()

    answer = world.api.post(
        "/v1/customers",
        files=[*parts("specimen", signature("ada")), ("customer_id", ("id.txt", MARK.encode(), "text/plain"))],
    )

    _assert_problem(answer, 422, {"invalid_field"})
    assert answer.json()["errors"] == [
        {"field": "customer_id", "problem": "must be a text part, without a file name"}
    ]
    assert world.counts() == before


def test_a_single_field_that_comes_twice_is_refused(world: World, account: str) -> None:
    before = world.counts()

    answers = [
        world.api.post(
            "/v1/customers", data={"customer_id": [MARK, MARK]}, files=parts("specimen", signature("ada"))
        ),
        world.api.post(
            f"/v1/accounts/{account}/verifications", files=parts("image", signature("ada"), signature("ada"))
        ),
    ]

    for answer in answers:
        _assert_problem(answer, 422, {"invalid_field"})
    assert world.counts() == before


def test_more_than_ten_specimens_are_refused(world: World) -> None:
    before = world.counts()

    answer = world.api.post(
        "/v1/customers", data={"customer_id": MARK}, files=parts("specimen", *[signature("ada")] * 11)
    )

    _assert_problem(answer, 422, {"invalid_field"})
    assert answer.json()["errors"][0]["field"] == "specimens"
    assert world.counts() == before


def test_more_parts_than_any_request_needs_are_too_many(world: World) -> None:
    answer = world.api.post(
        "/v1/customers", data={"account_id": [MARK] * 500}, files=parts("specimen", signature("ada"))
    )

    _assert_problem(answer, 413, {"too_large"})


def test_ten_specimens_and_a_hundred_accounts_are_not_too_many(world: World) -> None:
    accounts = [world.new_id() for _ in range(100)]

    customer = world.enrol(world.new_id(), *[signature("ada")] * 10, accounts=accounts)

    assert (len(customer["specimens"]), len(customer["account_ids"])) == (10, 100)


@pytest.mark.parametrize("form", ["multipart", "json"])
def test_an_image_over_the_limit_is_too_large(world: World, account: str, form: str) -> None:
    image = signature("ada") + b"\0" * (world.settings.max_image_mb * 2**20)
    path = f"/v1/accounts/{account}/verifications"
    before = world.counts()

    if form == "multipart":
        answer = world.api.post(path, files=parts("image", image))
    else:
        answer = world.api.post(path, json={"image": base64.b64encode(image).decode()})

    _assert_problem(answer, 413, {"too_large"})
    assert world.counts() == before


@pytest.fixture(scope="module")
def served(server_of_one_megabyte: Server) -> Iterator[httpx.Client]:
    with server_of_one_megabyte.client() as client:
        yield client


@pytest.mark.parametrize("length", ["told", "chunked"])
@pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data; boundary=b"])
def test_a_request_over_the_limit_is_too_large(served: httpx.Client, length: str, media_type: str) -> None:
    start = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' if "form" in media_type else b'"'
    )
    content = start + b"x" * (2 * 2**20)

    answer = served.post(
        "/v1/searches",
        content=content if length == "told" else _chunks(content),
        headers={"Content-Type": media_type},
    )

    _assert_problem(answer, 413, {"too_large"})


@pytest.mark.parametrize(("key", "status"), [("nobody", 401), (None, 413)])
def test_a_large_request_that_is_refused_unread_does_not_cost_the_next_one(
    served: httpx.Client, key: str | None, status: int
) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    size = 2**19 if key else 2**21

    for content in (b"x" * size, _chunks(b"x" * size)):
        answer = served.post("/v1/searches", content=content, headers={"Content-Type": "application/json", **headers})
        assert answer.status_code == status
        assert answer.headers["Connection"] == "close"
        assert served.get("/v1/customers").status_code == 200


def test_a_chunked_request_within_the_limit_is_read(served: httpx.Client) -> None:
    whole = httpx.Request(
        "POST", "http://x", files=parts("image_a", signature("a")) + parts("image_b", signature("b"))
    )

    answer = served.post(
        "/v1/comparisons",
        content=_chunks(whole.read()),
        headers={"Content-Type": whole.headers["Content-Type"]},
    )

    assert answer.status_code == 200


@pytest.mark.parametrize("odd", ["%FF", "%F0%9F%96%8B", "%ED%A0%80", "a%00b", "..%2F..", "%"])
def test_an_id_in_odd_bytes_is_not_found(served: httpx.Client, odd: str) -> None:
    for path in (f"/v1/customers/{odd}", f"/v1/accounts/{odd}", f"/v1/verifications/{odd}"):
        answer = served.get(path)
        _assert_problem(
            answer, 404, {"not_found", "customer_not_found", "account_not_found", "verification_not_found"}
        )


@pytest.mark.parametrize(
    "request_",
    [
        f"GET /{MARK} \r\n\r\n",
        f"{MARK}\r\n\r\n",
        f"GET / HTTP/9.{MARK}\r\n\r\n",
        f"GET /v1/customers/{MARK} HTTP/1.1\r\nHost: a\r\nbad header {MARK}: b\r\n\r\n",
        f"GET /{MARK * 500} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"POST /v1/searches HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {MARK}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nX: {MARK * 2000}\r\n\r\n",
    ],
)
def test_what_is_no_request_at_all_is_a_problem_too(server_of_one_megabyte: Server, request_: str) -> None:
    with socket.create_connection(("127.0.0.1", server_of_one_megabyte.port), timeout=20) as connection:
        connection.sendall(request_.encode("latin-1"))
        head, _, body = _read_all(connection).partition(b"\r\n\r\n")

    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "malformed_request"
    assert head.startswith(f"HTTP/1.1 {CODES['malformed_request'].status} ".encode())
    assert MARK.encode() not in head + body
    assert MARK not in server_of_one_megabyte.log()


def test_a_connection_that_breaks_halfway_stores_nothing_and_the_server_goes_on(
    server_of_one_megabyte: Server, served: httpx.Client
) -> None:
    whole = httpx.Request(
        "POST", "http://x", data={"customer_id": "halfway"}, files=parts("specimen", signature("ada"))
    )
    content = whole.read()
    head = (
        f"POST /v1/customers HTTP/1.1\r\nHost: a\r\nAuthorization: {served.headers['Authorization']}\r\n"
        f"Content-Type: {whole.headers['Content-Type']}\r\nContent-Length: {len(content)}\r\n\r\n"
    )

    with socket.create_connection(("127.0.0.1", server_of_one_megabyte.port), timeout=20) as connection:
        connection.sendall(head.encode() + content[: len(content) // 2])
        connection.shutdown(socket.SHUT_WR)
        _read_all(connection)

    assert served.get("/v1/customers/halfway").status_code == 404
    assert "Traceback" not in server_of_one_megabyte.log()


def _send(world: World, door: Door, image: bytes) -> httpx.Response:
    files = parts(door.image, image)
    if door.image == "image_b":
        files += parts("image_a", signature("ada"))
    return world.api.post(door.path, data=door.fields, files=files)


def _signatory(world: World, account: str) -> str:
    customer_id: str = world.api.get(f"/v1/accounts/{account}").json()["signatories"][0]["customer_id"]
    return customer_id


def _assert_problem(answer: httpx.Response, status: int, codes: set[str]) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] in codes
    assert problem["status"] == status == CODES[problem["code"]].status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert set(problem) <= {"type", "title", "status", "code", "detail", "request_id", "errors"}
    assert MARK not in answer.text
    assert "Traceback" not in answer.text


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 65536):
        yield content[start : start + 65536]


def _read_all(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received
