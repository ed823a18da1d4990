"""Evidence: the picture of a verification, from the image that was kept of it and what it was compared with."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from embeddings import cheque
from embeddings.decode import decode
from embeddings.ink import find_ink
from embeddings.preprocess import Box, crop, normalise, reduce
from service import copies
from service.customers import open_identity
from service.enrolment import IMAGE as SPECIMEN
from service.evidence_picture import Compared, Evidence, draw
from service.models import FoundSignature, Verification
from service.product import Product
from service.vault import SealedValue, Vault
from service.verification import get_verification, questioned_image

Grey = NDArray[np.uint8]
Canvas = NDArray[np.float32]


def picture(session: Session, product: Product, verification_id: str) -> bytes:
    """PNG bytes. Raises `verification_not_found`, and `evidence_not_found` where no image is kept any more."""
    verification = get_verification(session, verification_id)
    image = decode(questioned_image(session, product.vault, verification))
    rates = verification.error_rates
    return draw(
        Evidence(
            verification_id=verification_id,
            account_id=verification.account_id,
            outcome=verification.outcome,
            reasons=verification.reasons,
            accept_at=verification.accept_at,
            reject_at=verification.reject_at,
            passing=rates["skilled_far"]["value"],
            failing=rates["frr"]["value"],
            model_version=verification.model_version,
            created_at=verification.created_at,
            asked=_asked(verification),
            image=image,
            signatures=[
                _compared(product.vault, image, verification.kind, found) for found in verification.signatures
            ],
        )
    )


def question_ink(image: Grey, box: Box, *, lifted: bool = False) -> Canvas:
    """The ink in a box of a grey image as the tower would see it, lifted off a cheque or as it is: for a signature
    that was nobody's, whose ink was therefore not kept."""
    return normalise(cheque.lift_box(image, box).mask if lifted else find_ink(reduce(crop(image, box))))


def _compared(vault: Vault, image: Grey, kind: str, found: FoundSignature) -> Compared:
    left, top, width, height = found.box
    box = (left, top, width, height)
    ink = copies.open_ink(vault, found.customer.owner, found) if found.customer and found.sealed else None
    specimen = _specimen(vault, found)
    return Compared(
        box=box,
        part=crop(image, box),
        ink=question_ink(image, box, lifted=kind == "cheque") if ink is None else ink.astype(np.float32),
        whose=_whose(vault, found),
        score=found.score,
        specimen=specimen,
        specimen_ink=None if specimen is None else normalise(find_ink(reduce(specimen))),
    )


def _specimen(vault: Vault, found: FoundSignature) -> Grey | None:
    """Its image, unless the specimen was removed or a policy deleted the image."""
    if found.customer is None or found.specimen is None or not found.specimen.sealed:
        return None
    sealed = SealedValue(found.specimen.key_id, found.specimen.nonce, found.specimen.sealed)
    return decode(vault.open(found.customer.owner, SPECIMEN, sealed))


def _whose(vault: Vault, found: FoundSignature) -> str:
    if found.customer is None:
        return "is nobody's who could be compared"
    identity = open_identity(vault, found.customer)
    person = f"{identity.name} ({identity.customer_id})" if identity.name else identity.customer_id
    return f"looks most like {person}"


def _asked(verification: Verification) -> str:
    facts = [f"signed on {verification.signed_on}"]
    if verification.amount is not None:
        facts.insert(0, f"{verification.currency or ''} {verification.amount:,.2f}".strip())
    if verification.reference:
        facts.append(verification.reference)
    return "  ·  ".join(facts)
