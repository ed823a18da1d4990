"""Cheques that no bank issued: layouts, fields, print and handwriting, all from a seed.

A cheque is laid out on a sheet `WIDTH` pixels wide. What is known of each signature on it: the outline of its ink,
and the outline of its field, the ink with the caption printed for it and a small margin, as a person would frame
it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from training.cheques import paper, printing
from training.cheques.ink import Bank, Ink, Script, cut, resized
from training.cheques.printing import digits, foreign, gibberish, text

WIDTH = 1024
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
PAY = [
    "Pay",
    "PAY",
    "Pay to the order of",
    "Pay against this cheque",
    "A l'ordre de",
    "Payez contre ce cheque",
    "An",
    "A",
]
WORDS = ["Rupees", "RUPEES", "Dollars", "The sum of", "Amount", "Euros", "Betrag", "Somme", "Sum of pounds", "Pounds"]
NOTES = [
    "Payable at par at all branches",
    "Valid for three months",
    "Or bearer",
    "Non transferable",
    "Not negotiable",
]
CURRENCY = ["₹", "$", "€", "£", "S$", "CHF", "Rs.", "¥", "US$"]

Outline = np.ndarray  # float32 (k, 2), pixels, x before y


@dataclass
class Cheque:
    """A sheet uint8 (h, w), dark on light, upright, and the outlines of the signatures' ink and fields on it."""

    grey: np.ndarray
    inks: list[Outline] = field(default_factory=list)
    fields: list[Outline] = field(default_factory=list)


@dataclass
class Sheet:
    """A page being printed and written on, float32 (h, w)."""

    grey: np.ndarray
    rng: np.random.Generator

    @property
    def height(self) -> int:
        return self.grey.shape[0]

    def put(self, ink: Ink, x: float, y: float, tone: float) -> tuple[int, int, int, int]:
        """Lays ink with its left top at (x, y) and answers the box that it takes up on the page."""
        x, y = round(x), round(y)
        left, top = max(0, x), max(0, y)
        right, bottom = min(self.grey.shape[1], x + ink.shape[1]), min(self.height, y + ink.shape[0])
        if right <= left or bottom <= top:
            return left, top, 0, 0
        place = self.grey[top:bottom, left:right]
        cover = ink[top - y : bottom - y, left - x : right - x].astype(np.float32) * (1 / 255)
        place -= cover * np.maximum(place - tone, 0)
        return left, top, right - left, bottom - top

    def line(
        self, a: tuple[float, float], b: tuple[float, float], tone: float, thick: int = 1, dash: int = 0
    ) -> None:
        start, end = np.array(a), np.array(b)
        if not dash:
            cv2.line(self.grey, *(tuple(int(v) for v in p) for p in (start, end)), tone, thick, cv2.LINE_AA)
            return
        count = max(1, int(np.hypot(*(end - start)) / dash))
        for part in range(0, count, 2):
            p, q = (start + (end - start) * share / count for share in (part, part + 1))
            cv2.line(self.grey, tuple(int(v) for v in p), tuple(int(v) for v in q), tone, thick)

    def frame(self, x: float, y: float, w: float, h: float, tone: float, thick: int = 1) -> None:
        cv2.rectangle(self.grey, (int(x), int(y)), (int(x + w), int(y + h)), tone, thick)


@dataclass
class Style:
    """What a cheque has in one manner throughout."""

    face: str
    small: float  # height of captions
    print_tone: float
    pen_tone: float
    script: Script
    write_scale: float
    filled: float  # share of fields that are filled in
    typed: bool
    thick: int
    dash: int


def draw(rng: np.random.Generator, bank: Bank, signed: bool | None = None) -> Cheque:
    """A cheque; `signed` says whether anybody signed it, by default five in six are."""
    height = int(WIDTH / rng.uniform(1.95, 2.75))
    sheet = Sheet(paper.draw((height, WIDTH), rng), rng)
    style = _style(rng, bank)
    _head(sheet, style, rng)
    _body(sheet, style, rng)
    zones = _zones(sheet, style, rng)
    _foot(sheet, style, rng)
    if rng.random() < 0.22:
        _stamp(sheet, rng)
    inks, fields = [], []
    will = rng.random() < 0.84 if signed is None else signed
    for number, zone in enumerate(zones):
        if will and (number == 0 or rng.random() < 0.7):
            ink, around = _sign(sheet, zone, bank, style, rng)
            inks.append(ink)
            fields.append(around)
    if rng.random() < 0.1:
        _stamp(sheet, rng)
    if rng.random() < 0.12:
        _crossing(sheet, style, rng)
    return Cheque(_printed(sheet.grey, rng), inks, fields)


