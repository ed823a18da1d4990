"""Confirmed signatures: what a person has accepted may become a further specimen, on request and never by itself.

It is enrolled like any other, with every doubt that enrolment has: a mistaken decision must not open an account.
"""

from typing import NamedTuple

import cv2
from sqlalchemy import select
from sqlalchemy.orm import Session

from embeddings.decode import decode
from embeddings.encoder import Encoder
from embeddings.errors import UnusableImage
from embeddings.preprocess import Box, crop
from service.customers import open_identity
from service.enrolment import Drawn, Validity, add_specimens
from service.errors import Refused
from service.events import record
from service.models import Event, Specimen
from service.product import Product
from service.vault import Vault
from service.verification import get_verification, questioned_image

ENROLLED = "signature_enrolled"


class Confirmed(NamedTuple):
    """A signature that a person has accepted, whose it is, and the owner id that this person has."""

    customer_id: str
    owner: str
    image: bytes


def enrol_confirmed(
    session: Session, product: Product, verification_id: str, position: int, validity: Validity, *, actor: str
) -> Specimen:
    """The image is fetched and read before the session's transaction begins.

    Raises what `find_confirmed` does, the image's own code, `customer_not_found` and `signature_enrolled`.
    """
    with product.database.reading() as before:
        confirmed = find_confirmed(before, product.vault, verification_id, position)
    drawn = _read(product.encoder, confirmed.image)
    (specimen,) = add_specimens(session, product, confirmed.customer_id, [drawn], validity, actor=actor)
    if specimen.customer.owner != confirmed.owner:  # erased meanwhile, and the id was given to somebody else
        raise Refused("customer_not_found")
    if _is_enrolled(session, verification_id, position):  # the customer is held: of two at once one comes second
        raise Refused("signature_enrolled")
    record(session, ENROLLED, actor=actor, subject=verification_id, position=position, specimen=specimen.specimen_id)
    return specimen


def find_confirmed(session: Session, vault: Vault, verification_id: str, position: int) -> Confirmed:
    """Raises `verification_not_found`, `verification_not_accepted`, `invalid_field` where there is no such
    signature, `signature_not_assigned` and `evidence_not_found`."""
    verification = get_verification(session, verification_id)
    if verification.review is None or verification.review.decision != "accept":
        raise Refused("verification_not_accepted")
    found = next((one for one in verification.signatures if one.position == position), None)
    if found is None:
        raise Refused("invalid_field", errors=[{"field": "position", "problem": "there is no such signature"}])
    if found.customer is None:
        raise Refused("signature_not_assigned")
    left, top, width, height = found.box
    image = signature_alone(questioned_image(session, vault, verification), (left, top, width, height))
    return Confirmed(open_identity(vault, found.customer).customer_id, found.customer.owner, image)


def signature_alone(image: bytes, box: Box) -> bytes:
    """What is enrolled of a questioned image: all of it, or what lies in the box as PNG."""
    grey = decode(image)
    if box == (0, 0, grey.shape[1], grey.shape[0]):
        return image
    return cv2.imencode(".png", crop(grey, box))[1].tobytes()


def _read(encoder: Encoder, image: bytes) -> Drawn:
    try:
        return Drawn(image, encoder.read(image))
    except UnusableImage as problem:
        raise Refused(problem.code, errors=[{"field": "position", "problem": problem.code}]) from problem


def _is_enrolled(session: Session, verification_id: str, position: int) -> bool:
    """By the events, of which each names the specimen that was made; one that was removed since does not count."""
    earlier = session.scalars(select(Event.details).where(Event.subject == verification_id, Event.kind == ENROLLED))
    made = [details["specimen"] for details in earlier if details["position"] == position]
    return session.scalar(select(Specimen.id).where(Specimen.specimen_id.in_(made)).limit(1)) is not None
