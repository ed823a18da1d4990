"""Which model version counts. It is a row, so that a switch is one commit for all processes on all hosts."""

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, String, bindparam, func, select
from sqlalchemy.orm import Session

from service.database import conflict_insert, lock_templates
from service.models import Activation, ActiveModel


class Standing(NamedTuple):
    """What a process follows: the versions, and an activation on its way."""

    active: str
    previous: str | None
    activation: Activation | None


def active_version(default: str | ColumnElement[str]) -> ColumnElement[str]:
    """For use inside a statement, which then sees one version and its templates at one moment."""
    return func.coalesce(select(ActiveModel.model_version).scalar_subquery(), default)


def read_active(session: Session, default: str) -> str:
    return session.scalar(_ACTIVE, {"default": default}) or default


def read_standing(session: Session, default: str) -> Standing:
    row = session.get(ActiveModel, 1)
    activation = session.scalar(select(Activation).where(Activation.slot == 1))
    if row is None:
        return Standing(default, None, activation)
    return Standing(row.model_version, row.previous_version, activation)


def switch(session: Session, default: str, version: str) -> None:
    """Takes the turn of those who write templates, so that whoever reads the version in their turn can rely on it."""
    lock_templates(session)
    previous = read_active(session, default)
    if previous == version:
        return
    values = {"model_version": version, "previous_version": previous, "switched_at": datetime.now(UTC)}
    row = conflict_insert(session, ActiveModel).values(id=1, **values)
    session.execute(row.on_conflict_do_update(index_elements=["id"], set_=values))


_ACTIVE = select(active_version(bindparam("default", type_=String)))  # built once: every enrolment asks
