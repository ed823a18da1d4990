"""The life of a referral: claimed by one person, decided once, and its note gone with whoever it may name."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from service import review
from service.models import Event, Review, Verification
from service.referrals import Gauges, read_waiting
from tests.support.images import signature
from tests.support.referrals import Referral, accept, claim, code, decide, refer, refer_again, set_review
from tests.support.world import Answer, World

AT_ONCE = 6


@pytest.fixture
def anna(world: World) -> Iterator[httpx.Client]:
    with world.client("review") as person:
        yield person


@pytest.fixture
def bert(world: World) -> Iterator[httpx.Client]:
    with world.client("review") as person:
        yield person


@pytest.fixture
def referral(world: World) -> Referral:
    return refer(world, signature("ada", 1), specimen=signature("ada"))


def test_a_referral_is_claimed_and_decided_and_keeps_what_the_machine_said(
    anna: httpx.Client, referral: Referral
) -> None:
    before = _show(anna, referral)

    claimed = claim(anna, referral)
    decided = decide(anna, referral, "reject", "The A is another's.\nAsked in the branch.")

    assert (claimed.status_code, decided.status_code) == (200, 200)
    held, closed = claimed.json()["review"], decided.json()["review"]
    assert before["review"] is None
    assert claimed.json() == before | {"state": "claimed", "review": held}
    assert (held["claimed_by"], held["decision"], held["note"]) == (_key_id(anna), None, None)
    assert datetime.fromisoformat(held["claimed_until"]) - datetime.fromisoformat(held["claimed_at"]) == timedelta(
        minutes=30
    )
    assert closed == held | {
        "claimed_until": None,
        "decision": "reject",
        "decided_at": closed["decided_at"],
        "note": "The A is another's.\nAsked in the branch.",
    }
    assert decided.json() == before | {"state": "closed", "review": closed}
    assert (before["outcome"], before["reasons"]) == ("refer", ["always_refer"])
    assert _show(anna, referral) == decided.json()


def test_what_another_has_claimed_is_neither_claimed_nor_decided_nor_given_back(
    anna: httpx.Client, bert: httpx.Client, referral: Referral
) -> None:
    claim(anna, referral)

    assert code(claim(bert, referral)) == (409, "verification_claimed")
    assert code(decide(bert, referral)) == (409, "verification_claimed")
    assert code(bert.delete(f"{referral.path}/claim")) == (409, "verification_claimed")
    assert decide(anna, referral).status_code == 200


def test_what_nobody_has_claimed_is_not_decided(anna: httpx.Client, referral: Referral) -> None:
    assert code(decide(anna, referral)) == (409, "verification_not_claimed")
    assert code(anna.delete(f"{referral.path}/claim")) == (409, "verification_not_claimed")
    assert _show(anna, referral)["state"] == "open"


def test_claiming_ones_own_again_begins_its_time_anew(
    world: World, anna: httpx.Client, bert: httpx.Client, referral: Referral
) -> None:
    claim(anna, referral)
    set_review(world, referral, claimed_at=_ago(minutes=29))

    again = claim(anna, referral)

    assert again.status_code == 200
    assert datetime.fromisoformat(again.json()["review"]["claimed_at"]) > _ago(minutes=1)
    assert code(claim(bert, referral)) == (409, "verification_claimed")


def test_a_claim_ends_and_then_another_may_take_over(
    world: World, anna: httpx.Client, bert: httpx.Client, referral: Referral
) -> None:
    claim(anna, referral)
    set_review(world, referral, claimed_at=_ago(minutes=31))

    taken = claim(bert, referral)

    assert (taken.status_code, taken.json()["review"]["claimed_by"]) == (200, _key_id(bert))
    assert code(decide(anna, referral)) == (409, "verification_claimed")
    assert decide(bert, referral).status_code == 200


def test_a_claim_that_ran_out_returns_to_the_queue_and_its_holder_may_still_decide(
    world: World, anna: httpx.Client, bert: httpx.Client, referral: Referral
) -> None:
    claim(anna, referral)
    fresh = refer_again(world, referral, signature("ada"))
    claim(anna, fresh)
    set_review(world, referral, claimed_at=_ago(minutes=31))

    _return_expired(world)

    assert _listed(bert, referral, state="open") == [referral.verification_id]
    assert _listed(bert, referral, state="claimed") == _listed(anna, referral, claimed_by="me")
    assert _listed(anna, referral, claimed_by="me") == [fresh.verification_id]
    assert _show(bert, referral)["review"] is None
    assert code(decide(bert, referral)) == (409, "verification_not_claimed")
    assert decide(anna, referral).status_code == 200


def test_a_decision_is_not_returned_to_the_queue(world: World, anna: httpx.Client, referral: Referral) -> None:
    claim(anna, referral)
    decide(anna, referral)
    set_review(world, referral, claimed_at=_ago(minutes=600))

    _return_expired(world)

    assert _show(anna, referral)["state"] == "closed"


def test_a_claim_is_given_back(anna: httpx.Client, bert: httpx.Client, referral: Referral) -> None:
    claim(anna, referral)

    returned = anna.delete(f"{referral.path}/claim")

    assert (returned.status_code, returned.json()["state"], returned.json()["review"]) == (200, "open", None)
    assert code(decide(anna, referral)) == (409, "verification_not_claimed")
    assert claim(bert, referral).status_code == 200


def test_only_what_was_referred_is_reviewed_and_only_once(world: World, anna: httpx.Client) -> None:
    account = world.new_id()
    world.enrol(world.new_id(), signature("ada"), accounts=[account])
    accepted = Referral(world.verify(account, signature("ada", 1))["verification_id"], "", account)
    decided = refer(world, signature("ada"))
    accept(world, decided)

    for closed in (accepted, decided):
        assert code(claim(anna, closed)) == (409, "verification_closed")
        assert code(decide(anna, closed)) == (409, "verification_closed")
        assert code(anna.delete(f"{closed.path}/claim")) == (409, "verification_closed")
    assert code(claim(anna, Referral("ver_0", "", ""))) == (404, "verification_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "accept"},
        {"decision": "accept", "note": ""},
        {"decision": "accept", "note": "a\0b"},
        {"decision": "accept", "note": "x" * 2001},
        {"decision": "refer", "note": "I do not know"},
        {"note": "yes"},
        {"decision": "accept", "note": "yes", "outcome": "accept"},
    ],
)
def test_a_decision_is_accept_or_reject_with_a_note(anna: httpx.Client, referral: Referral, body: Answer) -> None:
    claim(anna, referral)

    assert code(anna.post(f"{referral.path}/decision", json=body)) == (422, "invalid_field")
    assert _show(anna, referral)["state"] == "claimed"


def test_of_many_who_claim_at_the_same_moment_one_wins(world: World, referral: Referral) -> None:
    people = [world.client("review") for _ in range(AT_ONCE)]

    answers = _at_once([lambda person=person: claim(person, referral) for person in people])

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (AT_ONCE - 1)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"verification_claimed"}
    (winner,) = [person for person, answer in zip(people, answers, strict=True) if answer.status_code == 200]
    assert _show(world.api, referral)["review"]["claimed_by"] == _key_id(winner)


def test_of_many_decisions_at_the_same_moment_one_counts(anna: httpx.Client, referral: Referral) -> None:
    claim(anna, referral)
    said = [("accept" if turn % 2 else "reject", f"note {turn}") for turn in range(AT_ONCE)]

    answers = _at_once([lambda one=one: decide(anna, referral, *one) for one in said])

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (AT_ONCE - 1)
    (counted,) = [one for one, answer in zip(said, answers, strict=True) if answer.status_code == 200]
    shown = _show(anna, referral)["review"]
    assert (shown["decision"], shown["note"]) == counted


def test_a_takeover_and_a_late_decision_at_the_same_moment_end_in_one_of_both(
    world: World, anna: httpx.Client, bert: httpx.Client, referral: Referral
) -> None:
    claim(anna, referral)
    set_review(world, referral, claimed_at=_ago(minutes=31))

    late, taken = _at_once([lambda: decide(anna, referral), lambda: claim(bert, referral)])

    assert sorted((late.status_code, taken.status_code)) == [200, 409]
    shown = _show(anna, referral)
    assert shown["review"]["claimed_by"] == _key_id(anna if late.status_code == 200 else bert)
    assert shown["state"] == ("closed" if late.status_code == 200 else "claimed")


def test_a_repeated_claim_and_decision_are_replayed(anna: httpx.Client, referral: Referral) -> None:
    keys = [{"Idempotency-Key": f"{name} {referral.verification_id}"} for name in ("claim", "decision")]

    claimed = [claim(anna, referral, **keys[0]) for _ in range(2)]
    decided = [decide(anna, referral, **keys[1]) for _ in range(2)]

    for first, second in (claimed, decided):
        assert (first.status_code, first.text) == (second.status_code, second.text) == (200, second.text)
        assert second.headers["Idempotent-Replayed"] == "true"
    assert claim(anna, referral, **keys[0]).json()["state"] == "claimed"  # what was answered then
    assert code(decide(anna, referral, "reject", **keys[1])) == (409, "idempotency_mismatch")
    assert code(decide(anna, referral)) == (409, "verification_closed")


def test_a_note_is_stored_sealed(world: World, referral: Referral) -> None:
    accept(world, referral)

    with world.product.database.reading() as session:
        row = session.scalars(_review_of(referral)).one()
    assert row.sealed
    assert b"her hand" not in row.sealed


def test_a_note_goes_with_anyone_whom_the_verification_names(world: World) -> None:
    first = refer(world, signature("ada"))
    colleague = world.new_id()
    world.enrol(colleague, signature("bruno"))
    entries = [{"customer_id": who} for who in (first.customer_id, colleague)]
    account = f"/v1/accounts/{first.account_id}"
    world.api.put(account, json={"signatories": entries, "always_refer": True}).raise_for_status()
    both = refer_again(world, first, signature("ada"))
    claim(world.api, both)
    key = {"Idempotency-Key": both.verification_id}
    decide(world.api, both, note="Not Bruno, I called him", **key)
    accept(world, first)

    receipt = world.api.delete(f"/v1/customers/{colleague}").json()

    assert receipt["counts"]["notes"] == 1
    shown = _show(world.api, both)["review"]
    assert (shown["decision"], shown["note"]) == ("accept", None)
    with world.product.database.reading() as session:
        row = session.scalars(_review_of(both)).one()
    assert (row.sealed, row.nonce, row.key_id) == (None, None, None)
    assert code(decide(world.api, both, note="Not Bruno, I called him", **key)) == (410, "erased")
    assert _show(world.api, first)["review"]["note"] == "her hand"  # it named the other alone


def test_no_note_is_kept_about_somebody_erased_already(world: World, referral: Referral) -> None:
    claim(world.api, referral)
    world.api.delete(f"/v1/customers/{referral.customer_id}").raise_for_status()

    decided = decide(world.api, referral).json()

    assert (decided["state"], decided["review"]["decision"], decided["review"]["note"]) == ("closed", "accept", None)


def test_decisions_and_erasures_at_the_same_moment_both_succeed_and_leave_no_note(world: World) -> None:
    """With an Idempotency-Key the decision also holds whom its answer names."""
    for turn in range(4):
        referral = refer(world, signature("ada"))
        claim(world.api, referral)
        key = {"Idempotency-Key": world.new_id()} if turn % 2 else {}

        decided, removed = _at_once(
            [
                lambda referral=referral, key=key: decide(world.api, referral, **key),
                lambda referral=referral: world.api.delete(f"/v1/customers/{referral.customer_id}"),
            ]
        )

        assert (decided.status_code, removed.status_code) == (200, 200)
        assert _show(world.api, referral)["review"]["note"] is None


def test_instructions_are_shown_to_reviewers_while_a_decision_is_awaited(world: World, anna: httpx.Client) -> None:
    referral = refer(world, signature("ada"), instructions="Call the treasurer above 10,000.")
    at_once = world.verify(referral.account_id, signature("ada"))
    with world.client("verify") as clerk:
        image = {"image": ("image.png", signature("ada"), "image/png")}
        seen = clerk.post(f"/v1/accounts/{referral.account_id}/verifications", files=image).json()

    assert at_once["instructions"] == _show(anna, referral)["instructions"] == "Call the treasurer above 10,000."
    assert (seen["outcome"], seen["instructions"], seen["review"]) == ("refer", None, None)

    world.api.put(f"/v1/accounts/{referral.account_id}", json={"instructions": "Do not call."}).raise_for_status()
    assert claim(anna, referral).json()["instructions"] == "Do not call."
    assert decide(anna, referral).json()["instructions"] is None


def test_the_queue_is_worked_off_from_the_oldest_while_others_claim_from_it(
    world: World, anna: httpx.Client, bert: httpx.Client, referral: Referral
) -> None:
    waiting = [referral, *(refer_again(world, referral, signature("ada")) for _ in range(4))]
    ids = [one.verification_id for one in waiting]
    claim(bert, waiting[0])

    first = _page(anna, referral, limit="2")
    claim(bert, waiting[2])  # on the page that anna has
    claim(bert, waiting[3])  # and on the next
    second = _page(anna, referral, limit="2", cursor=first["next_cursor"])

    assert _ids(first) == ids[1:3]
    assert (_ids(second), second["next_cursor"]) == (ids[4:], None)
    assert _listed(bert, referral, state="claimed", claimed_by="me", order="oldest") == [ids[0], *ids[2:4]]
    assert _listed(anna, referral, claimed_by="me") == []
    decide(bert, waiting[2])
    assert _listed(bert, referral, claimed_by="me", state="closed") == [ids[2]]


@pytest.mark.parametrize("query", [{"order": "random"}, {"claimed_by": "cs_1"}])
def test_an_order_or_claimant_that_does_not_exist_is_refused(anna: httpx.Client, query: dict[str, str]) -> None:
    assert code(anna.get("/v1/verifications", params=query)) == (422, "invalid_field")


def test_every_step_of_a_review_is_an_event(world: World, anna: httpx.Client, referral: Referral) -> None:
    claim(anna, referral)
    anna.delete(f"{referral.path}/claim")
    claim(anna, referral)
    decide(anna, referral, note="Ada Moreau herself")

    with world.product.database.reading() as session:
        events = session.scalars(
            select(Event).where(Event.subject == referral.verification_id).order_by(Event.id).offset(1)
        ).all()
    assert [event.kind for event in events] == [
        "verification_claimed",
        "claim_given_back",
        "verification_claimed",
        "verification_decided",
    ]
    assert {event.actor for event in events} == {_key_id(anna)}
    assert events[-1].details == {"decision": "accept"}


def test_the_metrics_say_what_waits_for_how_long_and_what_was_decided(world: World, referral: Referral) -> None:
    decided = refer(world, signature("ada"))
    before, counted = _waiting(world), _metric("countersign_review_decisions_total", decision="reject")
    age = before.oldest_seconds
    claim(world.api, referral)
    accept(world, decided, "reject")

    Gauges(world.product.database).catch_up()

    assert _metric("countersign_review_decisions_total", decision="reject") == counted + 1
    assert _metric("countersign_referrals", state="open") == before.open - 2
    assert _metric("countersign_referrals", state="claimed") == before.claimed + 1
    assert age < _metric("countersign_oldest_referral_seconds") <= before.oldest_seconds


def test_a_served_process_shows_its_metrics_by_itself(world: World) -> None:
    assert world.product.gauges.is_alive()


def _at_once(calls: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    together = threading.Barrier(len(calls), timeout=20)

    def run(call: Callable[[], httpx.Response]) -> httpx.Response:
        together.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def _show(person: httpx.Client, referral: Referral) -> Answer:
    shown: Answer = person.get(referral.path).raise_for_status().json()
    return shown


def _page(person: httpx.Client, referral: Referral, **query: str) -> Answer:
    asked = {"account_id": referral.account_id, "outcome": "refer", "state": "open", "order": "oldest", **query}
    page: Answer = person.get("/v1/verifications", params=asked).raise_for_status().json()
    return page


def _listed(person: httpx.Client, referral: Referral, **query: str) -> list[str]:
    asked = {"account_id": referral.account_id, **query}
    return _ids(person.get("/v1/verifications", params=asked).raise_for_status().json())


def _ids(page: Answer) -> list[str]:
    return [item["verification_id"] for item in page["items"]]


def _key_id(person: httpx.Client) -> str:
    return person.headers["Authorization"].split("_")[1]


def _ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def _return_expired(world: World) -> None:
    with world.product.database.writing() as session:
        review.return_expired(session, world.settings)


def _review_of(referral: Referral):  # type: ignore[no-untyped-def]
    return (
        select(Review)
        .join(Verification, Verification.id == Review.verification_id)
        .where(Verification.verification_id == referral.verification_id)
    )


def _waiting(world: World):  # type: ignore[no-untyped-def]
    with world.product.database.asking() as connection:
        return read_waiting(connection)


def _metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0
