"""Templates: vectors sealed into rows, and the change log that keeps every index in step with them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Select, delete, insert, select
from sqlalchemy.orm import Session

from service.database import lock_templates
from service.models import Customer, Specimen, Template, TemplateChange
from service.vault import SealBroken, SealedValue, Vault

log = structlog.get_logger()

Vectors = NDArray[np.float32]

KIND = "template"


class Embedded(NamedTuple):
    """A specimen's row, the person's owner id, whether the specimen counts already, and vectors float32 (m, d)."""

    specimen: int
    owner: str
    counts: bool
    vectors: Vectors


def store(session: Session, vault: Vault, model_version: str, embedded: Sequence[Embedded]) -> None:
    """Keeps vectors, and announces those that count. Until the commit no switch of the model comes in between."""
    lock_templates(session)
    rows, counting = [], []
    for one in embedded:
        for copy, vector in enumerate(np.asarray(one.vectors, dtype="<f4")):
            sealed = vault.seal(one.owner, KIND, vector.tobytes())
            rows.append(
                {"specimen_id": one.specimen, "model_version": model_version, "copy": copy, **sealed._asdict()}
            )
            counting.append(one.counts)
    if not rows:
        return
    made = session.scalars(insert(Template).returning(Template.vector_id, sort_by_parameter_order=True), rows)
    added = [vector_id for vector_id, counts in zip(made, counting, strict=True) if counts]
    _write_changes(session, "add", [(vector_id, model_version) for vector_id in added])


def announce(session: Session, op: str, templates: Iterable[Template]) -> None:
    """Writes change rows; whoever calls it holds the template lock until its transaction ends."""
    _write_changes(session, op, [(row.vector_id, row.model_version) for row in templates])


def _write_changes(session: Session, op: str, vectors: Sequence[tuple[int, str]]) -> None:
    now = datetime.now(UTC)
    changes = [{"op": op, "vector_id": id_, "model_version": version, "at": now} for id_, version in vectors]
    if changes:
        lock_templates(session)
        session.execute(insert(TemplateChange), changes)


def remove(session: Session, specimens: Sequence[Specimen]) -> int:
    """Deletes the templates of these specimens, of every model version, and announces it; how many there were."""
    ids = [specimen.id for specimen in specimens]
    templates = session.scalars(select(Template).where(Template.specimen_id.in_(ids))).all()
    announce(session, "remove", templates)
    session.execute(delete(Template).where(Template.specimen_id.in_(ids)))
    return len(templates)


def sealed_vectors(model_version: str) -> Select[*tuple[Any, ...]]:
    """Rows (vector_id, owner, key_id, nonce, sealed) of every template that counts under a model version."""
    return (
        select(Template.vector_id, Customer.owner, Template.key_id, Template.nonce, Template.sealed)
        .join(Specimen, Specimen.id == Template.specimen_id)
        .join(Customer, Customer.id == Specimen.customer_id)
        .where(Template.model_version == model_version, Specimen.status == "active")
    )


def open_vector(vault: Vault, owner: str, sealed: Any) -> Vectors:
    """float32 (d,) of a template, or of any row with its key_id, nonce and sealed."""
    value = vault.open(owner, KIND, SealedValue(sealed.key_id, sealed.nonce, sealed.sealed))
    return np.frombuffer(value, dtype="<f4")


def open_vectors(vault: Vault, rows: Iterable[Any], dimension: int) -> tuple[list[int], Vectors]:
    """Many at once, as index building needs them: rows of `sealed_vectors` to their vector ids and float32 (n, d).
    A damaged row is logged and left out, so that it does not stop the search for everybody else."""
    ids: list[int] = []
    opened: list[bytes] = []
    for vector_id, owner, *sealed in rows:  # reading a row by names takes longer than opening it
        try:
            opened.append(vault.open(owner, KIND, SealedValue(*sealed)))
        except SealBroken:
            log.error("seal_broken", vector_id=vector_id)
            continue
        ids.append(vector_id)
    return ids, np.frombuffer(b"".join(opened), dtype="<f4").reshape(-1, dimension)
