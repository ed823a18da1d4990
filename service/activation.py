"""The way of a model version into service: started by an operator, worked on by a worker, followed by everybody.

One is on its way at a time. A shadow that has embedded everything stands in nobody's way: the next one ends it.
"""

import secrets
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.active_model import read_standing
from service.errors import Refused
from service.events import record
from service.held_models import HeldModels
from service.models import Activation, Specimen, Template

Mode = Literal["shadow", "switch", "rollback"]

ALIVE = ("active", "pending")
"""A pending specimen may count tomorrow, so it is embedded like an active one."""


class ModelState(NamedTuple):
    """A model version and how much of what is enrolled it can judge. `missing` have their image and wait for an
    activation; of the others the image is gone, or unreadable to this version: they need re-enrolment."""

    model_version: str
    is_active: bool
    is_previous: bool
    is_at_hand: bool
    specimens: int
    missing: int
    needs_reenrolment: int


def list_models(session: Session, models: HeldModels) -> list[ModelState]:
    """Every version that is at hand or has templates, in the order of their names."""
    standing = read_standing(session, models.default_version)
    at_hand = models.at_hand()
    stored = dict(session.execute(_STORED).all())
    alive = session.scalar(select(func.count()).where(Specimen.status.in_(ALIVE))) or 0
    shown = []
    for version in sorted({*at_hand, *stored, standing.active}):
        lost = session.scalar(select(func.count()).where(lacks(version), or_(_marked(version), _without_image())))
        have, lost = stored.get(version, 0), lost or 0
        is_previous = version == standing.previous
        shown.append(
            ModelState(
                version, version == standing.active, is_previous, version in at_hand, have, alive - have - lost, lost
            )
        )
    return shown


def start(session: Session, models: HeldModels, version: str, mode: Mode, *, actor: str) -> Activation:
    """Counts and marks whom it cannot serve; a worker does the rest. The active version may be activated again while
    specimens lack templates of it, as after an upgrade that brought another bundle. Raises `model_not_found`,
    `model_broken`, `model_active`, `model_not_previous` and `activation_running`."""
    _require_usable(models, version)
    standing = read_standing(session, models.default_version)
    if version == standing.active and not _anyone_is_missing(session, version):
        raise Refused("model_active")
    if mode == "rollback" and version != standing.previous:
        raise Refused("model_not_previous")
    if standing.activation is not None and standing.activation.state == "shadowing":
        finish(session, standing.activation)
    activation = Activation(
        activation_id=f"act_{secrets.token_hex(12)}",
        model_version=version,
        from_version=standing.active,
        mode=mode,
        state="reembedding",
        slot=1,
        done=0,
        total=0,
        needs_reenrolment=0,
        created_at=datetime.now(UTC),
    )
    session.add(activation)
    try:
        session.flush()
    except IntegrityError as problem:
        raise Refused("activation_running") from problem
    _mark_lost(session, version)
    count(session, activation)
    record(session, "activation_started", actor=actor, subject=activation.activation_id, version=version, mode=mode)
    return activation


def get_activation(session: Session, activation_id: str) -> Activation:
    """Raises `activation_not_found`."""
    found = session.scalar(select(Activation).where(Activation.activation_id == activation_id))
    if found is None:
        raise Refused("activation_not_found")
    return found


def finish(session: Session, activation: Activation, problem: str | None = None) -> None:
    activation.state = "failed" if problem else "done"
    activation.problem = problem
    activation.slot = None
    activation.finished_at = datetime.now(UTC)
    record(
        session,
        f"activation_{activation.state}",
        actor="worker",
        subject=activation.activation_id,
        version=activation.model_version,
        mode=activation.mode,
    )
    session.flush()


def count(session: Session, activation: Activation) -> None:
    """How far it is, by what is there: people come and go meanwhile."""
    version = activation.model_version
    alive = session.scalar(select(func.count()).where(Specimen.status.in_(ALIVE))) or 0
    lacking = session.scalar(select(func.count()).where(lacks(version))) or 0
    lost = session.scalar(select(func.count()).where(lacks(version), _marked(version))) or 0
    activation.done = alive - lacking
    activation.total = alive - lost
    activation.needs_reenrolment = lost


def lacks(version: str) -> ColumnElement[bool]:
    """A specimen that counts, or may one day, and has no template of this version."""
    template = select(Template.vector_id).where(
        Template.specimen_id == Specimen.id, Template.model_version == version
    )
    return and_(Specimen.status.in_(ALIVE), ~template.exists())


def is_missing(version: str) -> ColumnElement[bool]:
    """One that can still be embedded: an activation is not at its end while there is one."""
    mark = Specimen.needs_reenrolment
    return and_(lacks(version), or_(mark.is_(None), mark != version))


def _anyone_is_missing(session: Session, version: str) -> bool:
    return session.scalar(select(Specimen.id).where(is_missing(version)).limit(1)) is not None


def _marked(version: str) -> ColumnElement[bool]:
    return Specimen.needs_reenrolment == version


def _without_image() -> ColumnElement[bool]:
    return func.length(Specimen.sealed) == 0


def _mark_lost(session: Session, version: str) -> None:
    """Marks of an earlier try go: what could not be read then, say for want of a key, may be readable now."""
    unmark = update(Specimen).where(_marked(version)).values(needs_reenrolment=None)
    mark = update(Specimen).where(lacks(version), _without_image()).values(needs_reenrolment=version)
    for statement in (unmark, mark):
        session.execute(statement.execution_options(synchronize_session=False))


def _require_usable(models: HeldModels, version: str) -> None:
    if version not in models.at_hand():
        raise Refused("model_not_found")
    try:
        models.encoder_of(version)
    except Refused as refused:
        raise Refused("model_broken") from refused


_STORED = (
    select(Template.model_version, func.count(Template.specimen_id.distinct()))
    .join(Specimen, Specimen.id == Template.specimen_id)
    .where(Specimen.status.in_(ALIVE))
    .group_by(Template.model_version)
)
