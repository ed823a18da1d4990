"""Which mandate counts: the one in force at the end (UTC) of the day on a cheque, and the one in force now.

Nobody recorded what was in force before an account came to this service. There counts what was in force at the end of
the first recorded day, by when whoever moves an account in has put its people and its rules.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select
from sqlalchemy.orm import aliased

from service.dates import today
from service.errors import Refused
from service.mandate import Mandate, Signer, read_rules
from service.models import Account, Signatory
from service.models import Mandate as Version

Found = Row[*tuple[Any, ...]]


def mandates_on(connection: Connection, account_id: str, day: date) -> tuple[Mandate, Mandate]:
    """Of that day, with the erased among its signers, for they may have signed; and today's. By one statement, so
    that rules and people belong together; by two for a day before the first recorded one. Raises
    `account_not_found`."""
    day = min(day, today())
    found = _read(connection, account_id, day)
    if not found:
        raise Refused("account_not_found")
    first_day = found[0].first_recorded_at.date()
    if day < first_day:
        day = first_day
        found = _read(connection, account_id, day)
    then, now = found[0], found[-1]
    places = {row.place: row for row in found if row.place is not None}.values()
    of_then = [place for place in places if _counts_on(place, _end(day))]
    of_now = [place for place in places if place.superseded_at is None]
    return _mandate(then, of_then), _mandate(now, of_now)


def _read(connection: Connection, account_id: str, day: date) -> Sequence[Found]:
    end = _end(day)
    values = {"account_id": account_id, "start": end - timedelta(days=1), "end": end}
    return connection.execute(_VERSIONS, values).all()


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _counts_on(place: Found, end: datetime) -> bool:
    """The erased count for the whole of their last day: they may have signed before they went."""
    is_erased = place.customer_id is None
    return place.recorded_at < end and (place.superseded_at is None or is_erased or place.superseded_at >= end)


def _mandate(version: Found, places: Iterable[Found]) -> Mandate:
    signers = [
        Signer(place.customer_id, place.group, place.amount_limit, place.valid_from, place.valid_to)
        for place in places
    ]
    return Mandate(read_rules(version.rules), signers, version.always_refer)


_First = aliased(Version)

# Built once, as plain columns: every verification asks for it. One or two versions, that day's before today's, each
# with all places on the account, of both days.
_VERSIONS = (
    select(
        select(func.min(_First.recorded_at))
        .where(_First.account_id == Account.id)
        .scalar_subquery()
        .label("first_recorded_at"),
        Version.rules,
        Version.always_refer,
        Signatory.id.label("place"),
        Signatory.customer_id,
        Signatory.group.label("group"),
        Signatory.amount_limit,
        Signatory.valid_from,
        Signatory.valid_to,
        Signatory.recorded_at,
        Signatory.superseded_at,
    )
    .select_from(Account)
    .join(Version, Version.account_id == Account.id)
    .outerjoin(
        Signatory,
        and_(
            Signatory.account_id == Account.id,
            or_(
                Signatory.superseded_at.is_(None),
                and_(Signatory.recorded_at < bindparam("end"), Signatory.superseded_at >= bindparam("start")),
            ),
        ),
    )
    .where(
        Account.account_id == bindparam("account_id"),
        or_(
            Version.superseded_at.is_(None),
            and_(Version.recorded_at < bindparam("end"), Version.superseded_at >= bindparam("end")),
        ),
    )
    .order_by(Version.id, Signatory.id)
)
