"""The mandate engine against a slow one that tries everything, and what must hold for every mandate."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import mandate as mandate_module
from service.assignment import Match, Scores, assign
from service.errors import Refused
from service.mandate import (
    ONE_OF_ANYONE,
    Cheque,
    Mandate,
    Recognised,
    Rule,
    Ruling,
    Signer,
    needs_amount,
    read_rules,
    require,
    rule,
    rule_since,
)

DOCS = Path(__file__).parents[1] / "docs" / "mandates.md"

DAY = date(2026, 5, 10)
CHEQUE = Cheque(DAY, Decimal(500), "EUR")
GROUPS = "ABC"

AMOUNTS = [Decimal(amount) for amount in (1, 100, 101, 1000)]
DAYS = [None, DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)]

alternatives = st.dictionaries(st.sampled_from(GROUPS), st.integers(1, 2), min_size=1)
rules = st.builds(
    Rule,
    currency=st.sampled_from([None, "EUR", "CHF"]),
    up_to=st.sampled_from([None, *AMOUNTS]),
    any_of=st.lists(alternatives, min_size=1, max_size=3),
)
# One rule for each currency and bound, as `check` sees to it.
mandate_rules = st.one_of(
    st.just([ONE_OF_ANYONE]),
    st.lists(rules, min_size=1, max_size=4, unique_by=lambda rule: (rule.currency, rule.up_to)),
)
places = st.builds(
    Signer,
    key=st.none(),
    group=st.sampled_from(GROUPS),
    limit=st.sampled_from([None, *AMOUNTS]),
    valid_from=st.sampled_from(DAYS),
    valid_to=st.sampled_from(DAYS),
)
# A coarse grid, so that sums are exact, ties are common and scores fall on thresholds.
scores = st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.75, 1.0, float("nan")])
thresholds = st.sampled_from([(0.75, 0.5), (0.5, 0.25), (0.5, 0.5), (2.0, 0.0)])
matches = st.builds(lambda score, at: Match(score, *at), scores, thresholds)
cheques = st.builds(
    Cheque, st.just(DAY), amount=st.sampled_from([None, *AMOUNTS]), currency=st.sampled_from([None, "EUR", "CHF"])
)
cautions = st.lists(st.sampled_from(["poor_quality", "possible_copy", "specimen_expired"]), max_size=3)


@st.composite
def mandates(draw: st.DrawFn, people: int = 4) -> Mandate:
    """Of some of these people, some of them erased; whoever is left out belongs to another version."""
    signers = [
        place._replace(key=draw(st.sampled_from([key, key, key, None])))
        for key in draw(st.sets(st.integers(1, people)))
        for place in [draw(places)]
    ]
    return Mandate(draw(mandate_rules), draw(st.permutations(signers)), draw(st.booleans()))


@st.composite
def found_signatures(draw: st.DrawFn, people: int = 4, most: int = 3) -> list[Scores]:
    """Each against the same people: those with usable specimens."""
    compared = draw(st.sets(st.integers(1, people)))
    return [{key: draw(matches) for key in sorted(compared)} for _ in range(draw(st.integers(0, most)))]


@given(found_signatures(people=5, most=4))
def test_the_assignment_is_the_best_of_all(found: list[Scores]) -> None:
    assert assign(found) in best_assignments(found)


@given(mandates(), cheques, found_signatures(), cautions)
def test_the_engine_rules_as_one_that_tries_everything(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str]
) -> None:
    ruling = rule(mandate, cheque, found, doubts)

    naive = [naive_rule(mandate, cheque, found, doubts, pairs) for pairs in best_assignments(found)]
    assert ruling in naive


@given(mandates(), cheques, found_signatures(), cautions, st.data())
def test_a_higher_score_never_turns_an_accept_into_a_reject(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str], data: st.DataObject
) -> None:
    before = rule(mandate, cheque, found, doubts).outcome
    raised = [
        {key: match._replace(score=max(match.score, data.draw(scores))) for key, match in row.items()}
        for row in found
    ]

    after = rule(mandate, cheque, raised, doubts).outcome

    assert after != "reject" or before == "reject"


@given(mandates(), cheques, found_signatures(), cautions)
def test_a_caution_never_accepts_and_changes_nothing_else(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str]
) -> None:
    plain, careful = rule(mandate, cheque, found), rule(mandate, cheque, found, [*doubts, "one_specimen_only"])

    assert careful.outcome == ("refer" if plain.outcome == "accept" else plain.outcome)
    assert "one_specimen_only" in careful.reasons


@given(mandates(), cheques, found_signatures(), cautions, st.data())
def test_the_order_of_signatures_people_and_rules_makes_no_difference(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str], data: st.DataObject
) -> None:
    ruling = rule(mandate, cheque, found, doubts)
    mixed = Mandate(
        data.draw(st.permutations(mandate.rules)),
        data.draw(st.permutations(mandate.signers)),
        mandate.always_refer,
    )
    shuffled = [dict(data.draw(st.permutations(list(row.items())))) for row in data.draw(st.permutations(found))]

    again = rule(mixed, cheque, shuffled, doubts)

    assert again[:2] == ruling[:2]
    assert sorted(map(str, again.assignment)) == sorted(map(str, ruling.assignment))


@given(mandates(), cheques, found_signatures(), cautions)
def test_every_ruling_has_its_reasons_each_once(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str]
) -> None:
    ruling = rule(mandate, cheque, found, doubts)

    assert ruling.reasons
    assert len(set(ruling.reasons)) == len(ruling.reasons)
    assert (ruling.outcome == "accept") == (ruling.reasons == ["mandate_satisfied"])
    if ruling.outcome == "reject":
        assert ruling.reasons[0] == "below_reject"


@given(mandates(), mandates(), cheques, found_signatures(), cautions)
def test_what_todays_mandate_would_not_accept_is_never_accepted(
    then: Mandate, now: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str]
) -> None:
    today = DAY + timedelta(days=1)
    old, current = rule(then, cheque, found, doubts), rule(now, cheque._replace(day=today), found, doubts)

    ruling = rule_since(then, now, cheque, today, found, doubts)

    if old.outcome == "accept" != current.outcome:
        assert (ruling.outcome, ruling.reasons) == ("refer", ["mandate_changed_since", *current.reasons])
    else:
        assert ruling == old


@given(mandates())
def test_a_cheque_with_amount_and_currency_is_never_asked_for_more(mandate: Mandate) -> None:
    require(CHEQUE, mandate)


ADA, BRUNO, CARLA = 1, 2, 3
TWO_OF_A = Rule(None, None, [{"A": 2}])


def match(score: float) -> Match:
    return Match(score, accept=0.75, reject=0.25)


def looks_like(*scores: float) -> Scores:
    """One signature against Ada, Bruno, Carla."""
    return {key: match(score) for key, score in zip((ADA, BRUNO, CARLA), scores, strict=False)}


def of_group_a(*signers: Signer, rules: Sequence[Rule] = (ONE_OF_ANYONE,)) -> Mandate:
    return Mandate(rules, signers)


def says(ruling: Ruling) -> tuple[str, list[str]]:
    return ruling.outcome, ruling.reasons


def test_the_greedy_pair_is_not_always_the_best() -> None:
    assert assign([looks_like(0.9, 0.8), looks_like(0.85, 0.1)]) == [BRUNO, ADA]


def test_a_tie_falls_the_same_way_in_whatever_order_the_signatures_come() -> None:
    first, second = (
        {ADA: Match(ada, 0.5, 0.25), BRUNO: Match(bruno, 0.5, 0.25)} for ada, bruno in [(0.75, 0.5), (0.625, 0.375)]
    )
    mandate = of_group_a(Signer(ADA, "A"), Signer(BRUNO, "A"), rules=[TWO_OF_A])

    assert assign([first, second]) == assign([second, first])[::-1]
    assert says(rule(mandate, CHEQUE, [first, second])) == says(rule(mandate, CHEQUE, [second, first]))


def test_no_mandate_accepts_a_cheque_on_which_no_signature_counts() -> None:
    mandate = of_group_a(Signer(ADA, "A"), rules=[Rule(None, None, [{"A": 0}])])

    assert rule(mandate, CHEQUE, [looks_like(0.5)]).outcome == "refer"


def test_one_person_signing_twice_is_one_signature() -> None:
    mandate = of_group_a(Signer(ADA, "A"), Signer(BRUNO, "A"), rules=[TWO_OF_A])

    ruling = rule(mandate, CHEQUE, [looks_like(0.9, 0.1), looks_like(0.95, 0.1)])

    assert says(ruling) == ("refer", ["mandate_short"])
    assert ruling.assignment == [None, ADA]


def test_a_single_signature_under_a_rule_that_needs_two_is_short() -> None:
    mandate = of_group_a(Signer(ADA, "A"), Signer(BRUNO, "A"), rules=[TWO_OF_A])

    assert says(rule(mandate, CHEQUE, [looks_like(0.9, 0.1)])) == ("refer", ["mandate_short"])


def test_a_second_signature_that_is_nobodys_is_told() -> None:
    mandate = of_group_a(Signer(ADA, "A"), Signer(BRUNO, "A"), rules=[TWO_OF_A])

    ruling = rule(mandate, CHEQUE, [looks_like(0.9, 0.1), looks_like(0.1, 0.1)])

    assert says(ruling) == ("refer", ["below_reject", "mandate_short"])


def test_the_smallest_amounts_and_the_very_currency_choose_the_rule() -> None:
    signers = [Signer(ADA, "A"), Signer(BRUNO, "B"), Signer(CARLA, "C")]
    rules = [
        Rule(None, Decimal(10), [{"B": 1}]),
        Rule(None, None, [{"A": 1}]),
        Rule("EUR", Decimal(1000), [{"B": 1}]),
        Rule("EUR", Decimal(100), [{"C": 1}]),
    ]

    def who_may(amount: str, currency: str) -> list[int]:
        cheque = Cheque(DAY, Decimal(amount), currency)
        of_whom = {key: [{key: match(0.9)}] for key in (ADA, BRUNO, CARLA)}
        mandate = Mandate(rules, signers)
        return [key for key, found in of_whom.items() if rule(mandate, cheque, found).outcome == "accept"]

    assert who_may("1.00", "EUR") == [CARLA]
    assert who_may("100.00", "EUR") == [CARLA]
    assert who_may("100.01", "EUR") == [BRUNO]
    assert who_may("1000.01", "EUR") == [ADA]
    assert who_may("10.01", "CHF") == [ADA]


@pytest.mark.parametrize(
    ("cheque", "code"),
    [
        (Cheque(DAY, Decimal("100.01"), "EUR"), "amount_not_covered"),
        (Cheque(DAY, Decimal("1.00"), "CHF"), "currency_not_covered"),
    ],
)
def test_what_no_rule_covers_is_referred(cheque: Cheque, code: str) -> None:
    mandate = Mandate([Rule("EUR", Decimal(100), [{"A": 1}])], [Signer(ADA, "A")])

    assert says(rule(mandate, cheque, [looks_like(0.9)])) == ("refer", [code])
    assert says(rule(mandate, cheque, [looks_like(0.1)])) == ("refer", ["below_reject", code])


def test_the_last_day_counts_and_the_day_after_does_not() -> None:
    mandate = of_group_a(Signer(ADA, "A", valid_to=DAY))

    assert rule(mandate, CHEQUE, [looks_like(0.9)]).outcome == "accept"
    late = CHEQUE._replace(day=DAY + timedelta(days=1))
    assert says(rule(mandate, late, [looks_like(0.9)])) == ("refer", ["signatory_not_allowed"])


def test_an_amount_above_the_signatorys_limit_is_referred() -> None:
    mandate = of_group_a(Signer(ADA, "A", limit=Decimal(500)), Signer(BRUNO, "A"))

    assert rule(mandate, CHEQUE, [looks_like(0.9, 0.1)]).outcome == "accept"
    more = CHEQUE._replace(amount=Decimal("500.01"))
    assert says(rule(mandate, more, [looks_like(0.9, 0.1)])) == ("refer", ["signatory_limit_exceeded"])


def test_whoever_was_not_on_the_account_that_day_is_recognised_and_does_not_count() -> None:
    then, now = of_group_a(Signer(BRUNO, "A")), of_group_a(Signer(ADA, "A"))

    ruling = rule_since(then, now, CHEQUE, DAY, [looks_like(0.9, 0.1)])

    assert says(ruling) == ("refer", ["signatory_not_allowed", "mandate_short"])
    assert ruling.assignment == [ADA]


def test_a_leaver_who_writes_an_old_date_is_not_accepted() -> None:
    before, after = of_group_a(Signer(ADA, "A")), of_group_a(Signer(ADA, "A", valid_to=DAY), Signer(BRUNO, "A"))

    ruling = rule_since(before, after, CHEQUE, DAY + timedelta(days=30), [looks_like(0.9, 0.1)])

    assert says(ruling) == ("refer", ["mandate_changed_since", "signatory_not_allowed"])


def test_a_rule_that_a_removal_made_unreachable_is_referred() -> None:
    mandate = of_group_a(Signer(ADA, "A"), rules=[TWO_OF_A])

    assert says(rule(mandate, CHEQUE, [looks_like(0.9)])) == ("refer", ["mandate_unreachable"])
    assert says(rule(mandate, CHEQUE, [looks_like(0.1)])) == ("refer", ["below_reject", "mandate_unreachable"])


def test_a_signature_that_is_nobodys_may_be_an_erased_persons() -> None:
    mandate = of_group_a(Signer(ADA, "A"), Signer(None, "A", valid_to=DAY))
    later = CHEQUE._replace(day=DAY + timedelta(days=1))

    assert says(rule(mandate, CHEQUE, [looks_like(0.1)])) == ("refer", ["below_reject", "signatory_erased"])
    assert says(rule(mandate, later, [looks_like(0.1)])) == ("reject", ["below_reject"])


def test_a_signature_that_is_nobodys_may_be_of_somebody_without_a_specimen() -> None:
    mandate = of_group_a(Signer(ADA, "A"), Signer(BRUNO, "A"))

    ruling = rule(mandate, CHEQUE, [looks_like(0.1)])

    assert says(ruling) == ("refer", ["below_reject", "signatory_not_compared"])


def test_nobody_to_compare_with_is_no_reject() -> None:
    mandate = of_group_a(Signer(ADA, "A"))

    assert says(rule(mandate, CHEQUE, [{}])) == ("refer", ["signatory_not_compared"])
    assert says(rule(mandate, CHEQUE, [{}], ["specimen_expired"])) == ("refer", ["specimen_expired"])


def test_a_cheque_without_a_signature_is_referred() -> None:
    assert says(rule(of_group_a(Signer(ADA, "A")), CHEQUE, [])) == ("refer", ["no_signature_found"])


def test_a_score_that_is_no_number_is_nobodys() -> None:
    assert says(rule(of_group_a(Signer(ADA, "A")), CHEQUE, [looks_like(float("nan"))])) == (
        "reject",
        ["below_reject"],
    )


def test_always_refer_is_part_of_the_mandate() -> None:
    mandate = replace(of_group_a(Signer(ADA, "A")), always_refer=True)

    assert says(rule(mandate, CHEQUE, [looks_like(0.9)], ["poor_quality"])) == (
        "refer",
        ["poor_quality", "always_refer"],
    )
    assert says(rule(mandate, CHEQUE, [looks_like(0.1)])) == ("reject", ["below_reject", "always_refer"])


def test_an_amount_is_needed_where_a_rule_or_a_limit_depends_on_it() -> None:
    assert not needs_amount([ONE_OF_ANYONE, TWO_OF_A], [Signer(ADA, "A")])
    assert needs_amount([ONE_OF_ANYONE], [Signer(ADA, "A", limit=Decimal(1))])
    assert needs_amount([Rule(None, Decimal(1), [{"A": 1}])], [])


@pytest.mark.parametrize(
    ("mandate", "code"),
    [
        (of_group_a(Signer(ADA, "A", limit=Decimal(1))), "amount_missing"),
        (of_group_a(Signer(ADA, "A"), rules=[Rule("EUR", None, [{"A": 1}])]), "currency_missing"),
    ],
)
def test_a_mandate_of_the_day_or_of_today_that_needs_more_is_refused(mandate: Mandate, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        require(Cheque(DAY), of_group_a(Signer(ADA, "A")), mandate)

    assert refusal.value.code == code


def test_every_reason_of_the_engine_is_documented() -> None:
    given = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', Path(mandate_module.__file__).read_text()))
    refusals_and_fields = {"amount_missing", "currency_missing", "any_of", "up_to"}
    documented = re.findall(r"^\| `(\w+)` \| (?:accept|refer|reject)", DOCS.read_text(), re.MULTILINE)

    assert given - refusals_and_fields - {"specimen_expired"} == set(documented)  # that one is the policy's


def test_stored_rules_are_read_and_none_means_one_signature_of_anyone() -> None:
    stored = [{"currency": "EUR", "up_to": "100.00", "any_of": [{"A": 1}]}, {"any_of": [{"B": 2}]}]

    assert read_rules(stored) == [Rule("EUR", Decimal(100), [{"A": 1}]), Rule(None, None, [{"B": 2}])]
    assert read_rules([]) == [ONE_OF_ANYONE]


# The slow engine: it follows the words of the documentation and tries everything.


def best_assignments(found: Sequence[Scores]) -> list[list[int | None]]:
    """Every one-to-one assignment with the highest total, and of these those with most pairs."""
    people = sorted({key for row in found for key in row})
    ways = []
    for way in product([None, *people], repeat=len(found)):
        chosen = [key for key in way if key is not None]
        pairs = [row.get(key) for row, key in zip(found, way, strict=True) if key is not None]
        if len(set(chosen)) == len(chosen) and all(pair and pair.score >= pair.reject for pair in pairs):
            ways.append((sum(pair.score for pair in pairs if pair), len(pairs), list(way)))
    best = max((total, count) for total, count, _ in ways)
    return [way for total, count, way in ways if (total, count) == best]


def naive_rule(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubts: list[str], pairs: list[int | None]
) -> Ruling:
    doubts = [*doubts, *(["always_refer"] if mandate.always_refer else [])]
    outcome, reasons = naive_outcome(mandate, cheque, found, bool(doubts), pairs)
    told = list(dict.fromkeys(reasons + doubts))
    if "specimen_expired" in told and "signatory_not_compared" in told:
        told.remove("signatory_not_compared")
    return Ruling(outcome, told, pairs)


def naive_outcome(
    mandate: Mandate, cheque: Cheque, found: list[Scores], doubted: bool, pairs: list[int | None]
) -> tuple[str, list[str]]:
    compared = {key for row in found for key in row}
    on_the_day = [signer for signer in mandate.signers if valid(signer)]
    erased = any(signer.key is None for signer in on_the_day)
    missing = any(signer.key is not None and signer.key not in compared for signer in on_the_day)
    unseen = ["signatory_erased"] * erased + ["signatory_not_compared"] * missing
    if not found:
        return "refer", ["no_signature_found"]
    if not compared:
        return "refer", unseen or ["signatory_not_compared"]

    by_key = {signer.key: signer for signer in mandate.signers if signer.key is not None}
    known = [Recognised(row[key], by_key.get(key)) for row, key in zip(found, pairs, strict=True) if key is not None]
    chosen = naive_choice(mandate.rules, cheque)
    counting = [
        signer
        for pair, signer in known
        if pair.score >= pair.accept and signer and valid(signer) and within(signer, cheque)
    ]
    if isinstance(chosen, Rule) and enough(chosen, counting):
        return ("refer", []) if doubted else ("accept", ["mandate_satisfied"])

    reasons = []
    if any(all(not pair.score >= pair.reject for pair in row.values()) for row in found):
        reasons.append("below_reject")
    if any(pair.score < pair.accept for pair, _ in known):
        reasons.append("below_accept")
    if any(signer is None or not valid(signer) for _, signer in known):
        reasons.append("signatory_not_allowed")
    if any(signer and valid(signer) and not within(signer, cheque) for _, signer in known):
        reasons.append("signatory_limit_exceeded")

    able = [signer for signer in on_the_day if signer.key is not None and within(signer, cheque)]
    if isinstance(chosen, str):
        reasons.append(chosen)
    elif not enough(chosen, [signer for _, signer in known if signer]):
        if not enough(chosen, able):
            reasons.append("mandate_unreachable")
        elif known:
            reasons.append("mandate_short")
        elif not unseen:
            return "reject", reasons
    return "refer", reasons + ([] if known else unseen)


def naive_choice(rules: Sequence[Rule], cheque: Cheque) -> Rule | str:
    for currency in dict.fromkeys([cheque.currency, None]):
        bounded = [rule for rule in rules if rule.currency == currency and rule.up_to is not None]
        for candidate in sorted(bounded, key=lambda rule: rule.up_to or 0):
            if cheque.amount is not None and cheque.amount <= candidate.up_to:
                return candidate
        for candidate in rules:
            if candidate.currency == currency and candidate.up_to is None:
                return candidate
    named = {rule.currency for rule in rules}
    return "amount_not_covered" if named & {None, cheque.currency} else "currency_not_covered"


def enough(rule: Rule, people: list[Signer]) -> bool:
    """Tries to hand out the people to the places that an alternative asks for."""
    return any(fill(list(seats(alternative)), people) for alternative in rule.any_of)


def seats(alternative: dict[str, int]) -> Iterator[str]:
    for group, count in alternative.items():
        yield from [group] * count


def fill(wanted: list[str], people: list[Signer]) -> bool:
    if not wanted:
        return True
    return any(
        wanted[0] in ("*", person.group) and fill(wanted[1:], people[:at] + people[at + 1 :])
        for at, person in enumerate(people)
    )


def valid(signer: Signer) -> bool:
    return not (signer.valid_from and signer.valid_from > DAY) and not (signer.valid_to and signer.valid_to < DAY)


def within(signer: Signer, cheque: Cheque) -> bool:
    return signer.limit is None or (cheque.amount is not None and cheque.amount <= signer.limit)
