"""Real cheques with the signature painted out, and what is printed under it printed again.

No picture shows what lies under a signature, but cheques of one bank are printed alike, so the caption of one that
nobody signed across stands for all of them. All 88 were looked at:

    python -m training.blanks --data DATA --out sheet.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIGNATURE = "7"  # its class in the labels
LENGTH = 20.3  # centimetres, of every one of these cheques
# Of each bank a cheque with nothing written across its caption, and where that is: left, top, width, height.
CAPTIONS = {
    "Cheque006": (1695, 775, 195, 32),
    "Cheque014": (1820, 770, 158, 30),
    "Cheque062": (1868, 746, 186, 66),
}
DOT, MANY = 60, 150  # pixels; where there are many smaller pieces, they are what is left of a pale background
GROWN = 40  # pixels about the labelled box in which strokes begin that left it
WHITE = 254


@dataclass(frozen=True)
class Cheque:
    """Grey uint8 (h, w), and the labelled box of its signature field (left, top, width, height)."""

    name: str
    grey: np.ndarray
    box: tuple[int, int, int, int]

    @property
    def cm(self) -> float:
        """Pixels to the centimetre."""
        return self.grey.shape[1] / LENGTH


def signed(root: Path) -> list[Cheque]:
    """The 88 cheques of `cheques/idrbt` as they are."""
    found = []
    for path in sorted((root / "images").glob("*.jpg")):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        lines = [line.split() for line in (root / "labels" / f"{path.stem}.txt").read_text("utf-8").splitlines()]
        x, y, w, h = next(tuple(map(float, line[1:])) for line in lines if line[0] == SIGNATURE)
        size = np.array([grey.shape[1], grey.shape[0]] * 2)
        left, top, width, height = np.round(np.array([x - w / 2, y - h / 2, w, h]) * size).astype(int).tolist()
        found.append(Cheque(path.stem, grey, (left, top, width, height)))
    return found


def blank(root: Path) -> list[Cheque]:
    """The same without signatures."""
    cheques = signed(root)
    captions = [_part(c.grey, CAPTIONS[c.name]) for c in cheques if c.name in CAPTIONS]
    return [_painted(cheque, captions) for cheque in cheques]


def _part(grey: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, width, height = box
    return grey[top : top + height, left : left + width]


def _painted(cheque: Cheque, captions: list[np.ndarray]) -> Cheque:
    left, top, width, height = cheque.box
    grey = cheque.grey.copy()
    field = np.s_[max(0, top - 2 * GROWN) : top + height + GROWN, max(0, left - 4 * GROWN) :]
    part = grey[field]
    if grey.shape[1] > 2300:  # one was scanned at a higher resolution
        captions = [cv2.resize(c, None, fx=1.11, fy=1.11, interpolation=cv2.INTER_LINEAR) for c in captions]
    found = [(cv2.minMaxLoc(cv2.matchTemplate(part, c, cv2.TM_CCOEFF_NORMED)), c) for c in captions]
    (_, _, _, (x, y)), printed = max(found, key=lambda one: one[0][1] * np.sqrt(one[1].size))
    dark = np.asarray(part < 128, np.uint8)
    dark[:, _bars(grey, cheque.box) - max(0, left - 4 * GROWN) :] = 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    near = labels[GROWN : GROWN + height + GROWN, 3 * GROWN : 5 * GROWN + width]
    least = DOT if np.count_nonzero(stats[:, cv2.CC_STAT_AREA] < DOT) > MANY else 0
    gone = np.isin(labels, [n for n in np.unique(near) if n and stats[n, cv2.CC_STAT_AREA] >= least])
    part[cv2.dilate(np.asarray(gone, np.uint8), np.ones((5, 5), np.uint8)).astype(bool)] = WHITE
    under = part[y : y + len(printed), x : x + printed.shape[1]]
    np.minimum(under, printed, out=under)
    return Cheque(cheque.name, grey, cheque.box)


def _bars(grey: np.ndarray, box: tuple[int, int, int, int]) -> int:
    """Column where an upright bar code at the right border begins, the width where there is none."""
    top = box[1]
    share = (grey[top - 10 : top + 70, box[0] + 100 :] < 128).mean(0)
    barred = cv2.blur(np.asarray((share > 0.2) & (share < 0.9), np.float32)[None], (15, 1))[0] > 0.95
    return box[0] + 100 + int(np.argmax(barred)) - 9 if barred.any() else grey.shape[1]


def sheet(root: Path) -> np.ndarray:
    """A picture uint8: the corner of every cheque before and after, twelve a row."""
    cells = []
    for before, after in zip(signed(root), blank(root), strict=True):
        pair = np.vstack([cheque.grey[-480:-100, -620:] for cheque in (before, after)])
        cv2.putText(pair, before.name[-3:], (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2)
        cells.append(cv2.resize(pair, None, fx=0.36, fy=0.36, interpolation=cv2.INTER_AREA))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 8)
    return np.vstack([np.hstack(cells[at : at + 8]) for at in range(0, len(cells), 8)])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.blanks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("blanks.png"))
    chosen = parser.parse_args(arguments)
    cv2.imwrite(str(chosen.out), sheet(chosen.data / "cheques" / "idrbt"))


if __name__ == "__main__":
    main()
