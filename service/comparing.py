"""Comparing the signatures on an image with everybody whose signature each of them may be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, String, bindparam, func, select

from embeddings.encoder import Encoder, Reading
from embeddings.head import distances
from service.active_model import active_version
from service.dates import covers
from service.models import Customer, Specimen, Template
from service.templates import open_vector
from service.vault import Vault

Found = Row[*tuple[Any, ...]]


class Person(NamedTuple):
    """A customer as far as an answer needs one: the row's id, the owner and the sealed identity."""

    id: int
    owner: str
    key_id: str
    nonce: bytes
    sealed: bytes


class Reference(NamedTuple):
    """A specimen as far as an answer needs one."""

    id: int
    specimen_id: str


class Best(NamedTuple):
    """The score of one person and the specimen that is nearest."""

    customer: Person
    specimen: Reference
    score: float


@dataclass(frozen=True)
class Enrolled:
    """A person with the specimens that count: float32 (k, d), and whose each row is. `newest` is when the last of
    them was enrolled."""

    person: Person
    specimens: Sequence[Reference]
    vectors: NDArray[np.float32]
    newest: datetime

    def compare(self, encoder: Encoder, reading: Reading) -> Best:
        nearest = int(distances(self.vectors, reading.vector).argmin())
        return Best(self.person, self.specimens[nearest], encoder.score(self.vectors, reading.vector))


def read_templates(
    connection: Connection, customers: Iterable[int], version: str | None, default_version: str
) -> Sequence[Found]:
    """Every template that counts, with its specimen and person. Which version is active is seen in the same moment as
    its templates, by the same statement."""
    values = {"customers": sorted(customers), "version": version, "default_version": default_version}
    return connection.execute(_TEMPLATES, values).all()


def on_day(vault: Vault, templates: Sequence[Found], day: date) -> Mapping[int, Enrolled]:
    """By the row id of the customer: whoever has a specimen that is valid on that day."""
    by_person: dict[int, list[Found]] = {}
    for row in templates:
        if covers(row.valid_from, row.valid_to, day):
            by_person.setdefault(row.customer, []).append(row)
    return {customer: _enrolled(vault, rows) for customer, rows in by_person.items()}


def _enrolled(vault: Vault, rows: Sequence[Found]) -> Enrolled:
    row = rows[0]
    return Enrolled(
        Person(row.customer, row.owner, row.identity_key_id, row.identity_nonce, row.identity_sealed),
        [Reference(row.specimen, row.specimen_id) for row in rows],
        np.stack([open_vector(vault, row.owner, row) for row in rows]),
        max(row.created_at for row in rows),
    )


# Built once: putting this statement together costs more than running it. Plain columns: entities cost half a
# millisecond more.
_TEMPLATES = (
    select(
        Customer.id.label("customer"),
        Customer.owner,
        Customer.key_id.label("identity_key_id"),
        Customer.nonce.label("identity_nonce"),
        Customer.sealed.label("identity_sealed"),
        Specimen.id.label("specimen"),
        Specimen.specimen_id,
        Specimen.valid_from,
        Specimen.valid_to,
        Specimen.created_at,
        Template.model_version,
        Template.key_id,
        Template.nonce,
        Template.sealed,
    )
    .select_from(Customer)
    .join(Specimen, Specimen.customer_id == Customer.id)
    .join(Template, Template.specimen_id == Specimen.id)
    .where(
        Customer.id.in_(bindparam("customers", expanding=True)),
        Specimen.status == "active",
        Template.model_version
        == func.coalesce(
            bindparam("version", type_=String), active_version(bindparam("default_version", type_=String))
        ),
    )
    .order_by(Template.vector_id)
)
