"""Enrolment: people join, and add specimens. The images are read before the transaction begins."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from embeddings.encoder import Encoder, Reading
from embeddings.errors import UnusableImage
from service import templates
from service.accounts import Place, add_signatory
from service.active_model import read_active
from service.customers import Identity, get_customer, get_specimen, lookup, new_owner, seal_identity
from service.errors import Refused
from service.events import record
from service.models import Customer, Specimen
from service.product import Product
from service.searching import best_other_customer
from service.vault import Vault

Vectors = NDArray[np.float32]

IMAGE = "specimen"


@dataclass(frozen=True)
class Drawn:
    """A specimen image with what was read in it."""

    image: bytes
    reading: Reading


def read_specimens(encoder: Encoder, images: Sequence[bytes]) -> list[Drawn]:
    """Raises `Refused` with the image's own code, naming which of the files it was."""
    drawn = []
    for index, image in enumerate(images):
        try:
            drawn.append(Drawn(image, encoder.read(image)))
        except UnusableImage as problem:
            raise Refused(
                problem.code, errors=[{"field": f"specimens.{index}", "problem": problem.code}]
            ) from problem
    return drawn


@dataclass(frozen=True)
class Validity:
    valid_from: date | None = None
    valid_to: date | None = None


def enrol_customer(
    session: Session,
    product: Product,
    identity: Identity,
    account_ids: Sequence[str],
    drawn: Sequence[Drawn],
    validity: Validity,
    *,
    actor: str,
) -> Customer:
    """Raises `customer_exists`: the database decides, so that of two requests at once one wins."""
    owner = new_owner()
    customer = Customer(
        owner=owner,
        lookup=lookup(product.vault, identity.customer_id),
        status="active",
        created_at=datetime.now(UTC),
        **seal_identity(product.vault, owner, identity)._asdict(),
    )
    session.add(customer)
    try:
        session.flush()
    except IntegrityError as problem:
        raise Refused("customer_exists") from problem
    _keep(session, product, customer, drawn, validity)
    for account_id in sorted(set(account_ids)):  # in one order, so that two enrolments never wait for each other
        add_signatory(session, account_id, customer, Place(identity.customer_id))
    record(session, "customer_enrolled", actor=actor, subject=owner, specimens=len(drawn))
    session.expire(customer)
    return customer


def add_specimens(
    session: Session,
    product: Product,
    customer_id: str,
    drawn: Sequence[Drawn],
    validity: Validity,
    *,
    actor: str,
) -> list[Specimen]:
    """Raises `customer_not_found`."""
    customer = get_customer(session, product.vault, customer_id, for_change=True)
    specimens = _keep(session, product, customer, drawn, validity)
    record(session, "specimens_added", actor=actor, subject=customer.owner, specimens=len(specimens))
    return specimens


def confirm_specimen(session: Session, vault: Vault, customer_id: str, specimen_id: str, *, actor: str) -> Specimen:
    """A person looked at a pending specimen and vouches for it. Raises `specimen_not_pending`."""
    customer = get_customer(session, vault, customer_id, for_change=True)
    specimen = get_specimen(customer, specimen_id)
    if specimen.status != "pending":
        raise Refused("specimen_not_pending")
    specimen.status = "active"
    templates.announce(session, "add", specimen.templates)
    record(session, "specimen_confirmed", actor=actor, subject=customer.owner, specimen=specimen_id)
    session.flush()
    return specimen


def _keep(
    session: Session, product: Product, customer: Customer, drawn: Sequence[Drawn], validity: Validity
) -> list[Specimen]:
    """Raises `Overtaken` where a switch of the model came between reading the images and here: then they are read
    again, or these specimens would have no template of the version that is active now."""
    version, default = drawn[0].reading.model_version, product.models.default_version
    product.models.check(read_active(session, default), version)
    known = _active_vectors(product.vault, customer, version)
    kept = []
    for one in drawn:
        doubts = _doubts(session, product, customer, known, one.reading)
        specimen = _new_specimen(product, customer, one, doubts, validity)
        session.add(specimen)
        session.flush()
        vectors = one.reading.vector[np.newaxis]
        embedded = templates.Embedded(specimen.id, customer.owner, specimen.status == "active", vectors)
        templates.store(session, product.vault, version, [embedded])
        if specimen.status == "active":
            known.extend(vectors)
        kept.append(specimen)
    product.models.check(read_active(session, default), version)  # no switch can come after this
    return kept


def _doubts(
    session: Session, product: Product, customer: Customer, known: Sequence[Vectors], reading: Reading
) -> list[str]:
    """Why a specimen should not count until someone confirms it: enrolment is the easiest attack.

    A first specimen has nothing to be compared with. A further one must look like the person's others, and more like
    them than like anybody else's: with ten thousand customers somebody is always similar.
    """
    doubts = list(reading.quality.codes)
    if not known:
        return doubts
    encoder = product.models.encoder_of(reading.model_version)
    thresholds = encoder.bundle.thresholds
    own = encoder.score(np.stack(known), reading.vector)
    if own < thresholds.reject:
        doubts.append("specimen_inconsistent")
    other = best_other_customer(session, product, reading, customer)
    if other is not None and other >= thresholds.accept and other > own:
        doubts.append("matches_other_customer")
    return doubts


def _new_specimen(
    product: Product, customer: Customer, drawn: Drawn, doubts: list[str], validity: Validity
) -> Specimen:
    return Specimen(
        specimen_id=f"spc_{secrets.token_hex(12)}",
        customer_id=customer.id,
        status="pending" if doubts else "active",
        quality_codes=doubts,
        model_version=drawn.reading.model_version,
        valid_from=validity.valid_from,
        valid_to=validity.valid_to,
        created_at=datetime.now(UTC),
        **product.vault.seal(customer.owner, IMAGE, drawn.image)._asdict(),
    )


def _active_vectors(vault: Vault, customer: Customer, model_version: str) -> list[Vectors]:
    """The vectors float32 (d,) of the specimens that count."""
    return [
        templates.open_vector(vault, customer.owner, template)
        for specimen in customer.specimens
        if specimen.status == "active"
        for template in specimen.templates
        if template.model_version == model_version
    ]
