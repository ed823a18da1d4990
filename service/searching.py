"""1:N: whose signature is this? The index finds candidates, the database says who is still there."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from embeddings.encoder import Encoder, Reading
from service.active_model import read_active
from service.dates import is_valid, today
from service.errors import Refused
from service.models import Customer, Specimen, Template
from service.product import Product
from service.search_index import Neighbour
from service.templates import open_vector
from service.vault import Vault

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Hit:
    customer: Customer
    specimen: Specimen
    score: float


def search(session: Session, product: Product, reading: Reading, limit: int) -> list[Hit]:
    """The best `limit` customers, one row each, best first. Raises `Overtaken` where another model version is active
    than the one that read the image: whoever was enrolled since has no template of that."""
    product.models.check(read_active(session, product.models.default_version), reading.model_version)
    return _search(session, product, reading, limit, excluded=None)


def best_other_customer(session: Session, product: Product, reading: Reading, customer: Customer) -> float | None:
    """The best score against anybody but this customer; None when there is nobody else."""
    hits = _search(session, product, reading, 1, excluded=customer.id)
    return hits[0].score if hits else None


def _search(session: Session, product: Product, reading: Reading, limit: int, excluded: int | None) -> list[Hit]:
    index, encoder = product.models.index_of(reading.model_version), product.models.encoder_of(reading.model_version)
    if not index.is_loaded:
        raise Refused("not_ready")  # the index of a starting process is being built; nobody should wait for it
    # A customer has several specimens, so the nearest templates are of fewer customers: ask for more until enough.
    wanted = limit * 4 + 16
    while True:
        neighbours = index.search(reading.vector, wanted)
        hits = _one_a_customer(session, encoder, neighbours, excluded)
        if len(hits) >= limit or len(neighbours) < wanted:
            return _rescored(session, product.vault, encoder, reading.vector, hits[:limit])
        wanted *= 4


def _one_a_customer(
    session: Session, encoder: Encoder, neighbours: list[Neighbour], excluded: int | None
) -> list[Hit]:
    # The index may be a moment old: only what the database still holds and counts is a hit.
    rows = session.execute(
        select(Template.vector_id, Specimen, Customer)
        .join(Specimen, Specimen.id == Template.specimen_id)
        .join(Customer, Customer.id == Specimen.customer_id)
        .where(
            Template.vector_id.in_([neighbour.vector_id for neighbour in neighbours]),
            Specimen.status == "active",
        )
    )
    present = {row.vector_id: (row.Specimen, row.Customer) for row in rows if row.Customer.id != excluded}
    hits: dict[int, Hit] = {}
    for neighbour in neighbours:
        if neighbour.vector_id not in present:
            continue
        specimen, customer = present[neighbour.vector_id]
        if customer.id not in hits and is_valid(specimen, today()):
            score = encoder.bundle.head.score(neighbour.distance)
            hits[customer.id] = Hit(customer, specimen, score)
    return list(hits.values())


def _rescored(session: Session, vault: Vault, encoder: Encoder, query: Vector, hits: list[Hit]) -> list[Hit]:
    """The index knows specimens one by one; a person's score comes from all of them, as in a verification."""
    rows = session.execute(
        select(Template, Specimen)
        .join(Specimen, Specimen.id == Template.specimen_id)
        .where(
            Specimen.customer_id.in_([hit.customer.id for hit in hits]),
            Specimen.status == "active",
            Template.model_version == encoder.model_version,
        )
    ).all()
    owners = {hit.customer.id: hit.customer.owner for hit in hits}
    known: dict[int, list[Vector]] = {}
    for template, specimen in rows:
        if is_valid(specimen, today()):
            vector = open_vector(vault, owners[specimen.customer_id], template)
            known.setdefault(specimen.customer_id, []).append(vector)
    scored = [
        replace(hit, score=encoder.score(np.stack(known[hit.customer.id]), query))
        for hit in hits
        if hit.customer.id in known  # else removed since the index was asked
    ]
    return sorted(scored, key=lambda hit: -hit.score)
