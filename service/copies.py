"""Is a questioned signature a copy? Nobody signs twice alike: what is nearly identical to a specimen, or to one that
was questioned before, was scanned, photocopied or traced on a light table, and is more suspicious, not less.

The vectors alone do not tell: a copy with a thinner pen lies as far from its original as some people's signatures lie
from each other. So the ink itself is laid over the other's (`embeddings.overlap`), after a first look that nearly
all honest questions end at. The bare ink of each questioned signature is kept for it, 256 x 128 bits, sealed as the
matched person's own: it goes with the person's key, and it outlives a switch of the model, which vectors do not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, String, bindparam, select

from embeddings.encoder import Reading
from embeddings.errors import UnusableImage
from embeddings.head import distances
from embeddings.overlap import ROUGHLY, SAME, Ink, overlap, pack, roughly_alike, unpack
from embeddings.preprocess import preprocess
from service.comparing import Enrolled
from service.enrolment import IMAGE as SPECIMEN
from service.models import FoundSignature, Specimen, Verification
from service.product import Product
from service.vault import SealedValue, Vault

KIND = "questioned ink"
LATEST = 50
"""So many earlier signatures of a person are looked at: about 0.01 ms each, most of it to fetch and open them."""

CLOSE = 0.5
"""A copy is nearer to its specimen than this share of what two specimens of one person are on average: 99.5 % of the
copies that laying over finds. Other specimens are not opened, which takes as long as reading an image."""


def seal(vault: Vault, owner: str, canvas: NDArray[np.float32]) -> SealedValue:
    """The ink of a questioned signature that was taken for this owner's."""
    return vault.seal(owner, KIND, pack(canvas))


def open_ink(vault: Vault, owner: str, sealed: Any) -> Ink:
    """Of any row with its key_id, nonce and sealed: uint8 (128, 256) of 0 and 1."""
    return unpack(vault.open(owner, KIND, SealedValue(sealed.key_id, sealed.nonce, sealed.sealed)))


def is_copy(
    connection: Connection, product: Product, enrolled: Enrolled, reading: Reading, apart_from: str | None = None
) -> bool:
    """Of a specimen, or of one of the latest signatures that were taken for this person's. `apart_from` is the
    verification that kept this very reading already, if one did."""
    ink = unpack(pack(reading.canvas))
    return _is_of_specimen(connection, product, enrolled, reading, ink) or _is_of_earlier(
        connection, product.vault, enrolled, ink, apart_from
    )


def _is_of_specimen(connection: Connection, product: Product, enrolled: Enrolled, reading: Reading, ink: Ink) -> bool:
    apart = distances(enrolled.vectors, reading.vector)
    nearest = int(apart.argmin())
    if apart[nearest] > CLOSE * product.models.encoder_of(reading.model_version).bundle.head.typical:
        return False
    row = connection.execute(_SPECIMEN, {"specimen": enrolled.specimens[nearest].id}).first()
    if row is None or not row.sealed:  # removed meanwhile, or a policy deleted the image
        return False
    image = product.vault.open(enrolled.person.owner, SPECIMEN, SealedValue(*row))
    try:
        return overlap(ink, unpack(pack(preprocess(image)))) >= SAME
    except UnusableImage:  # enrolled under a preprocessing that took it
        return False


def _is_of_earlier(
    connection: Connection, vault: Vault, enrolled: Enrolled, ink: Ink, apart_from: str | None
) -> bool:
    values = {"customer": enrolled.person.id, "apart_from": apart_from}
    rows: Sequence[Any] = connection.execute(_EARLIER, values).all()
    if not rows:
        return False
    inks = [vault.open(enrolled.person.owner, KIND, SealedValue(*row)) for row in rows]
    alike = roughly_alike(ink, np.frombuffer(b"".join(inks), np.uint8).reshape(len(inks), -1))
    nearest = int(alike.argmax())
    return bool(alike[nearest] >= ROUGHLY) and overlap(ink, unpack(inks[nearest])) >= SAME


# Built once: putting a statement together costs more than running it.
_SPECIMEN = (
    select(Specimen.key_id, Specimen.nonce, Specimen.sealed)
    .where(Specimen.id == bindparam("specimen"))
    .execution_options(binary=True)
)
_EARLIER = (
    select(FoundSignature.key_id, FoundSignature.nonce, FoundSignature.sealed)
    .where(
        FoundSignature.customer_id == bindparam("customer"),
        FoundSignature.sealed.is_not(None),
        FoundSignature.verification_id.is_distinct_from(
            select(Verification.id)
            .where(Verification.verification_id == bindparam("apart_from", type_=String))
            .scalar_subquery()
        ),
    )
    .order_by(FoundSignature.id.desc())
    .limit(LATEST)
    .execution_options(binary=True)
)
