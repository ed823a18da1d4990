"""Pictures to look at: drawn scenes with what the network is to answer."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from training.cheques import scenes
from training.cheques.capture import Scene, box

CELL = (640, 340)  # width, height


def contact_sheet(out: Path, cache: Path, data: Path | None, numbers: range, columns: int = 3) -> None:
    """Scenes `numbers`, three in a row: ink outlined in blue, fields in red, the way of writing as an arrow."""
    bank = scenes.bank_of(numbers.start, cache, data)
    cells = [cell(scenes.scene(number, bank)) for number in track(numbers, "drawing", transient=True)]
    cells += [np.full_like(cells[0], 128)] * (-len(cells) % columns)
    rows = [np.hstack(cells[at : at + columns]) for at in range(0, len(cells), columns)]
    cv2.imwrite(str(out), np.vstack(rows))


def cell(scene: Scene) -> np.ndarray:
    picture = cv2.cvtColor(scene.grey, cv2.COLOR_GRAY2BGR)
    for truth in scene.truths:
        cv2.polylines(picture, [truth.ink.astype(np.int32)], True, (255, 0, 0), 1, cv2.LINE_AA)
        x, y, w, h = (int(value) for value in box(truth.field))
        cv2.rectangle(picture, (x, y), (x + w, y + h), (0, 0, 255), 2)
        start = truth.ink.mean(axis=0)
        end = start + 40 * np.array([np.cos(truth.angle), np.sin(truth.angle)])
        cv2.arrowedLine(picture, start.astype(int).tolist(), end.astype(int).tolist(), (0, 150, 0), 2, tipLength=0.3)
    for page in scene.cheques:
        x, y = page.corners.mean(axis=0)
        cv2.circle(picture, (int(x), int(y)), 8, (200, 0, 200), 2)
        cv2.polylines(picture, [page.corners.astype(np.int32)], True, (200, 0, 200), 1)
    scale = min(CELL[0] / picture.shape[1], CELL[1] / picture.shape[0])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    framed = np.full((CELL[1], CELL[0], 3), 128, np.uint8)
    framed[: small.shape[0], : small.shape[1]] = small[: CELL[1], : CELL[0]]
    return framed
