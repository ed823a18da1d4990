"""The printed form of a cheque and what is written into it, signatures aside."""

from __future__ import annotations

import numpy as np

from training.cheques import printing
from training.cheques.ink import cut, resized
from training.cheques.printing import digits, gibberish, text
from training.cheques.sheet import WIDTH, Sheet, Style, caption, fill

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


def head(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
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
        sheet.put(caption(style, rng, written, 0.9), at, y + 40 + number * style.small * 1.6, style.print_tone)
    right = rng.uniform(680, 790)
    sheet.put(
        caption(style, rng, str(rng.choice(["Date", "DATE", "Le", "Datum", "No."]))),
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
        fill(sheet, style, right, y + 26, 180, "number")


def body(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
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
            label = caption(style, rng, str(written), rng.uniform(1, 1.4))
            start += sheet.put(label, left, y - label.shape[0], style.print_tone)[2] + 6
        if rng.random() < 0.92:
            sheet.line((start, y), (end, y), style.print_tone, style.thick, style.dash)
        fill(sheet, style, start + 5, y - 1, end - start - 10, "words")
    y = rows[amount_row] - amount_h + rng.uniform(0, 20)
    if rng.random() < 0.85:
        sheet.frame(amount_x, y, amount_w, amount_h, style.print_tone, style.thick)
    sheet.put(
        text(str(rng.choice(CURRENCY)), 0.45 * amount_h, "DejaVuSans-Bold"),
        amount_x + 5,
        y + 0.25 * amount_h,
        style.print_tone,
    )
    fill(sheet, style, amount_x + 35, y + 0.9 * amount_h, amount_w - 40, "number")
    _particulars(sheet, style, rng, rows[-1])


def _particulars(sheet: Sheet, style: Style, rng: np.random.Generator, below: float) -> None:
    """Account number, names and addresses, notes, and sometimes a memo in the writer's hand."""
    H, y = sheet.height, below + rng.uniform(12, 40)
    if rng.random() < 0.6:
        x = rng.uniform(20, 120)
        number = digits(int(rng.integers(8, 17)), rng)
        ink = text(number, rng.uniform(9, 18), str(rng.choice(["DejaVuSansMono", "DejaVuSerif-Bold", style.face])))
        _, y1, w, h = sheet.put(ink, x + 60, y + 8, style.print_tone)
        sheet.put(caption(style, rng, "A/C No."), x, y + 8, style.print_tone)
        if rng.random() < 0.7:
            sheet.frame(x - 8, y1 - 7, w + 90, h + 14, style.print_tone, style.thick)
    if rng.random() < 0.2:  # place and date stand on the right, not at the top
        for number in range(int(rng.integers(1, 3))):
            x, base = rng.uniform(690, 800), min(y, 0.7 * H) + 24 * number
            label = caption(style, rng, str(rng.choice(["A", "Le", "Date", "Place", "Ort", "Datum"])))
            w = sheet.put(label, x, base - label.shape[0], style.print_tone)[2]
            sheet.line((x + w + 4, base), (WIDTH - 25, base), style.print_tone, style.thick, style.dash)
            fill(sheet, style, x + w + 6, base - 1, 170, str(rng.choice(["words", "number"])))
    for _ in range(int(rng.integers(0, 4))):
        x, top = rng.uniform(20, 620) if rng.random() < 0.8 else rng.uniform(620, 820), rng.uniform(y, 0.88 * H)
        for number in range(int(rng.integers(1, 5))):
            written = str(rng.choice(NOTES)) if rng.random() < 0.3 else gibberish(int(rng.integers(6, 40)), rng)
            sheet.put(
                caption(style, rng, written, rng.uniform(0.8, 1.3)),
                x,
                top + number * style.small * 1.7,
                style.print_tone,
            )
    if rng.random() < 0.25:
        x, base = rng.uniform(25, 90), rng.uniform(0.74, 0.86) * H
        label = caption(style, rng, str(rng.choice(["For", "Memo", "FOR", "Re:"])))
        w = sheet.put(label, x, base - label.shape[0], style.print_tone)[2]
        sheet.line((x + w + 5, base), (x + rng.uniform(220, 380), base), style.print_tone, style.thick, style.dash)
        if rng.random() < 0.7:
            fill(sheet, style, x + w + 10, base - 1, 250, "words")


def foot(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
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


def stamp(sheet: Sheet, rng: np.random.Generator) -> None:
    ink = printing.rubber(rng, rng.uniform(70, 150))
    sheet.put(ink, rng.uniform(0, WIDTH - 100), rng.uniform(0.1, 0.85) * sheet.height, rng.uniform(40, 150))


def crossing(sheet: Sheet, style: Style, rng: np.random.Generator) -> None:
    """Two parallel lines across a corner, often with words between them."""
    x, y, reach = rng.uniform(0, 300), rng.uniform(0, 60), rng.uniform(100, 260)
    for shift in (0, rng.uniform(18, 40)):
        sheet.line((x + shift, y + reach), (x + reach + shift, y), style.pen_tone, style.thick)
