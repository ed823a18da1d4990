"""What is asked of an account: a questioned image with what the caller says of it, and the signatures read on it."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embeddings import cheque
from embeddings.cheque import Region
from embeddings.decode import decode
from embeddings.encoder import Encoder, Reading
from embeddings.errors import UnusableImage
from embeddings.preprocess import Box, crop
from service.dates import today
from service.errors import Refused

Kind = Literal["signature", "cheque"]

MOST = 6
"""Signatures that are looked at on one cheque, the surest first: telling whose they are doubles with each."""


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
    """Raises `Refused` with the image's own code."""
    try:
        return _read_cheque(encoder, asked) if asked.kind == "cheque" else _read_signature(encoder, asked)
    except UnusableImage as problem:
        raise Refused(problem.code, errors=[{"field": "image", "problem": problem.code}]) from problem


def _read_signature(encoder: Encoder, asked: Asked) -> Question:
    reading = encoder.read(asked.image, asked.box)
    timings = {**reading.timings_ms, "locate": 0.0}
    return Question(asked, [Seen(asked.box or (0, 0, *reading.size), reading)], encoder.model_version, timings)


def _read_cheque(encoder: Encoder, asked: Asked) -> Question:
    started = perf_counter()
    page = decode(asked.image)
    decoded = perf_counter()
    regions = _regions(page, asked.box)[:MOST]
    masks = [region.mask for region in regions]
    timings = {"decode": 1e3 * (decoded - started), "locate": 1e3 * (perf_counter() - decoded)}
    read = [(region, _read_ink(encoder, mask)) for region, mask in zip(regions, masks, strict=True)]
    seen = [Seen(region.box, reading) for region, reading in read if reading is not None]
    for step in ("preprocess", "embed"):
        timings[step] = sum(one.reading.timings_ms[step] for one in seen)
    return Question(asked, seen, encoder.model_version, timings)


def _regions(page: NDArray[np.uint8], box: Box | None) -> list[Region]:
    if box is None:
        return cheque.find_in(page)
    crop(page, box)  # refuses one that is not on the page
    return [cheque.lift_box(page, box)]


def _read_ink(encoder: Encoder, mask: NDArray[np.uint8]) -> Reading | None:
    """None where no pen wrote, whatever it looked like from afar."""
    try:
        return encoder.read_mask(mask)
    except UnusableImage:
        return None
