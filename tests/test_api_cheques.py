"""Whole cheques over the API: what is found on them, whose it is, and what the mandate makes of it."""

from collections.abc import Callable
from typing import Any

import pytest

from embeddings import cheque
from tests.support.cheques import SAMPLES, Box, page, sample
from tests.support.images import blank_page, signature
from tests.support.world import Answer, World

BRUNO, ELENA = "bruno-castel", "elena-petrov"
SAMPLE = (SAMPLES / "cheque-of-two.jpg").read_bytes()
OF_BOTH = [{"currency": "EUR", "up_to": "1000", "any_of": [{"A": 1}, {"B": 1}]}, {"any_of": [{"A": 1, "B": 1}]}]


@pytest.fixture
def found_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Box]], None]:
    """Signatures are found in these places: what is tested here is what comes after."""

    def place(boxes: list[Box]) -> None:
        monkeypatch.setattr(cheque, "find_in", lambda grey: [cheque.lift_box(grey, box) for box in boxes])

    return place


@pytest.fixture
def account(world: World) -> str:
    """Elena of group A and Bruno of group B, together above EUR 1000."""
    account = world.new_id("account")
    people = {person: world.new_id(person) for person in (ELENA, BRUNO)}
    for person, customer_id in people.items():
        world.enrol(customer_id, *[sample(person, f"genuine_{number}") for number in (1, 2, 3)], accounts=[account])
    signatories = [
        {"customer_id": customer_id, "group": group}
        for customer_id, group in zip(people.values(), ("A", "B"), strict=True)
    ]
    body = {"signatories": signatories, "rules": OF_BOTH}
    world.api.put(f"/v1/accounts/{account}", json=body).raise_for_status()
    return account


def test_each_signature_on_a_cheque_is_given_to_whoever_signed(
    world: World, account: str, found_at: Callable[[list[Box]], None]
) -> None:
    image, boxes = page(sample(BRUNO, "genuine_4"), sample(ELENA, "genuine_4"))
    found_at(boxes)

    verification = _verify(world, account, image, amount="2500.00")

    assert (verification["outcome"], verification["reasons"]) == ("accept", ["mandate_satisfied"])
    assert [found["box"] for found in verification["signatures"]] == [list(box) for box in boxes]
    assert [_person(found) for found in verification["signatures"]] == [BRUNO, ELENA]
    assert {_person(candidate) for candidate in verification["candidates"]} == {BRUNO, ELENA}
    assert verification["score"] == min(found["score"] for found in verification["signatures"])


@pytest.mark.parametrize(
    ("amount", "outcome", "reasons"),
    [("1000.00", "accept", ["mandate_satisfied"]), ("1000.01", "refer", ["mandate_short"])],
)
def test_one_signature_is_enough_for_small_amounts_only(
    world: World,
    account: str,
    found_at: Callable[[list[Box]], None],
    amount: str,
    outcome: str,
    reasons: list[str],
) -> None:
    image, boxes = page(sample(BRUNO, "genuine_4"))
    found_at(boxes)

    verification = _verify(world, account, image, amount=amount)

    assert (verification["outcome"], verification["reasons"]) == (outcome, reasons)


def test_nobody_signs_twice_for_two(world: World, account: str, found_at: Callable[[list[Box]], None]) -> None:
    image, boxes = page(sample(BRUNO, "genuine_4"), sample(BRUNO, "genuine_3"))
    found_at(boxes)

    verification = _verify(world, account, image, amount="2500.00")

    assert verification["outcome"] == "refer"
    assert "mandate_short" in verification["reasons"]
    assert [_person(found) for found in verification["signatures"]].count(BRUNO) == 1


def test_beside_a_genuine_signature_a_strangers_is_told_and_not_accepted(
    world: World, account: str, found_at: Callable[[list[Box]], None]
) -> None:
    image, boxes = page(sample(ELENA, "genuine_4"), signature("somebody else"))
    found_at(boxes)

    verification = _verify(world, account, image, amount="2500.00")

    assert (verification["outcome"], verification["reasons"]) == ("refer", ["below_reject", "mandate_short"])