def _style(rng: np.random.Generator, bank: Bank) -> Style:
    return Style(
        face=str(rng.choice(printing.FACES)),
        small=rng.uniform(6, 10.5),
        print_tone=rng.uniform(0, 110),
        pen_tone=rng.uniform(0, 110),
        script=bank.scripts[rng.integers(len(bank.scripts))],
        write_scale=rng.uniform(0.45, 1.05),
        filled=rng.choice([1.0, 0.95, 0.6, 0.0], p=[0.4, 0.35, 0.15, 0.1]),
        typed=rng.random() < 0.15,
        thick=int(rng.choice([1, 1, 2])),
        dash=int(rng.choice([0, 0, 2, 4])),
    )


def _caption(style: Style, rng: np.random.Generator, written: str, scale: float = 1.0) -> Ink:
    if rng.random() < 0.2:
        return foreign(len(written), style.small * scale * 1.1, rng)
    return text(written, style.small * scale, style.face, rng.uniform(0.85, 1.15))


def _fill(sheet: Sheet, style: Style, x: float, base: float, room: float, what: str) -> None:
    """Words or a number in the writer's hand, or typed, on a base line from `x` on."""
    rng = sheet.rng
    if rng.random() > style.filled:
        return
    if style.typed:
        spelled = digits(6, rng) if what == "number" else gibberish(int(rng.integers(10, 40)), rng)
        ink = text(spelled, 11, "DejaVuSansMono")
        sheet.put(ink[:, : max(2, int(room))], x, base - ink.shape[0], style.pen_tone)
        return
    if what == "number":
        ink = resized(style.script.numbers[rng.integers(len(style.script.numbers))], style.write_scale)
        if ink.shape[1] > 1.1 * room:
            ink = resized(ink, 1.1 * room / ink.shape[1])
        sheet.put(
            ink,
            x + rng.uniform(0, max(1, 0.4 * room - 0.4 * ink.shape[1])),
            base - ink.shape[0] + rng.normal(0, 3),
            style.pen_tone,
        )
        return
    at = x + rng.uniform(0, 0.25 * room)
    for _ in range(int(rng.integers(1, 7))):
        ink = resized(style.script.words[rng.integers(len(style.script.words))], style.write_scale)
        if at + ink.shape[1] > x + room + 30:
            break
        sheet.put(ink, at, base - 0.75 * ink.shape[0] + rng.normal(0, 2), style.pen_tone)
        at += ink.shape[1] + rng.uniform(6, 22)


