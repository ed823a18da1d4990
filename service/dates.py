"""Calendar days, and who or what is valid on one."""

from datetime import UTC, date, datetime
from typing import Protocol


class Dated(Protocol):
    """Both bounds belong to the period; an absent one is open."""

    @property
    def valid_from(self) -> date | None: ...
    @property
    def valid_to(self) -> date | None: ...


def today() -> date:
    return datetime.now(UTC).date()


def is_valid(dated: Dated, day: date) -> bool:
    return covers(dated.valid_from, dated.valid_to, day)


def covers(first: date | None, last: date | None, day: date) -> bool:
    return (first is None or first <= day) and (last is None or day <= last)