def test_a_cheque_of_strangers_is_rejected(world: World, account: str, found_at: Callable[[list[Box]], None]) -> None:
    image, boxes = page(signature("somebody else"), signature("and another"))
    found_at(boxes)

    verification = _verify(world, account, image, amount="2500.00")

    assert (verification["outcome"], verification["reasons"]) == ("reject", ["below_reject"])


def test_a_cheque_that_nobody_signed_is_for_a_person(
    world: World, account: str, found_at: Callable[[list[Box]], None]
) -> None:
    image, _ = page()
    found_at([])

    verification = _verify(world, account, image, amount="10.00")

    assert (verification["outcome"], verification["reasons"]) == ("refer", ["no_signature_found"])
    assert (verification["signatures"], verification["candidates"], verification["score"]) == ([], [], None)


def test_where_no_pen_wrote_there_is_no_signature_whatever_it_looked_like(
    world: World, account: str, found_at: Callable[[list[Box]], None]
) -> None:
    image, _ = page()
    found_at([(100, 400, 300, 100)])

    assert _verify(world, account, image, amount="10.00")["reasons"] == ["no_signature_found"]


def test_a_box_spares_the_search_on_a_cheque(world: World, account: str) -> None:
    image, (box,) = page(sample(BRUNO, "genuine_4"))

    verification = _verify(world, account, image, amount="10.00", box=",".join(map(str, box)))

    assert verification["outcome"] == "accept"
    assert verification["signatures"][0]["box"] == list(box)


def test_a_signature_alone_is_short_of_a_mandate_for_two(world: World, account: str) -> None:
    verification = _verify(world, account, sample(BRUNO, "genuine_4"), kind="signature", amount="2500.00")

    assert (verification["outcome"], verification["reasons"]) == ("refer", ["mandate_short"])


def test_a_cheque_leaves_evidence_to_look_at(
    world: World, account: str, found_at: Callable[[list[Box]], None]
) -> None:
    image, boxes = page(sample(BRUNO, "genuine_4"), sample(ELENA, "genuine_4"))
    found_at(boxes)
    verification = _verify(world, account, image, amount="2500.00")

    evidence = world.api.get(f"/v1/verifications/{verification['verification_id']}/evidence.png")

    assert (evidence.status_code, evidence.headers["content-type"]) == (200, "image/png")


def test_a_drawn_cheque_is_read_from_beginning_to_end(world: World) -> None:
    account, bruno = world.new_id("account"), world.new_id(BRUNO)
    world.enrol(bruno, *[sample(BRUNO, f"genuine_{number}") for number in (1, 2, 3)], accounts=[account])

    verification = _verify(world, account, SAMPLE, amount="100.00")

    assert bruno in {found["customer_id"] for found in verification["signatures"]}
    assert verification["timings_ms"]["locate"] > 0


@pytest.mark.parametrize(
    ("image", "fields", "code"),
    [
        (blank_page(), {}, "not_a_cheque"),
        (b"", {}, "image_empty"),
        (SAMPLE, {"amount": None}, "amount_missing"),
        (SAMPLE, {"currency": None}, "currency_missing"),
        (signature("ada"), {"amount": "-1"}, "invalid_field"),
        (signature("ada"), {"amount": "1.001"}, "invalid_field"),
        (signature("ada"), {"currency": "XXQ"}, "invalid_field"),
        (signature("ada"), {"signed_on": "yesterday"}, "invalid_field"),
        (signature("ada"), {"box": "0,0,5000,5000"}, "box_outside"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_nothing_is_kept(
    world: World, account: str, image: bytes, fields: dict[str, Any], code: str
) -> None:
    before = world.counts()
    asked = {"kind": "cheque", "amount": "10.00", "currency": "EUR"} | fields

    answer = world.api.post(
        f"/v1/accounts/{account}/verifications",
        data={name: value for name, value in asked.items() if value is not None},
        files=[("image", ("cheque.png", image, "image/png"))],
    )

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert world.counts() == before


def _verify(world: World, account: str, image: bytes, **fields: str) -> Answer:
    return world.verify(account, image, **({"kind": "cheque", "currency": "EUR"} | fields))


def _person(shown: Answer) -> str | None:
    customer_id = shown["customer_id"]
    return customer_id and customer_id.rsplit("-", 1)[0]
