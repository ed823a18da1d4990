"""Readers of signature collections: where the images lie and who wrote them. No pixel is decoded here.

Every reader answers the same thing, a list of `Signature`, sorted, so that an index into it is stable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CEDAR_NAME = re.compile(r"(?:original|forgeries)_(\d+)_(\d+)\.png")


class BrokenDataset(ValueError):
    """The folder is not laid out as its collection's own archive lays it out."""


@dataclass(frozen=True, order=True)
class Signature:
    """One image. `owner` is whose signature it claims to be; `text` groups owners who write the same words,
    so that they are natural impostors of each other (elsewhere it equals `owner`)."""

    owner: str
    genuine: bool
    path: Path
    text: str

    @property
    def source(self) -> str:
        return self.owner.split("/", 1)[0]


def cedar(root: Path) -> list[Signature]:
    """CEDAR in its archive's layout, `full_org/original_W_N.png` and `full_forg/forgeries_W_N.png`, found in
    `root` or in `root/signatures`; owners are `cedar/01` and so on. Raises BrokenDataset (Kalera et al., 2004)."""
    top = root / "signatures" if (root / "signatures").is_dir() else root
    found = [
        *_cedar_half(top / "full_org", genuine=True),
        *_cedar_half(top / "full_forg", genuine=False),
    ]
    genuine = {s.owner for s in found if s.genuine}
    forged = {s.owner for s in found if not s.genuine}
    if genuine != forged:
        lacking = ", ".join(sorted(genuine ^ forged))
        raise BrokenDataset(f"{top}: these writers have only genuine or only forged signatures: {lacking}")
    return sorted(found)


def _cedar_half(folder: Path, *, genuine: bool) -> list[Signature]:
    if not folder.is_dir():
        raise BrokenDataset(
            f"{folder} is missing; CEDAR holds full_org/original_W_N.png and full_forg/forgeries_W_N.png"
        )
    found = []
    for path in sorted(folder.glob("*.png")):
        name = _CEDAR_NAME.fullmatch(path.name)
        if name is None:
            raise BrokenDataset(f"{path}: expected original_W_N.png or forgeries_W_N.png")
        owner = f"cedar/{int(name[1]):02d}"
        found.append(Signature(owner, genuine, path, owner))
    if not found:
        raise BrokenDataset(f"{folder} holds no PNG")
    return found


def by_folder(root: Path, source: str) -> list[Signature]:
    """Collections laid out as `genuine/WRITER/*.png` and `forged/WRITER/*.png`: SigComp 2011 Dutch, SVC 2004 and
    what `training.synthetic` writes. Raises BrokenDataset."""
    if not (root / "genuine").is_dir():
        raise BrokenDataset(f"{root / 'genuine'} is missing; expected genuine/WRITER/*.png")
    found = []
    for half, genuine in (("genuine", True), ("forged", False)):
        for path in sorted((root / half).glob("*/*.png")):
            owner = f"{source}/{path.parent.name}"
            found.append(Signature(owner, genuine, path, owner))
    return sorted(found)


def cross_media(root: Path) -> list[Signature]:
    """Chinese names written on paper, tablet and phone: `genuine/WRITER/N.png`, where N counts ten names over and
    over. A person's way to write one name is one owner; the other people who wrote that name are impostors."""
    if not (root / "genuine").is_dir():
        raise BrokenDataset(f"{root / 'genuine'} is missing; expected genuine/WRITER/N.png")
    found = []
    for path in sorted((root / "genuine").glob("*/*.png")):
        name = (int(path.stem) - 1) % 10
        found.append(Signature(f"cross-media/{path.parent.name}-{name}", True, path, f"cross-media/{name}"))
    return sorted(found)


def owners(signatures: Iterable[Signature]) -> list[str]:
    """Every owner once, sorted."""
    return sorted({s.owner for s in signatures})
