"""The decision policy: which band an amount falls into, and what it demands."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.bundle import Bundle
from embeddings.encoder import Encoder
from service.errors import Refused
from service.policy import NEVER, Band, Chances, Policy, load_policy, thresholds_for
from service.settings import BadSetting

ONE = Chances(references=1, people=1)
TODAY = date(2026, 7, 1)

POLICY = Policy(
    bands=(
        Band(currency="EUR", up_to=Decimal(1000), target_far=0.1),
        Band(currency="EUR", up_to=Decimal(50000), target_far=0.05, min_specimens=2),
        Band(currency="EUR", always_refer=True),
        Band(target_far=0.05),
    )
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Encoder.load().bundle


@pytest.mark.parametrize(
    ("amount", "currency", "position"),
    [
        ("0.01", "EUR", 0),
        ("1000.00", "EUR", 0),
        ("1000.01", "EUR", 1),
        ("50000", "EUR", 1),
        ("50000.01", "EUR", 2),
        (None, "EUR", 2),
        ("5", "USD", 3),
        ("5", None, 3),
        (None, None, 3),
    ],
)
def test_an_amount_falls_into_the_lowest_band_that_holds_it_and_an_unknown_one_into_the_highest(
    amount: str | None, currency: str | None, position: int
) -> None:
    band = POLICY.band_for(Decimal(amount) if amount else None, currency)

    assert band is POLICY.bands[position]


@given(st.decimals(0, 10**9, places=2), st.decimals(0, 10**9, places=2), st.sampled_from(["EUR", "USD", None]))
def test_a_larger_amount_never_falls_into_a_lower_band(less: Decimal, more: Decimal, currency: str | None) -> None:
    less, more = sorted((less, more))
    bounds = [POLICY.band_for(amount, currency).up_to or Decimal("Infinity") for amount in (less, more)]

    assert bounds[0] <= bounds[1]


def test_without_a_file_the_models_own_thresholds_hold_for_every_amount(bundle: Bundle) -> None:
    policy = load_policy(None)
    band = policy.band_for(Decimal("1e9"), "EUR")

    assert thresholds_for(bundle, band, ONE, None, None) == bundle.thresholds


@given(st.floats(0.03, 0.5), st.floats(0.03, 0.5))
def test_a_request_may_be_stricter_than_its_band_and_never_laxer(in_band: float, asked: float) -> None:
    bundle = Encoder.load().bundle
    band = Band(target_far=in_band)

    own = thresholds_for(bundle, band, ONE, None, None)
    both = thresholds_for(bundle, band, ONE, None, asked)

    assert both.accept >= own.accept
    assert both == thresholds_for(bundle, Band(), ONE, None, min(in_band, asked))


def test_a_band_outweighs_the_setting_for_all_and_a_request_outweighs_that(bundle: Bundle) -> None:
    assert thresholds_for(bundle, Band(target_far=0.2), ONE, 0.05, None) == thresholds_for(
        bundle, Band(target_far=0.2), ONE, None, None
    )
    assert thresholds_for(bundle, Band(), ONE, 0.05, 0.2) == thresholds_for(bundle, Band(), ONE, None, 0.2)


def test_a_share_that_was_never_measured_is_refused_to_a_request_and_accepts_nothing_in_a_policy(
    bundle: Bundle,
) -> None:
    with pytest.raises(Refused, match="target_far_unavailable"):
        thresholds_for(bundle, Band(), ONE, None, 1e-9)

    assert thresholds_for(bundle, Band(target_far=1e-9), ONE, None, None).accept == NEVER


@given(st.floats(0.001, 0.5), st.integers(1, 6))
def test_no_more_genuine_signatures_are_rejected_than_a_band_allows(target: float, references: int) -> None:
    bundle = Encoder.load().bundle
    chances = Chances(references, people=1)

    thresholds = thresholds_for(bundle, Band(target_frr=target), chances, None, None)

    frr = bundle.error_rates.at(thresholds.reject, references).frr.value
    lowest = bundle.error_rates.at(0, references).frr.value
    assert frr <= max(target, lowest) + 1e-9
    assert thresholds.reject <= thresholds.accept


@pytest.mark.parametrize(
    ("days", "cautions"),
    [(0, []), (183, []), (184, ["stale_dated"]), (20_000, ["stale_dated"]), (-1, ["post_dated"])],
)
def test_a_cheque_is_stale_after_six_months_and_post_dated_before_its_day(days: int, cautions: list[str]) -> None:
    assert Policy().cautions_of_date(TODAY - timedelta(days), TODAY) == cautions


def test_a_file_is_read_with_amounts_as_decimal_strings(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"bands": [{"currency": "EUR", "up_to": "999.99"}, {"currency": "EUR"}, {}]}))

    assert load_policy(file).bands[0] == Band(currency="EUR", up_to=Decimal("999.99"))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"bands": []}, "add one without up_to"),
        ({"bands": [{"up_to": "10"}]}, "add one without up_to"),
        ({"bands": [{"currency": "EUR"}]}, "any other currency"),
        ({"bands": [{}, {"currency": "EUR", "up_to": "10"}]}, "EUR"),
        ({"bands": [{}, {}]}, "same currency and up_to"),
        ({"bands": [{"target_far": 0}]}, "bands.0.target_far"),
        ({"bands": [{"up_to": "-1"}, {}]}, "bands.0.up_to"),
        ({"bands": [{"colour": "red"}]}, "bands.0.colour"),
        ({"refer_quality": ["ugly"]}, "ugly"),
    ],
)
def test_a_policy_with_gaps_or_mistakes_stops_the_start_and_says_where(
    tmp_path: Path, written: object, complaint: str
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(written))

    with pytest.raises(BadSetting, match=complaint) as refusal:
        load_policy(file)

    assert str(file) in str(refusal.value)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="COUNTERSIGN_POLICY"):
        load_policy(tmp_path / "none.json")
