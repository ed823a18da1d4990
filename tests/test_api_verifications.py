import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from service.removal import remove_specimen
from tests.support.images import HEIGHT, WIDTH, on_a_page, signature
from tests.support.world import Answer, World, parts, wait_until

TODAY = datetime.now(UTC).date()


def test_a_verification_is_answered_as_the_contract_describes_it(world: World) -> None:
    customer_id, account, specimen_id = _enrolled(world, signature("ada"))

    answer = world.api.post(
        f"/v1/accounts/{account}/verifications",
        data={"amount": "1250.5", "currency": "EUR", "reference": "cheque 17", "signed_on": _day(-40)},
        files=parts("image", signature("ada", 1)),
    )

    assert answer.status_code == 201
    found = answer.json()
    bundle = world.product.encoder.bundle
    match = {"customer_id": customer_id, "specimen_id": specimen_id, "score": found["score"]}
    assert found == {
        "verification_id": found["verification_id"],
        "account_id": account,
        "kind": "signature",
        "state": "closed",
        "outcome": "accept",
        "score": pytest.approx(world.score(signature("ada"), signature("ada", 1))),
        "thresholds": {"accept": bundle.thresholds.accept, "reject": bundle.thresholds.reject},
        "reasons": ["mandate_satisfied"],
        "signatures": [{"box": [0, 0, WIDTH, HEIGHT], **match}],
        "candidates": [match],
        "review": None,
        "instructions": None,
        "error_rates": found["error_rates"],
        "model_version": bundle.model_version,
        "signed_on": _day(-40),
        "amount": "1250.50",
        "currency": "EUR",
        "reference": "cheque 17",
        "created_at": found["created_at"],
        "timings_ms": found["timings_ms"],
    }
    assert set(found["error_rates"]) == {"skilled_far", "random_far", "frr"}
    assert all(set(rate) == {"value", "low", "high"} for rate in found["error_rates"].values())
    assert set(found["timings_ms"]) == {"decode", "locate", "preprocess", "embed", "match", "total"}
    assert found["created_at"].endswith("Z")


@pytest.mark.usefixtures("copies_pass")
def test_json_with_base64_verifies_the_same_as_a_form(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    query = signature("ada", 1)
    by_form = world.verify(account, query, amount="9.00", currency="CHF")

    answer = world.api.post(
        f"/v1/accounts/{account}/verifications",
        json={"image": base64.b64encode(query).decode(), "amount": "9.00", "currency": "CHF"},
    )

    assert answer.status_code == 201
    own = ("verification_id", "created_at", "timings_ms")
    assert _without(answer.json(), *own) == _without(by_form, *own)


def test_the_day_is_today_unless_the_caller_says_otherwise(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))

    assert date.fromisoformat(world.verify(account, signature("ada"))["signed_on"]) - TODAY < timedelta(days=2)


