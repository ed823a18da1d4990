"""What is asked of an account: a questioned image with what the caller says of it, and the signatures read on it."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple

from embeddings.encoder import Encoder, Reading
from embeddings.errors import UnusableImage
from embeddings.preprocess import Box
from service.dates import today
from service.errors import Refused

Kind = Literal["signature", "cheque"]


@dataclass(frozen=True)
class Asked:
    image: bytes
    kind: Kind = "signature"
    box: Box | None = None
    signed_on: date = field(default_factory=today)
    amount: Decimal | None = None
    currency: str | None = None
    reference: str | None = None
    target_far: float | None = None


class Seen(NamedTuple):
    """A signature on the questioned image."""

    box: Box
    reading: Reading


@dataclass(frozen=True)
class Question:
    """`seen` is in the order of confidence; `timings_ms` are of the steps up to the vectors."""

    asked: Asked
    seen: list[Seen]
    model_version: str
    timings_ms: dict[str, float]


def read(encoder: Encoder, asked: Asked) -> Question:
    """Raises `Refused` with the image's own code, and `kind_not_supported`."""
    try:
        if asked.kind == "cheque":
            raise Refused("kind_not_supported")
        reading = encoder.read(asked.image, asked.box)
    except UnusableImage as problem:
        raise Refused(problem.code, errors=[{"field": "image", "problem": problem.code}]) from problem
    timings = {**reading.timings_ms, "locate": 0.0}
    return Question(asked, [Seen(asked.box or (0, 0, *reading.size), reading)], encoder.model_version, timings)
