"""Real cheques with the boxes that people drew around their signatures, and what can be made of them to test with.

They test, and tune nothing that ships.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from training.cheques.ink import resized, transparent

SIGNATURE = 7  # of classes.txt
Box = tuple[float, float, float, float]
LETTER = 34  # pixels; what is larger, on cheques 2000 pixels wide, is no letter of a caption
ROW = 5  # letters that stand on one line are print


@dataclass(frozen=True)
class Labelled:
    """A cheque uint8 (h, w) or (h, w, 3) and the boxes (left, top, width, height) of its signatures."""

    name: str
    image: np.ndarray
    boxes: list[Box]


def read(folder: Path, limit: int | None = None) -> list[Labelled]:
    """Images and YOLO labels of `folder/images` and `folder/labels`; those without a signature's box are left out."""
    found = []
    for path in sorted((folder / "images").glob("*.jpg"))[:limit]:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        label = folder / "labels" / f"{path.stem}.txt"
        boxes = _boxes(label, image.shape) if label.exists() else []
        if boxes:
            found.append(Labelled(path.stem, image, boxes))
    return found


def _boxes(label: Path, shape: tuple[int, ...]) -> list[Box]:
    rows = [
        [float(value) for value in line.split()] for line in label.read_text("utf-8").splitlines() if line.strip()
    ]
    h, w = shape[:2]
    return [((x - a / 2) * w, (y - b / 2) * h, a * w, b * h) for kind, x, y, a, b in rows if int(kind) == SIGNATURE]


def painted_out(cheque: Labelled) -> Labelled:
    """The cheque before it was signed: ink inside the boxes becomes paper, printed captions stay where they can."""
    image = cheque.image.copy()
    for box in cheque.boxes:
        _paint(image, box)
    return Labelled(cheque.name, image, [])


def _paint(image: np.ndarray, box: Box) -> None:
    left, top = max(0, int(box[0]) - 4), max(0, int(box[1]) - 4)
    crop = image[top : int(box[1] + box[3]) + 4, left : int(box[0] + box[2]) + 4]
    _, marks, stats, _ = cv2.connectedComponentsWithStats(np.asarray(crop < 175, np.uint8), connectivity=4)
    letter = LETTER * image.shape[1] / 2100
    small = [at for at in range(1, len(stats)) if max(stats[at, 2:4]) <= letter and stats[at, 4] > 12]
    feet = np.array([stats[at, 1] + stats[at, 3] for at in small])
    kept = [
        at
        for at, foot in zip(small, feet, strict=True)
        if (np.abs(feet - foot) <= 4).sum() >= ROW and foot > 0.5 * len(crop)
    ]
    gone = cv2.dilate(np.asarray((marks > 0) & ~np.isin(marks, kept), np.uint8), np.ones((5, 5), np.uint8))
    letters = cv2.dilate(np.asarray(np.isin(marks, kept), np.uint8), np.ones((3, 3), np.uint8))
    gone[letters > 0] = 0
    crop[:] = cv2.inpaint(crop, gone, 4, cv2.INPAINT_TELEA)


def composed(cheque: Labelled, signatures: list[np.ndarray], rng: np.random.Generator) -> Labelled:
    """Signatures, grey scans of other writers, written side by side onto a cheque that nobody signed; the last one
    stands where its owner's stood. Boxes are those of the ink."""
    image = cheque.image.copy()
    spots, boxes = _spots(cheque, len(signatures), rng), []
    for grey, (x, y, w, h) in zip(signatures, spots, strict=True):
        ink = transparent(grey)
        ink = resized(ink, min(w / ink.shape[1], h / ink.shape[0]))
        left = int(np.clip(x + (w - ink.shape[1]) / 2, 0, image.shape[1] - ink.shape[1]))
        top = int(np.clip(y + (h - ink.shape[0]) / 2, 0, image.shape[0] - ink.shape[0]))
        place = image[top : top + ink.shape[0], left : left + ink.shape[1]]
        tone = rng.uniform(10, 90)
        place[:] = place - ink / 255 * np.maximum(place.astype(np.float32) - tone, 0)
        boxes.append((float(left), float(top), float(ink.shape[1]), float(ink.shape[0])))
    return Labelled(cheque.name, image, boxes)


def _spots(cheque: Labelled, count: int, rng: np.random.Generator) -> list[Box]:
    """Room for so many signatures in a row, from right to left, the first where the cheque's own stood."""
    h, w = cheque.image.shape
    x, y, width, height = max(cheque.boxes, key=lambda box: box[2] * box[3])
    room = 0.15 * w, 0.13 * h
    spots = []
    middle = [x + width / 2, y + 0.42 * height]
    for _ in range(count):
        size = np.array(room) * rng.uniform(0.8, 1.15)
        spots.append((middle[0] - size[0] / 2, middle[1] - size[1] / 2, *size))
        middle[0] -= room[0] * rng.uniform(1.25, 1.5)
    return spots
