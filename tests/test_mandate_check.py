"""What a mandate may not say."""

import json
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from service.errors import Refused
from service.mandate import Rule, Signer, read_rules
from service.mandate_check import check

DOCS = Path(__file__).parents[1] / "docs" / "mandates.md"
SIGNERS = [Signer(1, "A"), Signer(2, "A"), Signer(3, "B")]


def up_to(amount: str | None, *any_of: dict[str, int], currency: str | None = None) -> Rule:
    return Rule(currency, None if amount is None else Decimal(amount), any_of)


def refusal(rules: Sequence[Rule], signers: Sequence[Signer] = SIGNERS) -> tuple[str, list[tuple[str, str]]]:
    with pytest.raises(Refused) as refused:
        check(rules, signers)
    errors = refused.value.details["errors"]
    assert isinstance(errors, list)
    return refused.value.code, [(error["field"], error["problem"]) for error in errors]


def test_bands_alternatives_currencies_and_no_rules_at_all_make_sense() -> None:
    check([], [])
    check([], SIGNERS)
    check(
        [
            up_to("1000", {"A": 1}, {"B": 1}),
            up_to("50000", {"A": 2}, {"A": 1, "B": 1}),
            up_to(None, {"A": 2, "B": 1}),
            up_to("1000", {"B": 1}, currency="CHF"),
        ],
        SIGNERS,
    )


def test_a_rule_that_asks_for_nobody_is_empty() -> None:
    code, errors = refusal([up_to(None, {"A": 1}), up_to("1"), up_to("2", {"A": 1}, {})])

    assert code == "mandate_empty"
    assert errors == [("rules.1.any_of", "has no alternative"), ("rules.2.any_of.1", "asks for nobody")]


@pytest.mark.parametrize("count", [0, -1])
def test_a_group_is_asked_for_one_signature_at_least(count: int) -> None:
    assert refusal([up_to(None, {"A": 1, "B": count})]) == (
        "mandate_contradictory",
        [("rules.0.any_of.0", "asks for less than one signature of a group")],
    )


@pytest.mark.parametrize("asked", [{"A": 3}, {"B": 2}, {"C": 1}])
def test_more_signatures_than_the_group_has_signatories_are_refused(asked: dict[str, int]) -> None:
    assert refusal([up_to(None, {"A": 2}, asked)]) == (
        "mandate_contradictory",
        [("rules.0.any_of.1", "asks for more signatures of a group than it has signatories for such amounts")],
    )


def test_signatories_whose_limits_end_below_a_band_cannot_be_asked_for_in_it() -> None:
    signers = [Signer(1, "A"), Signer(2, "A", limit=Decimal(1000))]
    rules = [up_to("1000", {"A": 1}), up_to(None, {"A": 2})]

    assert refusal(rules, signers)[1][0][0] == "rules.1.any_of.0"
    check(rules, [signers[0], signers[1]._replace(limit=Decimal("1000.01"))])


def test_a_signatory_who_has_ended_still_counts_or_nobody_could_be_ended() -> None:
    check([up_to(None, {"A": 2})], [SIGNERS[0], SIGNERS[1]._replace(valid_to=date(2020, 1, 1))])


def test_two_rules_for_the_same_amounts_are_refused() -> None:
    rules = [up_to("100", {"A": 1}), up_to("100.00", {"B": 1}), up_to("100", {"B": 1}, currency="EUR")]

    assert refusal(rules) == (
        "mandate_contradictory",
        [("rules.1", "is for the same currency and amounts as rules.0")],
    )


def test_an_alternative_that_another_makes_superfluous_is_refused() -> None:
    problem = "adds nothing: whoever meets it meets any_of."

    assert refusal([up_to(None, {"A": 2}, {"A": 1}, {"A": 1, "B": 1})])[1] == [
        ("rules.0.any_of.0", problem + "1"),
        ("rules.0.any_of.2", problem + "1"),
    ]
    assert refusal([up_to(None, {"A": 1}, {"A": 1})])[1] == [("rules.0.any_of.1", problem + "0")]


@pytest.mark.parametrize("currency", ["EUR", None])
def test_larger_amounts_cannot_ask_for_less(currency: str | None) -> None:
    rules = [up_to("100", {"A": 2}, {"A": 1, "B": 1}, currency="EUR"), up_to(None, {"A": 1}, currency=currency)]

    assert refusal(rules) == (
        "mandate_contradictory",
        [("rules.1", "asks for less than rules.0 does for smaller amounts")],
    )
    check([rules[0], up_to("50", {"A": 1}, currency=currency), up_to(None, {"A": 2}, currency=currency)], SIGNERS)


def test_the_documentation_shows_what_is_refused_and_how() -> None:
    documented = re.findall(r"^\| `(\[\{.*)` \| `(\w+)` \| `(\S+)`: (.*) \|$", DOCS.read_text(), re.MULTILINE)

    assert documented
    for rules, code, field, problem in documented:
        assert refusal(read_rules(json.loads(rules)), SIGNERS[:2]) == (code, [(field, problem)])


def test_larger_amounts_may_ask_for_others() -> None:
    check([up_to("100", {"A": 2}), up_to(None, {"B": 1})], SIGNERS)