def _head(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
    """The bank, its address, number and date."""
    x, y = rng.uniform(15, 90), rng.uniform(8, 40)
    if rng.random() < 0.75:
        size = int(rng.uniform(30, 85))
        sheet.put(printing.logo(size, rng), x, y, style.print_tone)
        x += size + rng.uniform(5, 15)
    name = gibberish(int(rng.integers(5, 18)), rng).title()
    face = str(rng.choice(printing.FACES))
    sheet.put(text(name, rng.uniform(14, 32), face, rng.uniform(0.8, 1.1)), x, y, style.print_tone)
    lines = int(rng.integers(0, 5))
    at = x + rng.uniform(0, 200)
    for number in range(lines):
        written = gibberish(int(rng.integers(12, 44)), rng) if rng.random() < 0.8 else digits(12, rng)
        sheet.put(_caption(style, rng, written, 0.9), at, y + 40 + number * style.small * 1.6, style.print_tone)
    right = rng.uniform(680, 790)
    sheet.put(
        _caption(style, rng, str(rng.choice(["Date", "DATE", "Le", "Datum", "No."]))),
        right - 45,
        y + 12,
        style.print_tone,
    )
    if rng.random() < 0.5:
        cell = rng.uniform(18, 27)
        for number in range(8):
            sheet.frame(right + number * cell, y, cell, cell * 1.1, style.print_tone)
            if rng.random() < style.filled:
                glyph = style.script.numbers[rng.integers(len(style.script.numbers))]
                digit = cut(glyph[:, : max(4, int(0.7 * glyph.shape[0]))])
                sheet.put(
                    resized(digit, 0.75 * cell / max(digit.shape)), right + number * cell + 4, y + 4, style.pen_tone
                )
        if rng.random() < 0.5:
            sheet.put(
                text("D   D   M   M   Y   Y   Y   Y", 7, style.face), right + 5, y + cell * 1.3, style.print_tone
            )
    else:
        sheet.line((right, y + 28), (right + 200, y + 28), style.print_tone, style.thick, style.dash)
        _fill(sheet, style, right, y + 26, 180, "number")


def _body(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
    """Payee, amount in words and digits, account, address of the drawer, notes."""
    H, left = sheet.height, rng.uniform(15, 60)
    amount_x, amount_w, amount_h = rng.uniform(690, 800), rng.uniform(140, 240), rng.uniform(30, 52)
    rows = np.sort(rng.uniform(0.2, 0.55, 3)) * H
    rows[1:] = np.maximum(rows[1:], rows[:-1] + 38)
    captions = [rng.choice(PAY), rng.choice(WORDS), ""]
    amount_row = int(rng.integers(0, 3))
    for number, (y, written) in enumerate(zip(rows, captions, strict=True)):
        if number == 2 and rng.random() < 0.3:
            continue
        end = amount_x - 15 if number >= amount_row or rng.random() < 0.4 else WIDTH - rng.uniform(20, 150)
        start = left
        if written:
            caption = _caption(style, rng, str(written), rng.uniform(1, 1.4))
            start += sheet.put(caption, left, y - caption.shape[0], style.print_tone)[2] + 6
        if rng.random() < 0.92:
            sheet.line((start, y), (end, y), style.print_tone, style.thick, style.dash)
        _fill(sheet, style, start + 5, y - 1, end - start - 10, "words")
    y = rows[amount_row] - amount_h + rng.uniform(0, 20)
    if rng.random() < 0.85:
        sheet.frame(amount_x, y, amount_w, amount_h, style.print_tone, style.thick)
    sheet.put(
        text(str(rng.choice(CURRENCY)), 0.45 * amount_h, "DejaVuSans-Bold"),
        amount_x + 5,
        y + 0.25 * amount_h,
        style.print_tone,
    )
    _fill(sheet, style, amount_x + 35, y + 0.9 * amount_h, amount_w - 40, "number")
    _particulars(sheet, style, rng, rows[-1])


def _particulars(sheet: Sheet, style: Style, rng: np.random.Generator, below: float) -> None:
    """Account number, names and addresses, notes, and sometimes a memo in the writer's hand."""
    H, y = sheet.height, below + rng.uniform(12, 40)
    if rng.random() < 0.6:
        x = rng.uniform(20, 120)
        number = digits(int(rng.integers(8, 17)), rng)
        ink = text(number, rng.uniform(9, 18), str(rng.choice(["DejaVuSansMono", "DejaVuSerif-Bold", style.face])))
        _, y1, w, h = sheet.put(ink, x + 60, y + 8, style.print_tone)
        sheet.put(_caption(style, rng, "A/C No."), x, y + 8, style.print_tone)
        if rng.random() < 0.7:
            sheet.frame(x - 8, y1 - 7, w + 90, h + 14, style.print_tone, style.thick)
    if rng.random() < 0.2:  # place and date stand on the right, not at the top
        for number in range(int(rng.integers(1, 3))):
            x, base = rng.uniform(690, 800), min(y, 0.7 * H) + 24 * number
            caption = _caption(style, rng, str(rng.choice(["A", "Le", "Date", "Place", "Ort", "Datum"])))
            w = sheet.put(caption, x, base - caption.shape[0], style.print_tone)[2]
            sheet.line((x + w + 4, base), (WIDTH - 25, base), style.print_tone, style.thick, style.dash)
            _fill(sheet, style, x + w + 6, base - 1, 170, str(rng.choice(["words", "number"])))
    for _ in range(int(rng.integers(0, 4))):
        x, top = rng.uniform(20, 620) if rng.random() < 0.8 else rng.uniform(620, 820), rng.uniform(y, 0.88 * H)
        for number in range(int(rng.integers(1, 5))):
            written = str(rng.choice(NOTES)) if rng.random() < 0.3 else gibberish(int(rng.integers(6, 40)), rng)
            sheet.put(
                _caption(style, rng, written, rng.uniform(0.8, 1.3)),
                x,
                top + number * style.small * 1.7,
                style.print_tone,
            )
    if rng.random() < 0.25:
        x, base = rng.uniform(25, 90), rng.uniform(0.74, 0.86) * H
        caption = _caption(style, rng, str(rng.choice(["For", "Memo", "FOR", "Re:"])))
        w = sheet.put(caption, x, base - caption.shape[0], style.print_tone)[2]
        sheet.line((x + w + 5, base), (x + rng.uniform(220, 380), base), style.print_tone, style.thick, style.dash)
        if rng.random() < 0.7:
            _fill(sheet, style, x + w + 10, base - 1, 250, "words")


def _foot(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
    """Magnetic digits, bar codes at the side, tiny lines up the edges."""
    H = sheet.height
    if rng.random() < 0.92:
        ink = printing.magnetic(rng.uniform(9, 14), rng)
        sheet.put(ink[:, :900], rng.uniform(30, 280), H - rng.uniform(24, 50), rng.uniform(0, 40))
    if rng.random() < 0.2:
        size = (int(rng.uniform(90, 260)), int(rng.uniform(14, 30)))
        sheet.put(
            printing.bars(size, rng),
            WIDTH - size[1] - rng.uniform(0, 8),
            rng.uniform(0.2, 0.5) * H,
            rng.uniform(0, 60),
        )
    for x in (4, WIDTH - 14):
        if rng.random() < 0.35:
            ink = text(gibberish(40, rng), 6, style.face)
            sheet.put(np.ascontiguousarray(np.rot90(ink)), x, rng.uniform(0.1, 0.4) * H, style.print_tone)
    if rng.random() < 0.25:
        sheet.frame(rng.uniform(3, 14), rng.uniform(3, 14), WIDTH - 28, H - 28, style.print_tone, style.thick)


@dataclass
class Zone:
    """Where somebody is to sign: the middle of the base line, room, and the caption's box (left, top, w, h)."""

    x: float
    base: float
    room: float
    captions: list[tuple[int, int, int, int]]


def _zones(sheet: Sheet, style: Style, rng: np.random.Generator) -> list[Zone]:
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
        ink = _caption(style, rng, written, rng.uniform(0.9, 1.2))
        captions.append(sheet.put(ink, x - ink.shape[1] / 2 + rng.normal(0, 12), y, style.print_tone))
    if manner["above"]:
        ink = _caption(style, rng, "For " + gibberish(12, rng).upper() if rng.random() < 0.5 else written)
        captions.append(sheet.put(ink, x - ink.shape[1] / 2, base - rng.uniform(60, 100), style.print_tone))
    return Zone(x, base, room, [box for box in captions if box[2] and box[3]])


def _sign(sheet: Sheet, zone: Zone, bank: Bank, style: Style, rng: np.random.Generator) -> tuple[Outline, Outline]:
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
    near = [_corners(one, 0) for one in zone.captions if _close(one, box)]
    around = np.concatenate([outline, *near])
    low, high = around.min(axis=0), around.max(axis=0)
    return outline, _corners((*low, *(high - low)), MARGIN)


def _close(caption: tuple, box: tuple, reach: float = 30) -> bool:
    """Does a caption stand right above, below or in the ink?"""
    apart = max(caption[1] - (box[1] + box[3]), box[1] - (caption[1] + caption[3]))
    beside = max(caption[0] - (box[0] + box[2]), box[0] - (caption[0] + caption[2]))
    return apart < reach and beside < 10


def _corners(box, margin: float) -> Outline:
    x, y, w, h = box
    x, y, w, h = x - margin, y - margin, w + 2 * margin, h + 2 * margin
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)


def _stamp(sheet: Sheet, rng: np.random.Generator) -> None:
    ink = printing.rubber(rng, rng.uniform(70, 150))
    sheet.put(ink, rng.uniform(0, WIDTH - 100), rng.uniform(0.1, 0.85) * sheet.height, rng.uniform(40, 150))


def _crossing(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
    """Two parallel lines across a corner, often with words between them."""
    x, y, reach = rng.uniform(0, 300), rng.uniform(0, 60), rng.uniform(100, 260)
    for shift in (0, rng.uniform(18, 40)):
        sheet.line((x + shift, y + reach), (x + reach + shift, y), style.pen_tone, style.thick)


def back(rng: np.random.Generator, bank: Bank) -> Cheque:
    """The other side: show-through of the front, printed notes, stamps, numbers; no signature is asked for."""
    front = draw(rng, bank)
    height = front.grey.shape[0]
    sheet = Sheet(
        paper.draw((height, WIDTH), rng)
        if rng.random() < 0.4
        else np.full((height, WIDTH), rng.uniform(215, 255), np.float32),
        rng,
    )
    if rng.random() < 0.6:
        shown = cv2.GaussianBlur(255 - front.grey[:, ::-1].astype(np.float32), (0, 0), rng.uniform(0.8, 2.5))
        sheet.grey -= shown * rng.uniform(0.02, 0.15)
    style = _style(rng, bank)
    for _ in range(int(rng.integers(0, 5))):
        ink = _caption(style, rng, gibberish(int(rng.integers(10, 60)), rng))
        ink = np.ascontiguousarray(np.rot90(ink)) if rng.random() < 0.4 else ink
        sheet.put(ink, rng.uniform(10, 800), rng.uniform(10, height - 40), style.print_tone)
    for _ in range(int(rng.integers(0, 3))):
        _fill(sheet, style, rng.uniform(20, 600), rng.uniform(50, height - 20), 250, "number")
    if rng.random() < 0.4:
        _stamp(sheet, rng)
    return Cheque(_printed(sheet.grey, rng))


def letter(rng: np.random.Generator, bank: Bank) -> Cheque:
    """No cheque: a page of text, a few words, a lone signature, or empty paper."""
    shape = (int(rng.uniform(300, 1000)), WIDTH)
    sheet = Sheet(np.full(shape, rng.uniform(190, 255), np.float32), rng)
    style = _style(rng, bank)
    kind = rng.choice(["text", "hand", "signature", "empty"], p=[0.3, 0.25, 0.3, 0.15])
    if kind == "text":
        for y in np.arange(40, shape[0] - 30, style.small * rng.uniform(1.6, 3)):
            sheet.put(text(gibberish(70, rng), style.small, style.face), rng.uniform(40, 60), y, style.print_tone)
    elif kind == "hand":
        style.filled = 1.0
        for y in np.arange(80, shape[0] - 30, rng.uniform(50, 120)):
            _fill(sheet, style, 60, y, 850, "words")
    elif kind == "signature":
        ink = bank.signatures[rng.integers(len(bank.signatures))]
        ink = resized(ink, rng.uniform(0.3, 0.9) * min(WIDTH / ink.shape[1], shape[0] / ink.shape[0]))
        sheet.put(ink, rng.uniform(0, WIDTH - ink.shape[1]), rng.uniform(0, shape[0] - ink.shape[0]), style.pen_tone)
    return Cheque(_printed(sheet.grey, rng))


def _printed(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The finished sheet uint8: as it is, or cut to black and white as clearing houses do."""
    if rng.random() < 0.28:
        limit = rng.uniform(110, 185)
        soft = cv2.GaussianBlur(grey, (0, 0), 0.5)
        speckled = soft + rng.normal(0, rng.uniform(1, 14), grey.shape).astype(np.float32)
        grey = np.where(speckled > limit, rng.uniform(240, 255), rng.uniform(0, 30))
    return np.asarray(np.clip(grey, 0, 255), np.uint8)
