"""Figures of what people made of referrals, held to a count by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from unittest.mock import patch

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from service.cli import main
from service.database import Database
from service.models import Review, Verification
from service.review_figures import Period, Share, read_figures, wilson
from service.settings import Settings

DAY = date(2026, 7, 1)
CODES = ("below_accept", "poor_quality", "always_refer")
numbers = count()


@dataclass(frozen=True)
class Decided:
    score: float | None
    accepted: bool
    reasons: tuple[str, ...] = ("below_accept",)
    day: date = DAY
    minutes: int = 10
    model_version: str = "1.2.0"


decided = st.builds(
    Decided,
    score=st.none() | st.integers(0, 1000).map(lambda thousandths: thousandths / 1000),
    accepted=st.booleans(),
    reasons=st.lists(st.sampled_from(CODES), min_size=1, unique=True).map(tuple),
    day=st.integers(0, 3).map(lambda days: DAY + timedelta(days)),
    minutes=st.integers(0, 20_000),
    model_version=st.sampled_from(["1.1.0", "1.2.0"]),
)
periods = st.tuples(*2 * [st.none() | st.integers(-1, 4).map(lambda days: DAY + timedelta(days))]).map(
    lambda days: Period(*days)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(decided, max_size=12), periods, st.none() | st.just("1.2.0"))
@example([Decided(0.3, accepted=True), Decided(0.7, accepted=False)], Period(), None)
@example([Decided(1.0, accepted=True), Decided(0.0, accepted=False), Decided(None, accepted=True)], Period(), None)
def test_figures_are_what_counting_by_hand_gives(
    database: Database, rows: list[Decided], period: Period, model_version: str | None
) -> None:
    with Session(database.engine) as session:  # never committed
        _insert(session, rows)
        figures = read_figures(session, period, model_version)

    first, last = period.first or date.min, period.last or date.max
    wanted = [row for row in rows if first <= row.day <= last and model_version in (None, row.model_version)]
    scored = {row for row in wanted if row.score is not None}
    assert {band: (figure.decided, figure.accepted) for band, figure in figures.bands.items()} == {
        band: _tally([row for row in wanted if _band(row) == band]) for band in map(_band, wanted)
    }
    assert {reason: (figure.decided, figure.accepted) for reason, figure in figures.reasons.items()} == {
        reason: _tally([row for row in wanted if reason in row.reasons]) for row in wanted for reason in row.reasons
    }
    assert (figures.every.decided if figures.every else 0) == len(wanted)
    if scored and figures.every:
        scores = [row.score for row in wanted if row.score is not None]
        assert figures.every.mean_score == pytest.approx(sum(scores) / len(scores))
    lasted = [row.minutes * 60 for row in wanted]
    assert figures.median_seconds == (median(lasted) if lasted else None)


@given(st.integers(1, 2000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_an_interval_holds_its_share_lies_within_0_and_1_and_narrows_with_more_cases(hits: tuple[int, int]) -> None:
    few, many = wilson(*hits), wilson(hits[0] * 4, hits[1] * 4)

    assert 0 <= few.low <= few.value <= few.high <= 1
    assert many.high - many.low < few.high - few.low
    other = wilson(hits[1] - hits[0], hits[1])
    assert (few.low, few.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_an_interval_is_the_one_in_the_books() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    assert wilson(81, 263) == pytest.approx(Share(81 / 263, 0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx(Share(15 / 148, 0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx(Share(0, 0.0000, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx(Share(1 / 29, 0.0061, 0.1718), abs=5e-5)


def test_figures_are_answered_to_reviewers_without_naming_anything(api: httpx.Client, database: Database) -> None:
    with database.writing() as session:
        _insert(session, [Decided(0.65, accepted=True), Decided(0.61, accepted=False), Decided(None, accepted=True)])
        _insert_waiting(session, "claimed", hours=30)
        _insert_waiting(session, "open", hours=5)

    answer = api.get("/v1/reviews/figures", params={"decided_from": str(DAY), "decided_to": str(DAY)})

    assert answer.status_code == 200
    figures = answer.json()
    assert figures["bands"] == [
        {"low": None, "high": None, **_shown(1, 1, None)},
        {"low": 0.6, "high": 0.7, **_shown(2, 1, pytest.approx(0.63))},
    ]
    assert figures["reasons"] == [{"reason": "below_accept", **_shown(3, 2, pytest.approx(0.63))}]
    assert figures["every"] == _shown(3, 2, pytest.approx(0.63))
    assert figures["median_seconds_to_decision"] == 600
    waiting = figures["waiting"]
    assert (waiting["open"], waiting["claimed"]) == (1, 1)
    assert 30 * 3600 <= waiting["oldest_seconds"] < 31 * 3600
    assert "account" not in answer.text
    assert "ver_" not in answer.text


def test_without_decisions_there_are_no_shares(api: httpx.Client) -> None:
    figures = api.get("/v1/reviews/figures").json()

    assert figures == {
        "every": None,
        "bands": [],
        "reasons": [],
        "median_seconds_to_decision": None,
        "waiting": {"open": 0, "claimed": 0, "oldest_at": None, "oldest_seconds": 0},
    }


@pytest.mark.parametrize(
    "query",
    [
        {"decided_from": "2026-07-02", "decided_to": "2026-07-01"},
        {"decided_from": "yesterday"},
        {"account_id": "4711"},
        {"model_version": ""},
    ],
)
def test_a_period_that_is_none_is_refused(api: httpx.Client, query: dict[str, str]) -> None:
    answer = api.get("/v1/reviews/figures", params=query)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


def test_the_command_shows_them_as_tables(database: Database, settings: Settings, tmp_path: Path) -> None:
    with database.writing() as session:
        _insert(session, [Decided(0.65, accepted=True)] * 3 + [Decided(0.35, accepted=False)])
        _insert(session, [Decided(0.35, accepted=False, day=DAY + timedelta(7))])
        _insert_waiting(session, "open", hours=5)

    printed = _command(settings, "--from", "2026-07-01", "--to", "2026-07-01")
    nothing = _command(settings, "--model-version", "9.9.9")

    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    assert rows == [
        ["0.3 to 0.4", "1", "0.0%", "0.0% to 79.3%", "0.350"],
        ["0.6 to 0.7", "3", "100.0%", "43.9% to 100.0%", "0.650"],
        ["every", "4", "75.0%", "30.1% to 95.4%", "0.575"],
        ["below_accept", "4", "75.0%", "30.1% to 95.4%", "0.575"],
    ]
    assert "Median from the answer to the decision: 0:10:00." in printed
    assert "Waiting now: 1 open and 0 claimed, the oldest for 5:00:" in printed
    assert "every" not in nothing


def _command(settings: Settings, *arguments: str) -> str:
    environment = {"COUNTERSIGN_DATABASE_URL": settings.database_url, "COLUMNS": "120"}
    with patch("service.cli.logs.configure"):
        done = CliRunner().invoke(main, ["review-figures", *arguments], env=environment, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def _shown(of: int, accepted: int, mean_score: object) -> dict[str, object]:
    share = wilson(accepted, of)._asdict()
    return {"decided": of, "accepted": accepted, "share_accepted": share, "mean_score": mean_score}


def _band(row: Decided) -> int | None:
    return None if row.score is None else min(round(row.score * 1000) // 100, 9)


def _tally(rows: Sequence[Decided]) -> tuple[int, int]:
    return len(rows), sum(row.accepted for row in rows)


def _insert(session: Session, rows: Sequence[Decided]) -> None:
    for row in rows:
        at = datetime.combine(row.day, time(23, 59, 59), UTC)
        verification = _verification("closed", at - timedelta(minutes=row.minutes))
        verification.score, verification.reasons = row.score, list(row.reasons)
        verification.model_version = row.model_version
        verification.review = Review(
            claimed_by="k",
            claimed_at=at,
            decision="accept" if row.accepted else "reject",
            decided_by="k",
            decided_at=at,
        )
        session.add(verification)
    session.flush()


def _insert_waiting(session: Session, state: str, hours: int) -> None:
    verification = _verification(state, datetime.now(UTC) - timedelta(hours=hours))
    if state == "claimed":
        verification.review = Review(claimed_by="k", claimed_at=datetime.now(UTC))
    session.add(verification)


def _verification(state: str, created_at: datetime) -> Verification:
    return Verification(
        verification_id=f"ver_figures_{next(numbers)}",
        account_id="account",
        kind="signature",
        state=state,
        outcome="refer",
        score=0.5,
        accept_at=0.74,
        reject_at=0.04,
        reasons=["below_accept"],
        error_rates={},
        model_version="1.2.0",
        signed_on=created_at.date(),
        timings_ms={},
        created_at=created_at,
    )
