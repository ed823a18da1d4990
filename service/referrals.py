"""Referrals: how much waits for a person, and since when."""

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, outerjoin, select

from service import metrics
from service.database import Database
from service.models import Verification

REFRESH_SECONDS = 10.0


class Waiting(NamedTuple):
    """Referred verifications that nobody has decided yet: in the queue, and in somebody's hands."""

    open: int
    claimed: int
    oldest_at: datetime | None

    @property
    def oldest_seconds(self) -> float:
        return (datetime.now(UTC) - self.oldest_at).total_seconds() if self.oldest_at else 0.0


def read_waiting(connection: Connection) -> Waiting:
    return Waiting(*connection.execute(_WAITING).one())


class Gauges:
    """Says it in the metrics, each time it is asked to catch up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def catch_up(self) -> None:
        with self._database.asking() as connection:
            waiting = read_waiting(connection)
        metrics.referrals.labels("open").set(waiting.open)
        metrics.referrals.labels("claimed").set(waiting.claimed)
        metrics.oldest_referral_seconds.set(waiting.oldest_seconds)


# The index of the queue alone answers the counts, so that a long queue costs little: of the rows one is looked at.
_COUNTED = (
    select(
        func.count().filter(Verification.state == "open").label("open"),
        func.count().filter(Verification.state == "claimed").label("claimed"),
        func.min(Verification.id).label("oldest"),
    )
    .where(Verification.state.in_(("open", "claimed")))
    .subquery()
)
_WAITING = select(_COUNTED.c.open, _COUNTED.c.claimed, Verification.created_at).select_from(
    outerjoin(_COUNTED, Verification, Verification.id == _COUNTED.c.oldest)
)
