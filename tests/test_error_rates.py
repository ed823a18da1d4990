"""What a threshold costs, and which threshold costs so much."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.error_rates import ErrorTable, Rate

SCORES = [0.1, 0.3, 0.5, 0.7, 0.9]


def falling(*values: float) -> dict[str, list[float]]:
    return {"value": list(values), "low": [value / 2 for value in values], "high": [min(2 * v, 1) for v in values]}


def rows(*skilled: float) -> dict[str, Any]:
    return {
        "score": SCORES,
        "skilled_far": falling(*skilled),
        "random_far": falling(0.4, 0.2, 0.1, 0.01, 0.0),
        "frr": falling(0.0, 0.05, 0.1, 0.2, 0.4),
    }


TABLE = ErrorTable.parse({"1": rows(0.8, 0.4, 0.2, 0.1, 0.02), "3": rows(0.9, 0.5, 0.3, 0.2, 0.05)})

targets = st.floats(0.001, 0.999)
references = st.integers(1, 12)
people = st.integers(1, 20)


def test_a_threshold_in_the_table_has_the_rates_that_were_measured_there() -> None:
    rates = TABLE.at(0.5)

    assert astuple(rates.skilled_far) == pytest.approx((0.2, 0.1, 0.4))
    assert astuple(rates.random_far) == pytest.approx((0.1, 0.05, 0.2))
    assert rates.frr == Rate(0.1, 0.05, 0.2)


def test_between_two_thresholds_rates_lie_on_the_line() -> None:
    assert TABLE.at(0.6).skilled_far.value == pytest.approx(0.15)


def test_beyond_the_table_the_last_measured_rate_stands() -> None:
    assert TABLE.at(0.99).skilled_far.value == pytest.approx(0.02)
    assert TABLE.at(0.01).skilled_far.value == pytest.approx(0.8)


@pytest.mark.parametrize(("references", "expected"), [(1, 0.2), (2, 0.2), (3, 0.3), (10, 0.3)])
def test_more_references_count_as_the_most_that_were_measured(references: int, expected: float) -> None:
    assert TABLE.at(0.5, references).skilled_far.value == pytest.approx(expected)


def test_several_people_are_several_chances_for_whoever_forges_and_none_more_for_whoever_signs() -> None:
    rates = TABLE.at(0.5, people=3)

    assert rates.skilled_far.value == pytest.approx(1 - 0.8**3)
    assert rates.frr == TABLE.at(0.5).frr


@given(targets, references, people)
def test_the_threshold_for_a_target_meets_it_and_no_lower_one_does(target: float, count: int, among: int) -> None:
    threshold = TABLE.threshold_for(target, count, among)

    if threshold is None:
        assert TABLE.at(SCORES[-1], count, among).skilled_far.value > target
        return
    assert TABLE.at(threshold, count, among).skilled_far.value <= target + 1e-9
    if threshold > SCORES[0]:
        lower = TABLE.at(np.nextafter(threshold, 0) - 1e-6, count, among)
        assert lower.skilled_far.value > target - 1e-9


def test_that_nobody_passed_in_some_trials_is_no_promise_for_more() -> None:
    table = ErrorTable.parse({"1": rows(0.8, 0.4, 0.2, 0.01, 0.0)})

    assert table.threshold_for(0.01) == 0.7
    assert table.threshold_for(0.009) is None


@given(targets, references, people)
def test_more_people_never_lower_the_threshold(target: float, count: int, among: int) -> None:
    fewer, more = (TABLE.threshold_for(target, count, several) for several in (among, among + 1))

    assert more is None or (fewer is not None and fewer <= more)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"3": rows(0.8, 0.4, 0.2, 0.1, 0.02)},
        {"1": rows(0.8, 0.4, 0.2, 0.1)},
        {"1": rows(0.8, 0.4, 0.5, 0.1, 0.02)},
        {"1": rows(0.8, 0.4, 0.2, 0.1, float("nan"))},
        {"1": rows(0.8, 0.4, 0.2, 0.1, -0.1)},
        {"1": rows(1.8, 0.4, 0.2, 0.1, 0.02)},
        {"1": rows(0.8, 0.4, 0.2, 0.1, 0.02) | {"score": [0.1, 0.3, 0.3, 0.7, 0.9]}},
        {"1": rows(0.8, 0.4, 0.2, 0.1, 0.02) | {"score": [0.1, float("nan"), 0.5, 0.7, 0.9]}},
        {"1": rows(0.8, 0.4, 0.2, 0.1, 0.02) | {"score": [0.0, 0.3, 0.5, 0.7, 0.9]}},
        {"1": rows(0.8, 0.4, 0.2, 0.1, 0.02) | {"frr": falling(0.4, 0.2, 0.1, 0.05, 0.0)}},
        {"one": rows(0.8, 0.4, 0.2, 0.1, 0.02)},
    ],
)
def test_a_table_that_contradicts_itself_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ErrorTable.parse(broken)
