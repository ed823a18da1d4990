"""Where people are to sign, and where they do."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.cheques.ink import Bank, cut, resized
from training.cheques.printing import gibberish, text
from training.cheques.sheet import WIDTH, Sheet, Style, caption

Outline = np.ndarray  # float32 (k, 2), pixels, x before y
MARGIN = 9  # pixels around a field
SIGN = [
    *(
        "Please sign above",
        "Please sign above this line",
        "Authorised signatory",
        "Authorised Signatories",
        "Signature",
    ),
    *(
        "Authorized Signature",
        "Signature(s)",
        "Unterschrift",
        "Firma",
        "Signature du titulaire",
        "Handtekening",
        "Sign here",
    ),
    *("Account holder", "Drawer", "Signed", "AUTHORIZED SIGNATURE", "SIGNATURE", "Director", "Treasurer", "Manager"),
]


@dataclass
class Zone:
    """Where somebody is to sign: the middle of the base line, room, and the caption's box (left, top, w, h)."""

    x: float
    base: float
    room: float
    captions: list[tuple[int, int, int, int]]


def draw_zones(sheet: Sheet, style: Style, rng: np.random.Generator) -> list[Zone]:
    H = sheet.height
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.27, 0.13]))
    room = rng.uniform(140, 330) if count == 1 else rng.uniform(140, min(300, 900 / count))
    stacked = count == 2 and rng.random() < 0.2
    place = rng.choice(["right", "middle", "left", "anywhere"], p=[0.78, 0.08, 0.07, 0.07])
    x = {
        "right": WIDTH - rng.uniform(0.5, 0.75) * room - 10,
        "middle": rng.uniform(420, 600),
        "left": rng.uniform(0.6, 1.4) * room,
    }.get(place, rng.uniform(150, 880))
    base = H * (rng.uniform(0.72, 0.9) if place != "anywhere" else rng.uniform(0.6, 0.9))
    zones = []
    along = 1 if place == "left" else -1
    manner = {
        "line": rng.random() < 0.6,
        "boxed": rng.random() < 0.1,
        "below": rng.random() < 0.7,
        "above": rng.random() < 0.27,
        "printed_name": rng.random() < 0.3,
    }
    written = str(rng.choice(SIGN))
    for number in range(count):
        zx = x if stacked else x + along * number * (room + rng.uniform(5, 40))
        zb = base - number * rng.uniform(65, 95) if stacked else base + rng.normal(0, 4)
        if zx - room / 2 < 5:
            break
        zones.append(_zone(sheet, style, rng, zx, zb, room, written, manner))
    if rng.random() < 0.12:  # somebody signs where nothing is printed for it, or over other print
        x, base, room = rng.uniform(120, 900), H * rng.uniform(0.6, 0.92), rng.uniform(130, 260)
        if all(abs(x - zone.x) > 0.6 * (room + zone.room) or abs(base - zone.base) > 90 for zone in zones):
            zones.append(Zone(x, base, room, []))
    return zones


def _zone(sheet: Sheet, style: Style, rng, x: float, base: float, room: float, written: str, manner: dict) -> Zone:
    captions = []
    if manner["line"]:
        sheet.line((x - room / 2, base), (x + room / 2, base), style.print_tone, style.thick, style.dash)
    if manner["boxed"]:
        sheet.frame(
            x - room / 2, base - rng.uniform(60, 110), room, rng.uniform(80, 120), style.print_tone, style.thick
        )
    y = base + rng.uniform(3, 12)
    if manner["printed_name"]:
        ink = text(gibberish(int(rng.integers(8, 20)), rng).upper(), style.small * 1.2, style.face)
        captions.append(
            sheet.put(ink, x - ink.shape[1] / 2 + rng.normal(0, 8), y - rng.uniform(0, 25), style.print_tone)
        )
        y = captions[-1][1] + captions[-1][3] + 6
    if manner["below"]:
        ink = caption(style, rng, written, rng.uniform(0.9, 1.2))
        captions.append(sheet.put(ink, x - ink.shape[1] / 2 + rng.normal(0, 12), y, style.print_tone))
    if manner["above"]:
        ink = caption(style, rng, "For " + gibberish(12, rng).upper() if rng.random() < 0.5 else written)
        captions.append(sheet.put(ink, x - ink.shape[1] / 2, base - rng.uniform(60, 100), style.print_tone))
    return Zone(x, base, room, [box for box in captions if box[2] and box[3]])


def sign(sheet: Sheet, zone: Zone, bank: Bank, style: Style, rng: np.random.Generator) -> tuple[Outline, Outline]:
    ink = bank.signatures[rng.integers(len(bank.signatures))]
    width = zone.room * np.clip(np.exp(rng.normal(-0.35, 0.4)), 0.25, 1.2)
    tall = rng.uniform(28, 130)
    ink = resized(ink, min(width / ink.shape[1], tall / ink.shape[0]))
    if rng.random() < 0.4:
        turn = cv2.getRotationMatrix2D((ink.shape[1] / 2, ink.shape[0] / 2), rng.normal(2, 7), 0.95)
        ink = cut(cv2.warpAffine(ink, turn, ink.shape[::-1]))
    if rng.random() < 0.35:
        ink = cv2.dilate(ink, np.ones((2, 2), np.uint8))
    x = zone.x - ink.shape[1] / 2 + rng.normal(0, 0.12) * zone.room
    x = float(np.clip(x, 2, WIDTH - ink.shape[1] - 2))
    y = min(zone.base - rng.uniform(0.55, 1.15) * ink.shape[0], sheet.height - ink.shape[0] - 4.0)
    tone = style.pen_tone if rng.random() < 0.7 else rng.uniform(0, 120)
    box = sheet.put(ink, x, y, tone)
    rows, columns = np.nonzero(ink > 60)
    points = np.column_stack([columns + round(x), rows + round(y)]).astype(np.float32)
    outline = cv2.convexHull(points)[:, 0] if len(points) else _corners(box, 0)
    own = [one for one in zone.captions if one[1] > zone.base - 30 or _close(one, box)]  # all below, and what is near
    near = [_corners(one, 0) for one in own]
    around = np.concatenate([outline, *near])
    low, high = around.min(axis=0), around.max(axis=0)
    return outline, _corners((*low, *(high - low)), MARGIN)


def _close(print_box: tuple, box: tuple, reach: float = 30) -> bool:
    """Does a caption stand right above or in the ink?"""
    apart = max(print_box[1] - (box[1] + box[3]), box[1] - (print_box[1] + print_box[3]))
    beside = max(print_box[0] - (box[0] + box[2]), box[0] - (print_box[0] + print_box[2]))
    return apart < reach and beside < 10


def _corners(box, margin: float) -> Outline:
    x, y, w, h = box
    x, y, w, h = x - margin, y - margin, w + 2 * margin, h + 2 * margin
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)
