import json
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from service.api.app import create_app
from service.errors import CODES
from service.settings import Settings
from tests.test_api_access import CONTRACT

ERRORS = Path(__file__).parents[1] / "docs" / "errors.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    answer = create_app(Settings()).test_client().get("/openapi.json")
    described: dict[str, Any] = json.loads(answer.get_data())
    return described


@pytest.fixture(params=CONTRACT, ids=lambda route: " ".join(route))
def call(request: pytest.FixtureRequest, document: dict[str, Any]) -> tuple[tuple[str, str], dict[str, Any]]:
    method, path = request.param
    return request.param, document["paths"][re.sub(r"<(\w+)>", r"{\1}", path)][method.lower()]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_it_lists_every_call_and_no_other(document: dict[str, Any]) -> None:
    listed = {
        (method.upper(), path)
        for path, calls in document["paths"].items()
        for method in calls
        if method != "parameters"
    }

    contract = {(method, re.sub(r"<(\w+)>", r"{\1}", path)) for method, path in CONTRACT}
    assert listed == contract | {("GET", "/healthz"), ("GET", "/readyz")}


def test_every_call_says_its_scope(call: tuple[tuple[str, str], dict[str, Any]]) -> None:
    route, described = call

    assert described["security"] == [{"api_key": [CONTRACT[route]]}]


def test_every_call_has_a_name_a_summary_and_a_success(call: tuple[tuple[str, str], dict[str, Any]]) -> None:
    _, described = call

    assert described["operationId"]
    assert described["summary"]
    assert [status for status in described["responses"] if status.startswith("2")]


def test_every_refusal_is_a_problem_document_with_known_codes(
    call: tuple[tuple[str, str], dict[str, Any]],
) -> None:
    _, described = call
    refusals = {status: answer for status, answer in described["responses"].items() if not status.startswith("2")}

    assert {"401", "403"} <= set(refusals)
    for status, answer in refusals.items():
        assert list(answer["content"]) == ["application/problem+json"]
        codes = re.findall(r"`(\w+)`", answer["description"])
        assert codes
        assert {CODES[code].status for code in codes} == {int(status)}


def test_readiness_documents_its_problem(document: dict[str, Any]) -> None:
    answer = document["paths"]["/readyz"]["get"]["responses"]["503"]

    assert (answer["description"], list(answer["content"])) == ("`not_ready`", ["application/problem+json"])


def test_a_repeatable_call_says_what_a_repetition_may_answer(
    call: tuple[tuple[str, str], dict[str, Any]],
) -> None:
    (method, _), described = call

    codes = set(re.findall(r"`(\w+)`", " ".join(answer["description"] for answer in described["responses"].values())))
    repeated = {"idempotency_mismatch", "idempotency_in_progress", "erased"}
    assert codes & repeated == (repeated if method in {"POST", "DELETE"} else set())


def test_a_call_that_takes_a_body_says_what_is_wrong_with_bodies(
    call: tuple[tuple[str, str], dict[str, Any]],
) -> None:
    _, described = call
    if "requestBody" not in described:
        assert "415" not in described["responses"]
        return

    assert {"400", "413", "415", "422"} <= set(described["responses"])
    assert "application/json" in described["requestBody"]["content"]


def test_images_are_files_in_a_form_and_base64_in_json(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/customers"]["post"]["requestBody"]["content"]

    form = content["multipart/form-data"]["schema"]
    as_json = content["application/json"]["schema"]
    assert "contentEncoding" not in form["properties"]["specimen"]["items"]
    assert as_json["properties"]["specimens"]["items"]["contentEncoding"] == "base64"
    assert {"customer_id", "account_id", "name", "valid_from", "valid_to", "specimen"} == set(form["properties"])
    assert set(form["required"]) == {"customer_id", "specimen"}
    assert set(as_json["required"]) == {"customer_id", "specimens"}


def test_posts_and_deletions_take_an_idempotency_key_and_nothing_else_does(
    call: tuple[tuple[str, str], dict[str, Any]],
) -> None:
    (method, _), described = call

    headers = {entry["name"] for entry in described.get("parameters", []) if entry["in"] == "header"}
    assert headers == ({"Idempotency-Key"} if method in {"POST", "DELETE"} else set())


def test_the_table_of_errors_lists_every_code_with_its_status_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+) \|$", ERRORS.read_text("utf-8"), re.MULTILINE)

    assert {code: (int(status), meaning) for code, status, meaning in rows} == {
        code: (meaning.status, meaning.sentence) for code, meaning in CODES.items()
    }
    assert len(rows) == len(CODES)