def test_of_several_specimens_the_nearest_is_named_and_all_count(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    with world.trusting():
        customer = world.enrol(customer_id, signature("ada", 1), signature("ada"), accounts=[account])
    assert [specimen["status"] for specimen in customer["specimens"]] == ["active", "active"]

    verification = world.verify(account, signature("ada"))

    assert verification["signatures"][0]["specimen_id"] == customer["specimens"][1]["specimen_id"]
    assert verification["score"] == pytest.approx(
        world.score(signature("ada", 1), signature("ada"), signature("ada"))
    )
    (hit,) = (hit for hit in world.search(signature("ada")) if hit["customer_id"] == customer_id)
    assert hit["score"] == verification["score"]


def test_every_signatory_is_a_candidate_and_the_best_is_assigned(world: World) -> None:
    ada, account, _ = _enrolled(world, signature("ada"))
    bruno = world.enrol(world.new_id(), signature("bruno"), accounts=[account])["customer_id"]

    verification = world.verify(account, signature("bruno", 1))

    scores = [candidate["score"] for candidate in verification["candidates"]]
    assert [candidate["customer_id"] for candidate in verification["candidates"]] == [bruno, ada]
    assert scores == sorted(scores, reverse=True)
    assert verification["signatures"][0]["customer_id"] == bruno
    assert verification["score"] == scores[0]


def test_a_signatory_of_another_account_is_no_candidate(world: World) -> None:
    _enrolled(world, signature("bruno"))
    ada, account, _ = _enrolled(world, signature("ada"))

    verification = world.verify(account, signature("bruno"))

    assert [candidate["customer_id"] for candidate in verification["candidates"]] == [ada]


def test_a_caller_who_does_not_review_sees_rounded_scores_and_no_candidates(world: World) -> None:
    customer_id, account, specimen_id = _enrolled(world, signature("ada"))
    query = signature("ada", 3)

    with world.client("verify") as clerk:
        seen = clerk.post(f"/v1/accounts/{account}/verifications", files=parts("image", query)).json()

    score = round(world.score(signature("ada"), query), 2)
    assert seen["score"] == score
    assert seen["candidates"] == []
    assert _without(seen["signatures"][0], "box") == {
        "customer_id": customer_id,
        "specimen_id": specimen_id,
        "score": score,
    }


def test_a_reviewer_sees_everything_of_what_another_caller_asked(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    with world.client("verify") as clerk:
        seen = clerk.post(f"/v1/accounts/{account}/verifications", files=parts("image", signature("ada", 3))).json()

    reviewed = world.api.get(f"/v1/verifications/{seen['verification_id']}").json()

    assert reviewed["score"] == pytest.approx(world.score(signature("ada"), signature("ada", 3)), abs=1e-6)
    assert len(reviewed["candidates"]) == 1


@pytest.mark.usefixtures("copies_pass")
def test_the_score_decides_between_accept_refer_and_reject(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    query = signature("ada", 2)
    score = world.score(signature("ada"), query)
    high, low = (1 + score) / 2, score / 2

    seen = []
    for accept, reject in [(low, low), (high, low), (high, high)]:
        with world.thresholds(accept=accept, reject=reject):
            verification = world.verify(account, query)
        seen.append((verification["outcome"], verification["state"], verification["reasons"]))

    assert seen == [
        ("accept", "closed", ["mandate_satisfied"]),
        ("refer", "open", ["below_accept"]),
        ("reject", "closed", ["below_reject"]),
    ]


@pytest.mark.parametrize(("days", "outcome"), [(-31, "refer"), (-30, "accept"), (-20, "accept"), (-19, "refer")])
def test_a_specimen_counts_from_its_first_day_to_its_last(world: World, days: int, outcome: str) -> None:
    _, account, _ = _enrolled(world, signature("ada"), valid_from=_day(-30), valid_to=_day(-20))

    verification = world.verify(account, signature("ada", 1), signed_on=_day(days))

    assert verification["outcome"] == outcome
    if outcome == "refer":
        assert verification["reasons"] == ["specimen_expired"]
        assert (verification["score"], verification["state"]) == (None, "open")
        assert verification["candidates"] == []
        assert _without(verification["signatures"][0], "box") == {
            "customer_id": None,
            "specimen_id": None,
            "score": None,
        }


def test_an_expired_specimen_does_not_count_beside_one_that_is_valid(world: World) -> None:
    customer_id, account, expired = _enrolled(world, signature("ada"), valid_to=_day(-20))
    with world.trusting():
        (valid,) = world.add(customer_id, signature("ada", 1))

    verification = world.verify(account, signature("ada"), signed_on=_day(-10))

    assert verification["signatures"][0]["specimen_id"] == valid["specimen_id"] != expired


def test_a_signatory_counts_from_the_first_day_in_the_mandate(world: World) -> None:
    customer_id, account, _ = _enrolled(world, signature("ada"))
    entry = {"customer_id": customer_id, "valid_from": _day(-10)}
    world.api.put(f"/v1/accounts/{account}", json={"signatories": [entry]}).raise_for_status()

    before = world.verify(account, signature("ada", 1), signed_on=_day(-11))
    within = world.verify(account, signature("ada", 2), signed_on=_day(-10))

    assert (before["outcome"], before["reasons"]) == ("refer", ["signatory_not_allowed"])
    assert within["outcome"] == "accept"


def test_whoever_may_not_sign_any_more_may_have_written_an_earlier_day(world: World) -> None:
    customer_id, account, _ = _enrolled(world, signature("ada"))
    entry = {"customer_id": customer_id, "valid_to": _day(-1)}
    world.api.put(f"/v1/accounts/{account}", json={"signatories": [entry]}).raise_for_status()

    verification = world.verify(account, signature("ada", 1), signed_on=_day(-5))

    assert verification["outcome"] == "refer"
    assert verification["reasons"] == ["mandate_changed_since", "signatory_not_allowed"]


@pytest.mark.parametrize(("days", "reasons"), [(-184, ["stale_dated"]), (1, ["post_dated"])])
def test_a_day_long_ago_or_still_to_come_is_for_a_person(world: World, days: int, reasons: list[str]) -> None:
    _, account, _ = _enrolled(world, signature("ada"))

    verification = world.verify(account, signature("ada", 1), signed_on=_day(days))

    assert (verification["outcome"], verification["reasons"]) == ("refer", reasons)


def test_a_caller_chooses_how_many_forgeries_may_pass(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    table = world.product.encoder.bundle.error_rates

    lax, strict = (world.verify(account, signature("ada"), target_far=target) for target in ("0.2", "0.02"))

    assert lax["thresholds"]["accept"] == pytest.approx(table.threshold_for(0.2))
    assert lax["thresholds"]["accept"] < strict["thresholds"]["accept"]
    assert strict["error_rates"]["skilled_far"]["value"] == pytest.approx(0.02)
    assert strict["error_rates"]["frr"]["value"] > lax["error_rates"]["frr"]["value"]


def test_on_an_account_with_more_people_and_more_specimens_the_same_target_asks_for_more(world: World) -> None:
    account = world.new_id()
    with world.trusting():
        world.enrol(world.new_id(), signature("ada"), accounts=[account])
        alone = world.verify(account, signature("ada"), target_far="0.1")
        world.enrol(
            world.new_id(), signature("bruno"), signature("bruno", 1), signature("bruno", 2), accounts=[account]
        )
    together = world.verify(account, signature("ada"), target_far="0.1")

    table = world.product.encoder.bundle.error_rates
    assert together["thresholds"]["accept"] == pytest.approx(table.threshold_for(0.1, references=3, people=2))
    assert together["thresholds"]["accept"] > alone["thresholds"]["accept"]
    assert together["error_rates"]["skilled_far"]["value"] == pytest.approx(0.1)


def test_a_setting_that_is_stricter_than_any_measurement_accepts_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    strict = world.settings.model_copy(update={"target_far": 1e-7})
    monkeypatch.setattr(world.product, "settings", strict)

    found = world.verify(account, signature("ada", 1))

    assert (found["outcome"], found["reasons"]) == ("refer", ["below_accept"])


def test_always_refer_turns_an_accept_into_a_refer(world: World) -> None:
    customer_id, account, _ = _enrolled(world, signature("ada"))
    mandate = {"signatories": [{"customer_id": customer_id}], "always_refer": True}
    world.api.put(f"/v1/accounts/{account}", json=mandate).raise_for_status()

    verification = world.verify(account, signature("ada", 1))

    assert (verification["outcome"], verification["reasons"]) == ("refer", ["always_refer"])
    assert verification["score"] >= verification["thresholds"]["accept"]


def test_always_refer_does_not_hide_a_reject(world: World) -> None:
    customer_id, account, _ = _enrolled(world, signature("ada"))
    mandate = {"signatories": [{"customer_id": customer_id}], "always_refer": True}
    world.api.put(f"/v1/accounts/{account}", json=mandate).raise_for_status()

    with world.thresholds_between(signature("ada"), signature("bruno")):
        verification = world.verify(account, signature("bruno"))

    assert (verification["outcome"], verification["reasons"]) == ("reject", ["below_reject", "always_refer"])


def test_an_unknown_account_is_not_found(world: World) -> None:
    assert _refusal(world, world.new_id(), signature("ada")) == (404, "account_not_found")


def test_an_account_with_nobody_is_not_enrolled(world: World) -> None:
    account = world.new_id()
    world.api.put(f"/v1/accounts/{account}", json={}).raise_for_status()

    assert _refusal(world, account, signature("ada")) == (409, "account_not_enrolled")


def test_an_account_whose_only_specimen_was_removed_is_not_enrolled(world: World) -> None:
    customer_id, account, specimen_id = _enrolled(world, signature("ada"))
    world.api.delete(f"/v1/customers/{customer_id}/specimens/{specimen_id}").raise_for_status()

    assert _refusal(world, account, signature("ada")) == (409, "account_not_enrolled")


def test_an_account_with_only_a_pending_specimen_is_not_enrolled(world: World) -> None:
    customer_id, account, first = _enrolled(world, signature("ada"))
    with world.thresholds_between(signature("ada"), signature("bruno")):
        world.add(customer_id, signature("bruno"))
    world.api.delete(f"/v1/customers/{customer_id}/specimens/{first}").raise_for_status()

    assert _refusal(world, account, signature("bruno")) == (409, "account_not_enrolled")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"target_far": "0.0000001"}, "target_far_unavailable"),
        ({"box": "0,0,100000,10"}, "invalid_field"),
        ({"box": "0,0,20000,10"}, "box_outside"),
        ({"box": "1,2,3"}, "invalid_field"),
        ({"box": "here"}, "invalid_field"),
    ],
)
def test_what_is_not_applied_is_refused(world: World, fields: Answer, code: str) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    before = world.counts()

    assert _refusal(world, account, signature("ada"), **fields) == (422, code)
    assert world.counts() == before


