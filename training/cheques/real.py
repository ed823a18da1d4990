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
PRESSED = 90  # of 255; where a pen covered more, a scan in black and white shows it
TRIED, EDGE = 40, 25  # places for a signature, and pixels of free paper around it
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
    """Signatures, grey scans of other writers, written onto a cheque that nobody signed: the first where its owner's
    stood, the others on free paper in the lower half. As black as these cheques are; boxes are those of the ink."""
    image, boxes = cheque.image.copy(), []
    for number, grey in enumerate(signatures):
        ink = transparent(grey)
        room = np.array([0.15 * image.shape[1], 0.13 * image.shape[0]]) * rng.uniform(0.8, 1.15)
        ink = resized(ink, min(room[0] / ink.shape[1], room[1] / ink.shape[0]))
        size = (ink.shape[1], ink.shape[0])
        left, top = _own(cheque, size) if number == 0 else _free(image, size, rng)
        place = image[top : top + size[1], left : left + size[0]]
        place[ink > PRESSED] = np.minimum(place, 20)[ink > PRESSED]
        boxes.append((float(left), float(top), float(size[0]), float(size[1])))
    return Labelled(cheque.name, image, boxes)


def _own(cheque: Labelled, size: tuple[int, int]) -> tuple[int, int]:
    h, w = cheque.image.shape
    x, y, width, height = max(cheque.boxes, key=lambda box: box[2] * box[3])
    left, top = x + (width - size[0]) / 2, y + 0.42 * height - size[1] / 2
    return int(np.clip(left, 0, w - size[0])), int(np.clip(top, 0, h - size[1]))


def _free(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Of some places in the lower half the one with the least print and ink on it and around it."""
    h, w = image.shape
    tried = np.column_stack(
        [rng.uniform(0.2 * w, 0.95 * w - size[0], TRIED), rng.uniform(0.52 * h, 0.86 * h - size[1], TRIED)]
    )

    def dark(spot: np.ndarray) -> int:
        left, top = int(spot[0]) - EDGE, int(spot[1]) - EDGE
        return int((image[top : top + size[1] + 2 * EDGE, left : left + size[0] + 2 * EDGE] < 128).sum())

    left, top = min(tried, key=dark)
    return int(left), int(top)
