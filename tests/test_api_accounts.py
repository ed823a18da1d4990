from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import Select, select

from service.models import Account, Mandate, Signatory
from tests.support.images import signature
from tests.support.world import Answer, World


def test_putting_a_new_account_makes_it(world: World) -> None:
    customer_id, account = _customer(world), world.new_id()

    answer = world.api.put(
        f"/v1/accounts/{account}",
        json={
            "signatories": [
                {"customer_id": customer_id, "group": "B", "valid_from": "2026-01-01", "valid_to": "2026-12-31"}
            ],
            "always_refer": True,
            "instructions": "Two to sign\nabove 10,000",
        },
    )

    assert answer.status_code == 201
    assert answer.json() == {
        "account_id": account,
        "signatories": [
            {
                "customer_id": customer_id,
                "group": "B",
                "valid_from": "2026-01-01",
                "valid_to": "2026-12-31",
                "limit": None,
            }
        ],
        "rules": [],
        "always_refer": True,
        "instructions": "Two to sign\nabove 10,000",
    }
    assert world.api.get(f"/v1/accounts/{account}").json() == answer.json()


def test_putting_an_account_again_replaces_it(world: World) -> None:
    first, second, account = _customer(world), _customer(world), world.new_id()
    _put(world, account, first, instructions="Ask Ada")

    answer = world.api.put(f"/v1/accounts/{account}", json={"signatories": [{"customer_id": second}]})

    assert answer.status_code == 200
    assert [entry["customer_id"] for entry in answer.json()["signatories"]] == [second]
    assert answer.json()["instructions"] is None
    assert world.api.get(f"/v1/customers/{first}").json()["account_ids"] == []
    assert world.api.get(f"/v1/customers/{second}").json()["account_ids"] == [account]


def test_a_replaced_mandate_stays_as_a_superseded_row(world: World) -> None:
    customer_id, account = _customer(world), world.new_id()
    _put(world, account, customer_id, instructions="Ask Ada")
    _put(world, account, customer_id, instructions="Ask Bruno")

    with world.product.database.reading() as session:
        mandates = session.scalars(_versions(Mandate, account)).all()
        signatories = session.scalars(_versions(Signatory, account)).all()

    assert [mandate.instructions for mandate in mandates] == ["Ask Ada", "Ask Bruno"]
    assert [mandate.superseded_at is None for mandate in mandates] == [False, True]
    assert mandates[0].superseded_at == mandates[1].recorded_at
    assert [signatory.superseded_at is None for signatory in signatories] == [False, True]


def test_an_account_may_have_nobody(world: World) -> None:
    account = world.new_id()

    assert world.api.put(f"/v1/accounts/{account}", json={}).status_code == 201
    assert world.api.get(f"/v1/accounts/{account}").json()["signatories"] == []


def test_an_unknown_signatory_is_refused_and_nothing_is_stored(world: World) -> None:
    account, unknown = world.new_id(), world.new_id()
    entries = [{"customer_id": _customer(world)}, {"customer_id": unknown}]
    before = world.counts()

    answer = world.api.put(f"/v1/accounts/{account}", json={"signatories": entries})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_customer")
    assert answer.json()["errors"] == [{"field": "signatories.1.customer_id", "problem": "is not enrolled"}]
    assert unknown not in answer.text
    assert world.counts() == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rules": [{"any_of": [{"A": 1}]}]}, "mandate_contradictory"),  # of nobody
        ({"rules": [{"any_of": []}]}, "mandate_empty"),
        ({"signatories": [{"customer_id": "somebody"}, {"customer_id": "somebody"}]}, "invalid_field"),
        ({"signatories": [{"customer_id": "somebody", "group": "no group"}]}, "invalid_field"),
    ],
)
def test_a_mandate_that_nobody_can_mean_is_refused(world: World, change: Answer, code: str) -> None:
    before = world.counts()

    answer = world.api.put(f"/v1/accounts/{world.new_id()}", json=change)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert world.counts() == before


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("rules.0.any_of", {}),
        ("rules.0.any_of.1", {"any_of": [{"A": 1}, {"mark of a group": 1}]}),
        ("rules.0.any_of.0", {"any_of": [{"A": 1.5}]}),
        ("rules.0.any_of.0", {"any_of": [{"A": "1"}]}),
        ("rules.0.any_of.0", {"any_of": [{"A": True}]}),
        ("rules.0.any_of.0", {"any_of": [["A", 1]]}),
        ("rules.0.currency", {"any_of": [{"A": 1}], "currency": "EUX"}),
        ("rules.0.currency", {"any_of": [{"A": 1}], "currency": "eur"}),
        ("rules.0.up_to", {"any_of": [{"A": 1}], "up_to": "0.00"}),
        ("rules.0.up_to", {"any_of": [{"A": 1}], "up_to": "-1"}),
        ("rules.0.up_to", {"any_of": [{"A": 1}], "up_to": "1.001"}),
        ("rules.0.up_to", {"any_of": [{"A": 1}], "up_to": "NaN"}),
        ("rules.0.(unknown)", {"any_of": [{"A": 1}], "mark": "mark"}),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_by_its_place_alone(world: World, field: str, rule: Answer) -> None:
    answer = world.api.put(f"/v1/accounts/{world.new_id()}", json={"rules": [rule]})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert "mark" not in answer.text


