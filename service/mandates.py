"""Which mandate counts: the one in force on the day of a cheque, and the one in force now."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select

from service.dates import today
from service.errors import Refused
from service.mandate import Mandate, Signer, read_rules
from service.models import Account, Signatory
from service.models import Mandate as MandateVersion

Version = Row[*tuple[Any, ...]]


def mandates_on(connection: Connection, account_id: str, day: date) -> tuple[Mandate, Mandate]:
    """The mandate at the end of that day (UTC), and today's. Before anything was recorded the first version counts,
    as it was when its own day ended: banks move old accounts in. Raises `account_not_found`."""
    day = min(day, today())
    values = {"account_id": account_id, "end": _end(day), "start": _end(day) - timedelta(days=1)}
    versions = connection.execute(_VERSIONS, values).all()
    if not versions:
        raise Refused("account_not_found")
    then, now = versions[0], versions[-1]
    places = connection.execute(_PLACES, values).all()
    moment = max(_end(day), _end(then.recorded_at.date()))
    return _mandate(then, _signers(places, moment)), _mandate(now, _signers(places, _end(today())))


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _mandate(version: Version, signers: Sequence[Signer]) -> Mandate:
    return Mandate(read_rules(version.rules), signers, version.always_refer)


def _signers(places: Iterable[Version], moment: datetime) -> list[Signer]:
    """Those on the account just before `moment`, and the erased who were on it that day."""
    began = moment - timedelta(days=1)
    return [
        Signer(place.customer_id, place.group, place.amount_limit, place.valid_from, place.valid_to)
        for place in places
        if place.recorded_at < moment
        and (place.superseded_at is None or place.superseded_at >= (moment if place.customer_id else began))
    ]


_VERSIONS = (
    select(
        MandateVersion.rules, MandateVersion.always_refer, MandateVersion.recorded_at, MandateVersion.superseded_at
    )
    .join(Account, Account.id == MandateVersion.account_id)
    .where(
        Account.account_id == bindparam("account_id"),
        or_(MandateVersion.superseded_at.is_(None), MandateVersion.superseded_at >= bindparam("end")),
    )
    .order_by(MandateVersion.id)
)
_PLACES = (
    select(
        Signatory.customer_id,
        Signatory.group.label("group"),
        Signatory.amount_limit,
        Signatory.valid_from,
        Signatory.valid_to,
        Signatory.recorded_at,
        Signatory.superseded_at,
    )
    .join(Account, Account.id == Signatory.account_id)
    .where(
        Account.account_id == bindparam("account_id"),
        or_(Signatory.superseded_at.is_(None), Signatory.superseded_at >= bindparam("start")),
    )
    .order_by(Signatory.id)
)
