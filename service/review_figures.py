"""Figures about reviews: where people and the model agree, counted and naming nobody.

They tell a bank whether its thresholds are too strict or too lax: what people made of the scores that the machine
referred.
"""

import json
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Text, case, cast, extract, func, null, select
from sqlalchemy.orm import Session

from service.models import Review, Verification
from service.referrals import Waiting, read_waiting

Key = TypeVar("Key", bound=Hashable)

BANDS = 10
"""Of the score: tenths, so that a band does not move when a threshold does."""

Z = 1.959964  # 95 %


class Period(NamedTuple):
    """Days of the decision in UTC; both belong to it, an absent one is open."""

    first: date | None = None
    last: date | None = None


class Share(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


class Figure(NamedTuple):
    """What people decided of some referrals, and what the model said of the same: the mean of its scores, which is
    None where it gave none."""

    decided: int
    accepted: int
    share_accepted: Share
    mean_score: float | None


@dataclass(frozen=True)
class Figures:
    """`bands` by tenth of the score, None where there was no score; `reasons` by code, the most frequent first.
    A referral counts under each of its reasons."""

    every: Figure | None
    bands: dict[int | None, Figure]
    reasons: dict[str, Figure]
    median_seconds: float | None
    waiting: Waiting


class _Cell(NamedTuple):
    """Decided referrals of one band with the same reasons and the same decision, counted by the database."""

    band: int | None
    reasons: list[str]
    accepted: bool
    decided: int
    scored: int
    score_sum: float


def read_figures(session: Session, period: Period, model_version: str | None = None) -> Figures:
    wanted = _wanted(period, model_version)
    cells = _count(session, wanted)
    every = _group(cells, lambda _: [None])
    bands = _group(cells, lambda cell: [cell.band])
    reasons = _group(cells, lambda cell: cell.reasons)
    return Figures(
        every=every.get(None),
        bands=dict(sorted(bands.items(), key=lambda item: -1 if item[0] is None else item[0])),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1].decided, item[0]))),
        median_seconds=_median_seconds(session, wanted, sum(cell.decided for cell in cells)),
        waiting=read_waiting(session.connection()),
    )


def wilson(hits: int, of: int) -> Share:
    """The score interval of Wilson 1927, which also holds for few cases and for shares near 0 and 1."""
    share, spread = hits / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    reach = Z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return Share(share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach)))


def _wanted(period: Period, model_version: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [Review.decided_at.is_not(None)]
    if period.first is not None:
        wanted.append(Review.decided_at >= datetime.combine(period.first, time.min, UTC))
    if period.last is not None:
        wanted.append(Review.decided_at <= datetime.combine(period.last, time.max, UTC))
    if model_version is not None:
        wanted.append(Verification.model_version == model_version)
    return wanted


def _count(session: Session, wanted: Sequence[ColumnElement[bool]]) -> list[_Cell]:
    """Grouped in the database: there are few cells, however many were decided. By names that no column has, which
    PostgreSQL would take instead."""
    rows = session.execute(
        select(
            _BAND.label("band"),
            cast(Verification.reasons, Text).label("codes"),
            Review.decision,
            func.count(),
            func.count(Verification.score),
            func.coalesce(func.sum(Verification.score), 0),
        )
        .join(Review, Review.verification_id == Verification.id)
        .where(*wanted)
        .group_by("band", "codes", Review.decision)
    )
    return [_Cell(band, json.loads(codes), decision == "accept", *sums) for band, codes, decision, *sums in rows]


def _group(cells: Iterable[_Cell], keys: Callable[[_Cell], Iterable[Key]]) -> dict[Key, Figure]:
    grouped: dict[Key, list[_Cell]] = {}
    for cell in cells:
        for key in keys(cell):
            grouped.setdefault(key, []).append(cell)
    return {key: _figure(some) for key, some in grouped.items()}


def _figure(cells: Sequence[_Cell]) -> Figure:
    decided, scored = sum(cell.decided for cell in cells), sum(cell.scored for cell in cells)
    accepted = sum(cell.decided for cell in cells if cell.accepted)
    mean_score = sum(cell.score_sum for cell in cells) / scored if scored else None
    return Figure(decided, accepted, wilson(accepted, decided), mean_score)


def _median_seconds(session: Session, wanted: Sequence[ColumnElement[bool]], decided: int) -> float | None:
    """From the answer to the decision. SQLite has no median, so the middle rows are fetched."""
    if not decided:
        return None
    lasted: ColumnElement[Any] = extract("epoch", Review.decided_at) - extract("epoch", Verification.created_at)
    middle = session.scalars(
        select(lasted)
        .join_from(Review, Verification, Verification.id == Review.verification_id)
        .where(*wanted)
        .order_by(lasted)
        .offset((decided - 1) // 2)
        .limit(2 - decided % 2)
    ).all()
    return float(sum(middle) / len(middle))


_BAND = case(
    (Verification.score.is_(None), null()),
    *((Verification.score < (band + 1) / BANDS, band) for band in range(BANDS - 1)),
    else_=BANDS - 1,
)