@pytest.mark.parametrize("limit", ["0", "-5.00", "1.001", "1e400", "EUR 5"])
def test_a_limit_is_an_amount(world: World, limit: str) -> None:
    entry = {"customer_id": "somebody", "limit": limit}

    answer = world.api.put(f"/v1/accounts/{world.new_id()}", json={"signatories": [entry]})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["errors"][0]["field"] == "signatories.0.limit"


def test_rules_groups_and_limits_are_shown_as_they_were_put(world: World) -> None:
    ada, bruno, account = _customer(world), _customer(world), world.new_id()
    mandate = {
        "signatories": [
            {"customer_id": ada, "group": "directors", "valid_from": None, "valid_to": None, "limit": None},
            {"customer_id": bruno, "group": "staff", "valid_from": None, "valid_to": None, "limit": "5000.50"},
        ],
        "rules": [
            {"currency": "EUR", "up_to": "1000.00", "any_of": [{"staff": 1}, {"directors": 1}]},
            {"currency": None, "up_to": None, "any_of": [{"staff": 1, "directors": 1}]},
        ],
        "always_refer": False,
        "instructions": None,
    }

    answer = world.api.put(f"/v1/accounts/{account}", json=mandate)

    assert answer.json() == {"account_id": account, **mandate}
    assert world.api.get(f"/v1/accounts/{account}").json() == answer.json()


def test_amounts_are_shown_with_two_places(world: World) -> None:
    entry = {"customer_id": _customer(world), "limit": "500"}
    rules = [{"up_to": "1000", "any_of": [{"A": 1}]}]

    shown = world.api.put(f"/v1/accounts/{world.new_id()}", json={"signatories": [entry], "rules": rules}).json()

    assert (shown["signatories"][0]["limit"], shown["rules"][0]["up_to"]) == ("500.00", "1000.00")


def test_whoever_enrols_onto_an_account_with_rules_leaves_them_as_they_are(world: World) -> None:
    account, rules = world.new_id(), [{"currency": None, "up_to": None, "any_of": [{"A": 1}]}]
    entries = [{"customer_id": _customer(world)}]
    world.api.put(f"/v1/accounts/{account}", json={"signatories": entries, "rules": rules}).raise_for_status()

    world.enrol(world.new_id(), signature("bruno"), accounts=[account])

    shown = world.api.get(f"/v1/accounts/{account}").json()
    assert (shown["rules"], len(shown["signatories"])) == (rules, 2)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_account_is_not_found(world: World, method: str) -> None:
    answer = world.api.request(method, f"/v1/accounts/{world.new_id()}")

    assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")


def test_a_deleted_account_is_gone_and_its_customers_and_verifications_stay(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account])
    verification = world.verify(account, signature("ada"))

    answer = world.api.delete(f"/v1/accounts/{account}")

    assert (answer.status_code, answer.json()) == (200, {"account_id": account})
    assert world.api.get(f"/v1/accounts/{account}").status_code == 404
    assert world.api.get(f"/v1/customers/{customer_id}").json()["account_ids"] == []
    kept = world.api.get(f"/v1/verifications/{verification['verification_id']}").json()
    assert kept == verification


def test_the_id_of_a_deleted_account_is_free_again(world: World) -> None:
    account = world.new_id()
    _put(world, account, _customer(world))
    world.api.delete(f"/v1/accounts/{account}")

    assert world.api.put(f"/v1/accounts/{account}", json={}).status_code == 201
    assert world.api.get(f"/v1/accounts/{account}").json()["signatories"] == []


def test_of_two_deletions_at_once_one_finds_the_account(world: World) -> None:
    account = world.new_id()
    _put(world, account, _customer(world))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: world.api.delete(f"/v1/accounts/{account}"), range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]


def test_of_many_replacements_at_once_one_is_in_force(world: World) -> None:
    account = world.new_id()
    customers = [_customer(world) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda customer_id: _put(world, account, customer_id), customers))

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    shown = world.api.get(f"/v1/accounts/{account}").json()["signatories"]
    assert len(shown) == 1
    with world.product.database.reading() as session:
        assert len(session.scalars(_versions(Mandate, account)).all()) == 4


def test_accounts_are_listed_page_by_page_each_once(api: httpx.Client) -> None:
    made = [f"account-{number}" for number in range(5)]
    for account in made:
        api.put(f"/v1/accounts/{account}", json={}).raise_for_status()

    listed, cursor = [], {}
    while cursor is not None:
        page = api.get("/v1/accounts", params={"limit": "2", **cursor}).json()
        assert len(page["items"]) <= 2
        listed += [item["account_id"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None

    assert listed == made


def _customer(world: World) -> str:
    return str(world.enrol(world.new_id(), signature("ada"))["customer_id"])


def _put(world: World, account: str, customer_id: str, **fields: str) -> httpx.Response:
    answer = world.api.put(f"/v1/accounts/{account}", json={"signatories": [{"customer_id": customer_id}], **fields})
    answer.raise_for_status()
    return answer


def _versions(rows: type[Mandate] | type[Signatory], account: str) -> Select[Any]:
    of_account = select(rows).join(Account, Account.id == rows.account_id).where(Account.account_id == account)
    return of_account.order_by(rows.id)
