"""What a cheque costs: the same signatures scanned alone and lifted off cheques, same references, same bundle.

    python -m training.lifted --data DATA --out runs/lifted
    python -m training.lifted --data DATA --sheet sheet.png

Every signature of a set is written once onto a real cheque whose own signature was painted out (`training.blanks`):
its ink, 3 to 6 cm wide, a little turned, above and across the caption, then thresholded and compressed as that
scanner did. References are the plain scans, because specimens are enrolled on plain paper.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from embeddings import Encoder, UnusableImage
from embeddings.ink import find_ink, stroke_width
from embeddings.lift import lift
from embeddings.preprocess import normalise, preprocess
from training import blanks, datasets, folds
from training.blanks import Cheque
from training.datasets import Signature
from training.lifting.printed import put
from training.lifting.signed import pen_of, resized
from training.measure import Errors, run_trials

REFERENCES = (1, 3)
WIDTHS, TALLEST = (3.0, 6.0), 2.6  # centimetres
THINNEST = 0.035  # ... and as wide a stroke is at least
TURN = 2.0  # standard deviation in degrees
FAR = 100.0  # in every coordinate: what cannot be read is nobody's signature
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Question:
    """A cheque with a signature on it, grey uint8, and the box of that signature's ink."""

    grey: np.ndarray
    box: Box


def compose(cheque: Cheque, scan: np.ndarray, rng: np.random.Generator) -> Question | None:
    """The ink of a scan on a blank cheque, where its own signature was; None if the scan holds none."""
    pen = pen_of(scan)
    if pen is None:
        return None
    high, wide = pen.cover.shape
    width = cheque.cm * min(rng.uniform(*WIDTHS), TALLEST * wide / high)
    cover = _no_thinner(resized(pen, width, rng.normal(0, TURN), 0), THINNEST * cheque.cm)
    left, top, field_width, field_height = cheque.box
    x = left + (field_width - cover.shape[1]) / 2 + rng.normal(0, 0.3) * cheque.cm
    x = min(x, cheque.grey.shape[1] - 0.5 * cheque.cm - cover.shape[1])
    y = top + field_height - 0.45 * cheque.cm - cover.shape[0] * rng.uniform(0.7, 1.05)
    grey = cheque.grey.copy()
    # What JPEG sees as one block must stay one; the rest of the cheque is as it came from the scanner.
    left, top = max(0, round(x) - 16) // 8 * 8, max(0, round(y) - 16) // 8 * 8
    part = grey[top : top + cover.shape[0] + 32, left : left + cover.shape[1] + 32]
    page = part.astype(np.float32) / 255
    put(page, cover, round(x) - left, round(y) - top, 0.0)
    inked = np.where(page < 0.5, 0, 254).astype(np.uint8)
    part[:] = cv2.imdecode(cv2.imencode(".jpg", inked, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_GRAYSCALE)
    box = cv2.boundingRect(np.asarray(cover > 0.4, np.uint8))
    return Question(grey, (round(x) + box[0], round(y) + box[1], box[2], box[3]))


def _no_thinner(cover: np.ndarray, least: float) -> np.ndarray:
    """No pen writes a finer line than this, but a large picture of a fine line shrinks to one."""
    lacking = round(least - stroke_width(np.asarray(cover > 0.5, np.uint8)))
    if lacking < 1:
        return cover
    return cv2.dilate(cover, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lacking + 1, lacking + 1)))


def question(signature: Signature, cheques: Sequence[Cheque]) -> Question | None:
    """The signature on a cheque that depends on the file's content alone, so that every run asks the same."""
    content = signature.path.read_bytes()
    rng = np.random.default_rng(zlib.crc32(content))
    scan = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    return compose(cheques[int(rng.integers(len(cheques)))], scan, rng)


def signatures(data: Path) -> dict[str, list[Signature]]:
    """The sets that are asked: CEDAR's writers from whom lifting has not learned (the bundle that ships has), and
    two sets that nothing has learned from."""
    unseen = set(folds.split(0)[2])
    return {
        "CEDAR, 11 writers": [s for s in datasets.cedar(data / "cedar") if s.owner in unseen],
        "SigComp 2011 Dutch": datasets.by_folder(data / "sigcomp2011-dutch", "dutch"),
        "SVC 2004": datasets.by_folder(data / "svc2004", "svc"),
    }


@dataclass(frozen=True)
class Asked:
    """Vectors float32 (n, d) of the same signatures scanned alone, cut out of the cheque as if it were a plain scan,
    and lifted; `lost` could not be read once lifted."""

    alone: np.ndarray
    cut: np.ndarray
    lifted: np.ndarray
    owner: np.ndarray
    genuine: np.ndarray
    lost: int

    def errors(self, encoder: Encoder, references: int) -> dict[str, Errors]:
        head = encoder.bundle.head
        return {
            name: Errors(
                run_trials(
                    queries,
                    self.owner,
                    self.genuine,
                    references=references,
                    enrolled=self.alone,
                    typical=head.typical,
                )
            )
            for name, queries in (("alone", self.alone), ("cut", self.cut), ("lifted", self.lifted))
        }


