"""What a cheque costs: the same signatures scanned alone and lifted off cheques, same references, same bundle.

    python -m training.lifted --data DATA --out runs/lifted
    python -m training.lifted --data DATA --sheet sheet.png

References are the plain scans, because specimens are enrolled on plain paper; questions are the same signatures on
cheques (`training.composed`): cut out by the box of their ink as if that were a plain scan, lifted from that box, and
lifted from where `embeddings.cheque` finds them.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from embeddings import Encoder, UnusableImage
from embeddings.cheque import find_in
from embeddings.ink import find_ink
from embeddings.lift import lift
from embeddings.preprocess import normalise, preprocess
from training import blanks, datasets, folds
from training.cheques import ink
from training.composed import Compose, Question, on_drawn, on_real, question
from training.datasets import Signature
from training.measure import Errors, run_trials

REFERENCES = (1, 3)
WAYS = ("alone", "cut", "lifted", "found")
FAR = 100.0  # in every coordinate: what cannot be read is nobody's signature


def signatures(data: Path) -> dict[str, list[Signature]]:
    """The sets that are asked: CEDAR's writers from whom lifting has not learned (the bundle that ships has), and
    two sets that nothing has learned from."""
    unseen = set(folds.split(0)[2])
    return {
        "CEDAR, 11 writers": [s for s in datasets.cedar(data / "cedar") if s.owner in unseen],
        "SigComp 2011 Dutch": datasets.by_folder(data / "sigcomp2011-dutch", "dutch"),
        "SVC 2004": datasets.by_folder(data / "svc2004", "svc"),
    }


def some(found: Sequence[Signature], each: int) -> list[Signature]:
    """At most `each` genuine signatures and `each` forgeries of everybody."""
    groups = itertools.groupby(found, lambda s: (s.owner, s.genuine))
    return [s for _, group in groups for s in list(group)[:each]]


@dataclass(frozen=True)
class Asked:
    """Vectors float32 (n, d) of the same signatures by way of reading, and how many could not be read that way."""

    vectors: dict[str, np.ndarray]
    owner: np.ndarray
    genuine: np.ndarray
    lost: dict[str, int]

    def errors(self, encoder: Encoder, references: int) -> dict[str, Errors]:
        typical, alone = encoder.bundle.head.typical, self.vectors["alone"]
        return {
            way: Errors(
                run_trials(vectors, self.owner, self.genuine, references=references, enrolled=alone, typical=typical)
            )
            for way, vectors in self.vectors.items()
        }


def ask(encoder: Encoder, found: Sequence[Signature], compose: Compose, name: str) -> Asked:
    """Every signature all ways. What cannot be read counts as unlike everything."""
    rows: list[dict[str, np.ndarray | None]] = []
    kept = []
    for signature in track(found, description=name):
        try:
            alone = encoder.embed([signature.path.read_bytes()])[0]
        except UnusableImage:
            continue
        asked = question(signature, compose)
        if asked is not None:
            masks = (cut_out(asked), lift(asked.grey, asked.box), where_found(asked.grey))
            rows.append(dict(zip(WAYS, (alone, *(_read(encoder, mask) for mask in masks)), strict=True)))
            kept.append(signature)
    far = np.full(encoder.dimension, FAR, np.float32)
    return Asked(
        {way: np.stack([far if row[way] is None else row[way] for row in rows]) for way in WAYS},
        np.array([s.owner for s in kept]),
        np.array([s.genuine for s in kept]),
        {way: sum(row[way] is None for row in rows) for way in WAYS},
    )


def cut_out(asked: Question) -> np.ndarray:
    left, top, width, height = asked.box
    return find_ink(asked.grey[max(0, top) : top + height, max(0, left) : left + width])


def where_found(grey: np.ndarray) -> np.ndarray:
    """The ink of the surest signature on the page, empty if there is none."""
    try:
        regions = find_in(grey)
    except UnusableImage:
        regions = []
    return regions[0].mask if regions else np.zeros((1, 1), np.uint8)


def _read(encoder: Encoder, mask: np.ndarray) -> np.ndarray | None:
    try:
        return encoder.read_mask(mask).vector
    except UnusableImage:
        return None


def figures(encoder: Encoder, asked: Asked) -> dict:
    """EER in shares of one by way, and how much more it is than alone, with 95 % intervals over the same draws of
    writers."""
    found: dict = {"images": len(asked.owner), "lost": asked.lost, "eer": {}}
    for count in REFERENCES:
        errors = asked.errors(encoder, count)
        alone = errors["alone"]
        for kind in ("skilled", "random"):
            row = {way: alone.interval(lambda w, k=kind, e=errors[way]: e.eer(k, w)) for way in WAYS}
            for way in ("lifted", "found"):
                row[f"{way} less alone"] = alone.interval(
                    lambda w, k=kind, e=errors[way], a=alone: e.eer(k, w) - a.eer(k, w)
                )
            found["eer"][f"{kind}, {count}"] = row
    return found


def report(found: dict[str, dict]) -> str:
    """Markdown."""
    columns = (*WAYS, "lifted less alone", "found less alone")
    lines = ["| set | errors, references | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for name, rows in found.items():
        for kind, row in rows["eer"].items():
            lines.append(f"| {name} | {kind} | " + " | ".join(_percent(row[column]) for column in columns) + " |")
    lines += ["", "| set | images | unreadable |", "|---|---|---|"]
    for name, rows in found.items():
        lines.append(f"| {name} | {rows['images']} | {', '.join(f'{w} {n}' for w, n in rows['lost'].items())} |")
    return "\n".join(lines) + "\n"


def _percent(rate: dict[str, float]) -> str:
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def sheet(found: Sequence[Signature], compose: Compose) -> np.ndarray:
    """A picture uint8: for each signature the question, what was lifted, the canvas of the plain scan and of that."""
    cells = []
    for signature in found:
        asked = question(signature, compose)
        try:
            plain = preprocess(signature.path.read_bytes())
        except UnusableImage:
            continue
        if asked is None:
            continue
        mask = lift(asked.grey, asked.box)
        left, top, width, height = asked.box
        field = asked.grey[max(0, top - 40) : top + height + 60, max(0, left - 60) : left + width + 60]
        both = np.hstack([plain, normalise(mask)])
        cells.append(np.vstack([_fitted(field), _fitted(255 - 255 * mask), (255 - 255 * both).astype(np.uint8)]))
    cells = [cv2.copyMakeBorder(cell, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=128) for cell in cells]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 6)
    return np.vstack([np.hstack(cells[at : at + 6]) for at in range(0, len(cells), 6)])


def _fitted(grey: np.ndarray, width: int = 512, height: int = 200) -> np.ndarray:
    scale = min(width / grey.shape[1], height / grey.shape[0])
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cell = np.full((height, width), 255, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small[:height, :width]
    return cell


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.lifted", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="by default the one that ships")
    parser.add_argument("--out", type=Path, default=Path("runs/lifted"))
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="drawn handwriting is kept there")
    parser.add_argument("--on", choices=("real", "drawn"), default="real", help="which cheques")
    parser.add_argument("--each", type=int, default=24, help="genuine signatures and forgeries of everybody, at most")
    parser.add_argument("--sheet", type=Path, help="write a picture of some instead")
    chosen = parser.parse_args(arguments)
    sets = signatures(chosen.data)
    if chosen.on == "real":
        compose = on_real(blanks.blank(chosen.data / "cheques" / "idrbt"))
    else:
        compose = on_drawn(ink.load(chosen.cache, None, people=240, hands=90, first=50_000))
    if chosen.sheet:
        shown = [s for found in sets.values() for s in found[:: len(found) // 16]]
        cv2.imwrite(str(chosen.sheet), sheet(shown, compose))
        return
    encoder = Encoder.load(chosen.bundle)
    measured = {}
    for name, found in sets.items():
        measured[name] = figures(encoder, ask(encoder, some(found, chosen.each), compose, f"{name} on {chosen.on}"))
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / f"{chosen.on}.json").write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
        (chosen.out / f"{chosen.on}.md").write_text(report(measured), "utf-8")
    Console().print(report(measured))


if __name__ == "__main__":
    main()