def test_verifications_are_listed_newest_first_and_page_by_page(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    made = [world.verify(account, signature("ada"))["verification_id"] for _ in range(5)]
    listed, cursor = [], {}

    while cursor is not None:
        query = {"account_id": account, "limit": "2", **cursor}
        page = world.api.get("/v1/verifications", params=query).json()
        listed.append([item["verification_id"] for item in page["items"]])
        world.verify(account, signature("ada"))  # a newer one belongs before the pages that were read already
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None

    assert listed == [made[:2:-1], made[2:0:-1], made[:1]]


def test_verifications_are_filtered_by_outcome_state_and_account(world: World) -> None:
    customer_id, account, _ = _enrolled(world, signature("ada"))
    accepted = world.verify(account, signature("ada", 1))["verification_id"]
    mandate = {"signatories": [{"customer_id": customer_id}], "always_refer": True}
    world.api.put(f"/v1/accounts/{account}", json=mandate).raise_for_status()
    referred = world.verify(account, signature("ada", 2))["verification_id"]

    def listed(**query: str) -> list[str]:
        answer = world.api.get("/v1/verifications", params={"account_id": account, **query})
        return [item["verification_id"] for item in answer.json()["items"]]

    assert listed() == [referred, accepted]
    assert listed(outcome="accept") == listed(state="closed") == [accepted]
    assert listed(outcome="refer", state="open") == [referred]
    assert listed(state="claimed") == listed(outcome="reject") == []


def test_an_unknown_verification_is_not_found(world: World) -> None:
    answer = world.api.get("/v1/verifications/ver_0")

    assert (answer.status_code, answer.json()["code"]) == (404, "verification_not_found")


def test_two_images_are_compared_the_same_whichever_comes_first(world: World) -> None:
    ada, bruno = signature("ada"), signature("bruno")

    one = _compare(world, ada, bruno)
    other = _compare(world, bruno, ada)

    assert one == {
        "score": pytest.approx(world.score(ada, bruno)),
        "model_version": world.product.encoder.model_version,
    }
    assert one == other
    assert 0 < one["score"] < _compare(world, ada, ada)["score"] < 1


def test_a_comparison_stores_nothing(world: World) -> None:
    before = world.counts()

    _compare(world, signature("ada"), signature("bruno"))

    assert world.counts() == before


def test_json_with_base64_compares_the_same_as_a_form(world: World) -> None:
    ada, bruno = signature("ada"), signature("bruno")
    encoded = {"image_a": base64.b64encode(ada).decode(), "image_b": base64.b64encode(bruno).decode()}

    assert world.api.post("/v1/comparisons", json=encoded).json() == _compare(world, ada, bruno)


def test_a_verification_that_waits_for_a_removal_does_not_match_what_was_removed(world: World) -> None:
    """The one that came first commits while the other waits for its turn."""
    customer_id, account, specimen_id = _enrolled(world, signature("ada"))
    database, vault = world.product.database, world.product.vault

    with ThreadPoolExecutor(1) as pool:
        with database.writing() as session:
            remove_specimen(session, vault, customer_id, specimen_id, actor="test")
            waiting = pool.submit(_refusal, world, account, signature("ada"))
            if session.get_bind().dialect.name == "postgresql":
                wait_until(lambda: _somebody_waits(world))
        assert waiting.result(timeout=20) == (409, "account_not_enrolled")


def test_verifications_and_removals_at_once_never_break(world: World) -> None:
    customer_id, account, _ = _enrolled(world, signature("ada"))
    removed = threading.Event()

    def verify_until_removed() -> set[int]:
        statuses = set()
        while not removed.is_set():
            statuses.add(_try_to_verify(world, account, signature("ada")).status_code)
        return statuses | {_try_to_verify(world, account, signature("ada")).status_code}

    with ThreadPoolExecutor(2) as pool:
        verifying = [pool.submit(verify_until_removed) for _ in range(2)]
        wait_until(
            lambda: len(world.api.get("/v1/verifications", params={"account_id": account}).json()["items"]) > 3
        )
        assert world.api.delete(f"/v1/customers/{customer_id}").status_code == 200
        removed.set()

    assert all(result.result() == {201, 409} for result in verifying)


def _day(days: int) -> str:
    """So many days from now."""
    return str(TODAY + timedelta(days))


def _enrolled(world: World, image: bytes, **fields: str) -> tuple[str, str, str]:
    """A new customer on a new account: both ids and the specimen's."""
    customer_id, account = world.new_id(), world.new_id()
    customer = world.enrol(customer_id, image, accounts=[account], **fields)
    return customer_id, account, customer["specimens"][0]["specimen_id"]


def _try_to_verify(world: World, account: str, image: bytes, **fields: str) -> httpx.Response:
    return world.api.post(f"/v1/accounts/{account}/verifications", data=fields, files=parts("image", image))


def _refusal(world: World, account: str, image: bytes, **fields: str) -> tuple[int, str]:
    answer = _try_to_verify(world, account, image, **fields)
    return answer.status_code, answer.json()["code"]


def _compare(world: World, image_a: bytes, image_b: bytes) -> Answer:
    answer = world.api.post("/v1/comparisons", files=parts("image_a", image_a) + parts("image_b", image_b))
    assert answer.status_code == 200, answer.text
    compared: Answer = answer.json()
    return compared


def _somebody_waits(world: World) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with world.product.database.reading() as session:
        return bool(session.scalar(text(waiting)))


def _without(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in names}


def test_a_box_says_where_on_the_image_the_signature_is(world: World) -> None:
    _, account, _ = _enrolled(world, signature("ada"))
    page, box = on_a_page(signature("ada", variant=1), left=311, top=420)

    alone = world.verify(account, signature("ada", variant=1))
    boxed = world.verify(account, page, box=",".join(map(str, box)))

    assert boxed["signatures"][0]["box"] == list(box)
    assert boxed["score"] == pytest.approx(alone["score"], abs=1e-6)
