"""Real signatures, CEDAR's scans as they are: who enrols with what, and what is questioned.

Scans that the product itself doubts or refuses are left out: the reference way has no such gate.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from pathlib import Path

from embeddings import Encoder, UnusableImage
from training.datasets import cedar

SPECIMENS = 3


@dataclass(frozen=True)
class Writer:
    """`specimens` are enrolled; `questioned` are other genuine signatures and forgeries of the same name."""

    name: str
    specimens: list[Path]
    questioned: list[Path]

    @property
    def account_id(self) -> str:
        return f"account-{self.name}"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The first specimen with each questioned signature."""
        return [(str(self.specimens[0]), str(path)) for path in self.questioned]


@cache
def writers(root: Path, count: int, questioned: int) -> list[Writer]:
    """The first `count` writers, with so many genuine and as many forged questioned signatures each."""
    encoder = Encoder.load(os.environ.get("COUNTERSIGN_BUNDLE"))
    found = []
    for owner, signatures in islice(groupby(cedar(root), key=lambda signature: signature.owner), count):
        every = list(signatures)
        genuine = _good(encoder, (one.path for one in every if one.genuine))
        forged = _good(encoder, (one.path for one in every if not one.genuine))
        specimens = list(islice(genuine, SPECIMENS))
        asked = [*islice(genuine, questioned), *islice(forged, questioned)]
        found.append(Writer(owner.rpartition("/")[2], specimens, asked))
    return found


def _good(encoder: Encoder, paths: Iterator[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            if encoder.read(path.read_bytes()).quality.ok:
                yield path
        except UnusableImage:
            continue
