import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from tests.support.images import signature
from tests.support.world import Answer, World, parts


def test_enrolling_answers_with_the_customer_as_the_contract_describes_it(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()

    customer = world.enrol(customer_id, signature("ada"), accounts=[account], valid_from="2020-02-29")

    specimen = customer["specimens"][0]
    assert customer == {
        "customer_id": customer_id,
        "account_ids": [account],
        "status": "active",
        "created_at": customer["created_at"],
        "specimens": [specimen],
    }
    assert specimen == {
        "specimen_id": specimen["specimen_id"],
        "status": "active",
        "valid_from": "2020-02-29",
        "valid_to": None,
        "quality": {"ok": True, "codes": []},
        "model_version": world.product.encoder.model_version,
        "created_at": specimen["created_at"],
    }


def test_times_are_rfc_3339_in_utc(world: World) -> None:
    created_at = world.enrol(world.new_id(), signature("ada"))["created_at"]

    assert created_at.endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(created_at)).total_seconds() < 60


def test_an_enrolled_customer_is_shown_as_it_was_answered(world: World) -> None:
    customer = world.enrol(world.new_id(), signature("ada"), accounts=[world.new_id()])

    assert world.api.get(f"/v1/customers/{customer['customer_id']}").json() == customer


def test_json_with_base64_enrols_the_same_as_a_form(world: World) -> None:
    image, accounts = signature("ada"), [world.new_id(), world.new_id()]
    by_form = world.enrol(world.new_id(), image, accounts=accounts, valid_to="2099-12-31")
    answer = world.api.post(
        "/v1/customers",
        json={
            "customer_id": world.new_id(),
            "account_ids": accounts,
            "specimens": [base64.b64encode(image).decode()],
            "valid_to": "2099-12-31",
        },
    )

    assert answer.status_code == 201
    assert _without_ids(answer.json()) == _without_ids(by_form)
    assert answer.json()["account_ids"] == sorted(accounts)


def test_a_name_is_taken_and_never_shown(world: World) -> None:
    customer = world.enrol(world.new_id(), signature("ada"), name="Ada Moreau-Šimić")

    assert "Moreau" not in str(customer)


def test_a_missing_account_is_made_with_the_mandate_one_of_anyone(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()

    world.enrol(customer_id, signature("ada"), accounts=[account])

    assert world.api.get(f"/v1/accounts/{account}").json() == {
        "account_id": account,
        "signatories": [
            {"customer_id": customer_id, "group": "A", "valid_from": None, "valid_to": None, "limit": None}
        ],
        "rules": [],
        "always_refer": False,
        "instructions": None,
    }


def test_joining_an_account_leaves_its_mandate_and_its_signatories(world: World) -> None:
    first, second, account = world.new_id(), world.new_id(), world.new_id()
    world.enrol(first, signature("ada"))
    mandate = {"signatories": [{"customer_id": first, "group": "B"}], "always_refer": True}
    world.api.put(f"/v1/accounts/{account}", json=mandate)

    world.enrol(second, signature("bruno"), accounts=[account])

    shown = world.api.get(f"/v1/accounts/{account}").json()
    assert shown["always_refer"] is True
    assert [(entry["customer_id"], entry["group"]) for entry in shown["signatories"]] == [(first, "B"), (second, "A")]


def test_an_account_named_twice_counts_once(world: World) -> None:
    account = world.new_id()

    assert world.enrol(world.new_id(), signature("ada"), accounts=[account, account])["account_ids"] == [account]


def test_a_customer_exists_once(world: World) -> None:
    customer = world.enrol(world.new_id(), signature("ada"))
    before = world.counts()

    again = _try_to_enrol(world, customer["customer_id"])

    assert (again.status_code, again.json()["code"]) == (409, "customer_exists")
    assert world.counts() == before


def test_of_two_enrolments_of_one_customer_at_once_one_wins(world: World) -> None:
    customer_id = world.new_id()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _try_to_enrol(world, customer_id), range(4)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len(world.api.get(f"/v1/customers/{customer_id}").json()["specimens"]) == 1


def test_many_enrolments_at_once_on_the_same_accounts_all_succeed(world: World) -> None:
    accounts = [world.new_id() for _ in range(3)]
    orders = [accounts, accounts[::-1], accounts[1:] + accounts[:1], accounts]

    with ThreadPoolExecutor(4) as pool:
        enrolled = list(pool.map(lambda order: world.enrol(world.new_id(), signature("ada"), accounts=order), orders))

    assert all(customer["account_ids"] == sorted(accounts) for customer in enrolled)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/customers/{id}"),
        ("DELETE", "/v1/customers/{id}"),
        ("DELETE", "/v1/customers/{id}/specimens/spc_0"),
        ("POST", "/v1/customers/{id}/specimens/spc_0/confirmation"),
    ],
)
def test_an_unknown_customer_is_not_found(world: World, method: str, path: str) -> None:
    answer = world.api.request(method, path.format(id=world.new_id()))

    assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")