def ask(encoder: Encoder, found: Sequence[Signature], cheques: Sequence[Cheque], name: str) -> Asked:
    """Every signature all ways. What cannot be read counts as unlike everything."""
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    kept, lost = [], 0
    for signature in track(found, description=name):
        asked = question(signature, cheques)
        try:
            alone = encoder.embed([signature.path.read_bytes()])[0]
        except UnusableImage:
            continue
        if asked is None:
            continue
        left, top, width, height = asked.box
        cut = _read(encoder, find_ink(asked.grey[top : top + height, left : left + width]))
        lifted = _read(encoder, lift(asked.grey, asked.box))
        lost += lifted is None
        far = np.full(encoder.dimension, FAR, np.float32)
        rows.append((alone, far if cut is None else cut, far if lifted is None else lifted))
        kept.append(signature)
    owner, genuine = np.array([s.owner for s in kept]), np.array([s.genuine for s in kept])
    return Asked(*(np.stack(column) for column in zip(*rows, strict=True)), owner, genuine, lost)


def _read(encoder: Encoder, mask: np.ndarray) -> np.ndarray | None:
    try:
        return encoder.read_mask(mask).vector
    except UnusableImage:
        return None


def figures(encoder: Encoder, asked: Asked) -> dict:
    """EER in shares of one, alone, lifted and the difference, each with its 95 % interval over the same draws of
    writers."""
    found: dict = {"images": len(asked.owner), "lost": asked.lost}
    for count in REFERENCES:
        errors = asked.errors(encoder, count)
        alone, cut, lifted = errors["alone"], errors["cut"], errors["lifted"]
        for kind in ("skilled", "random"):
            found[f"{kind}, {count}"] = {
                "alone": alone.interval(lambda w, k=kind, e=alone: e.eer(k, w)),
                "cut": cut.interval(lambda w, k=kind, e=cut: e.eer(k, w)),
                "lifted": lifted.interval(lambda w, k=kind, e=lifted: e.eer(k, w)),
                "difference": alone.interval(lambda w, k=kind, a=alone, b=lifted: b.eer(k, w) - a.eer(k, w)),
            }
    return found


def report(found: dict[str, dict]) -> str:
    """Markdown."""
    lines = [
        "| set | errors, references | alone | cut out | lifted | lifted less alone |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        for kind, row in rows.items():
            if isinstance(row, dict):
                cells = " | ".join(_percent(row[part]) for part in ("alone", "cut", "lifted", "difference"))
                lines.append(f"| {name} ({rows['images']} images, {rows['lost']} lost) | {kind} | {cells} |")
    return "\n".join(lines) + "\n"


def _percent(rate: dict[str, float]) -> str:
    return f"{100 * rate['value']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def sheet(found: Sequence[Signature], cheques: Sequence[Cheque]) -> np.ndarray:
    """A picture uint8: for each signature the question, what was lifted, the canvas of the plain scan and of that."""
    cells = []
    for signature in found:
        asked = question(signature, cheques)
        if asked is None:
            continue
        mask = lift(asked.grey, asked.box)
        left, top, width, height = asked.box
        field = asked.grey[max(0, top - 40) : top + height + 60, max(0, left - 60) : left + width + 60]
        try:
            plain = preprocess(signature.path.read_bytes())
        except UnusableImage:
            continue
        both = np.hstack([plain, normalise(mask)])
        cells.append(np.vstack([_fitted(field), _fitted(255 - 255 * mask), (255 - 255 * both).astype(np.uint8)]))
    cells = [cv2.copyMakeBorder(cell, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=128) for cell in cells]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 4)
    return np.vstack([np.hstack(cells[at : at + 4]) for at in range(0, len(cells), 4)])


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
    parser.add_argument("--sheet", type=Path, help="write a picture of some instead")
    parser.add_argument("--every", type=int, default=1, help="ask only every so manieth writer")
    chosen = parser.parse_args(arguments)
    sets = signatures(chosen.data)
    cheques = blanks.blank(chosen.data / "cheques" / "idrbt")
    if chosen.sheet:
        some = [s for found in sets.values() for s in found[:: len(found) // 12]]
        cv2.imwrite(str(chosen.sheet), sheet(some, cheques))
        return
    encoder = Encoder.load(chosen.bundle)
    found = {}
    for name, asked in sets.items():
        owners = set(datasets.owners(asked)[:: chosen.every])
        found[name] = figures(encoder, ask(encoder, [s for s in asked if s.owner in owners], cheques, name))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "lifted.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (chosen.out / "lifted.md").write_text(report(found), "utf-8")
    Console().print(report(found))


if __name__ == "__main__":
    main()
