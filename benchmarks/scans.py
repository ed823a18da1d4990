"""Real signatures, CEDAR's scans as they are: who enrols with what, and what is questioned."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

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


def writers(root: Path, count: int, questioned: int) -> list[Writer]:
    """The first `count` writers, with so many genuine and as many forged questioned signatures each."""
    found = []
    for owner, signatures in groupby(cedar(root), key=lambda signature: signature.owner):
        every = list(signatures)
        genuine = [one.path for one in every if one.genuine]
        forged = [one.path for one in every if not one.genuine]
        found.append(
            Writer(
                owner.rpartition("/")[2],
                genuine[:SPECIMENS],
                genuine[SPECIMENS : SPECIMENS + questioned] + forged[:questioned],
            )
        )
    return found[:count]