def test_an_unknown_customer_gets_no_specimens(world: World) -> None:
    before = world.counts()

    answer = world.api.post(f"/v1/customers/{world.new_id()}/specimens", files=parts("specimen", signature("ada")))

    assert (answer.status_code, answer.json()["code"]) == (404, "customer_not_found")
    assert world.counts() == before


def test_a_list_is_read_page_by_page_with_each_customer_once(api: httpx.Client) -> None:
    for number in range(5):
        _enrol(api, f"customer-{number}")

    pages = list(_pages(api, "/v1/customers", limit=2))

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [item["customer_id"] for page in pages for item in page] == [f"customer-{number}" for number in range(5)]


def test_a_full_last_page_has_no_next_cursor(api: httpx.Client) -> None:
    for number in range(4):
        _enrol(api, f"customer-{number}")

    assert [len(page) for page in _pages(api, "/v1/customers", limit=2)] == [2, 2]


def test_an_empty_list_has_no_items_and_no_cursor(api: httpx.Client) -> None:
    assert api.get("/v1/customers").json() == {"items": [], "next_cursor": None}


def test_a_list_stays_whole_while_customers_come_and_go(api: httpx.Client) -> None:
    for number in range(6):
        _enrol(api, f"customer-{number}")
    seen = []

    for page in _pages(api, "/v1/customers", limit=2, meanwhile=lambda: _come_and_go(api, seen)):
        seen.extend(item["customer_id"] for item in page)

    assert len(seen) == len(set(seen))
    assert {f"customer-{number}" for number in range(6)} <= set(seen)


def test_further_specimens_are_answered_as_a_list(world: World) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))

    with world.trusting():
        added = world.add(customer_id, signature("ada", 1), signature("ada", 2), valid_from="2026-01-01")

    shown = world.api.get(f"/v1/customers/{customer_id}").json()
    assert shown["specimens"][1:] == added
    assert [specimen["valid_from"] for specimen in added] == ["2026-01-01", "2026-01-01"]


@pytest.mark.usefixtures("copies_pass")
def test_a_specimen_unlike_the_others_does_not_count_until_someone_confirms_it(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    own, strange = signature("ada"), signature("another hand")
    world.enrol(customer_id, own, accounts=[account])

    with world.thresholds_between(own, strange):
        (pending,) = world.add(customer_id, strange)
        assert (pending["status"], pending["quality"]["ok"]) == ("pending", False)
        assert "specimen_inconsistent" in pending["quality"]["codes"]
        assert world.verify(account, strange)["outcome"] == "reject"

        confirmed = world.api.post(f"/v1/customers/{customer_id}/specimens/{pending['specimen_id']}/confirmation")

        assert confirmed.status_code == 200
        assert confirmed.json()["status"] == "active"
        verification = world.verify(account, strange)
        assert verification["outcome"] == "accept"
        assert verification["score"] == pytest.approx(world.score(own, strange, strange))
    assert pending["specimen_id"] in {hit["specimen_id"] for hit in world.search(strange)}


def test_a_pending_specimen_is_found_by_nobody(world: World) -> None:
    customer_id = world.new_id()
    own, strange = signature("ada"), signature("a pending hand")
    world.enrol(customer_id, own)

    with world.thresholds_between(own, strange):
        (pending,) = world.add(customer_id, strange)

    assert pending["specimen_id"] not in {hit["specimen_id"] for hit in world.search(strange)}


def test_a_specimen_more_like_another_customer_stays_pending(world: World) -> None:
    victim, attacker = world.new_id(), world.new_id()
    stolen, own = signature("victim"), signature("attacker")
    world.enrol(victim, stolen)
    world.enrol(attacker, own)

    with world.thresholds(accept=(world.score(own, own) + world.score(own, stolen)) / 2, reject=1e-9):
        (pending,) = world.add(attacker, stolen)

    assert (pending["status"], pending["quality"]["codes"]) == ("pending", ["matches_other_customer"])


def test_specimens_of_one_request_are_judged_against_each_other(world: World) -> None:
    own, strange = signature("ada"), signature("another hand")

    with world.thresholds_between(own, strange):
        customer = world.enrol(world.new_id(), own, strange, own)

    assert [specimen["status"] for specimen in customer["specimens"]] == ["active", "pending", "active"]


def test_only_a_pending_specimen_is_confirmed(world: World) -> None:
    customer = world.enrol(world.new_id(), signature("ada"))
    specimen_id = customer["specimens"][0]["specimen_id"]

    answer = world.api.post(f"/v1/customers/{customer['customer_id']}/specimens/{specimen_id}/confirmation")

    assert (answer.status_code, answer.json()["code"]) == (409, "specimen_not_pending")


def test_nobody_reaches_a_specimen_through_another_customer(world: World) -> None:
    theirs = world.enrol(world.new_id(), signature("ada"))["specimens"][0]["specimen_id"]
    mine = world.enrol(world.new_id(), signature("bruno"))["customer_id"]

    removal = world.api.delete(f"/v1/customers/{mine}/specimens/{theirs}")
    confirmation = world.api.post(f"/v1/customers/{mine}/specimens/{theirs}/confirmation")

    assert (removal.status_code, removal.json()["code"]) == (404, "specimen_not_found")
    assert (confirmation.status_code, confirmation.json()["code"]) == (404, "specimen_not_found")


def _try_to_enrol(world: World, customer_id: str) -> httpx.Response:
    return world.api.post(
        "/v1/customers", data={"customer_id": customer_id}, files=parts("specimen", signature("ada"))
    )


def _enrol(api: httpx.Client, customer_id: str) -> None:
    answer = api.post("/v1/customers", data={"customer_id": customer_id}, files=parts("specimen", signature("ada")))
    assert answer.status_code == 201


def _come_and_go(api: httpx.Client, seen: list[str]) -> None:
    """Someone new comes, and someone goes who is on a page that was read already."""
    _enrol(api, f"newcomer-after-{len(seen)}")
    api.delete(f"/v1/customers/{seen[-1]}").raise_for_status()


def _pages(
    api: httpx.Client, path: str, limit: int, meanwhile: Callable[[], None] = lambda: None
) -> Iterator[list[Answer]]:
    cursor: dict[str, str] = {}
    while True:
        answer = api.get(path, params={"limit": str(limit), **cursor}).json()
        yield answer["items"]
        if answer["next_cursor"] is None:
            return
        meanwhile()
        cursor = {"cursor": answer["next_cursor"]}


def _without_ids(customer: Answer) -> Answer:
    """What two enrolments with the same content have in common."""
    specimens = [
        {name: value for name, value in specimen.items() if name not in {"specimen_id", "created_at"}}
        for specimen in customer["specimens"]
    ]
    return {"account_ids": customer["account_ids"], "status": customer["status"], "specimens": specimens}
