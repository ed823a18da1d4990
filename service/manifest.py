"""Manifests: CSV files that name many images to verify, one a line.

What is wrong with the file as a whole is said with its line numbers before anything starts, and without repeating
what it holds. What is wrong with one value is that row's own error later, as if it had been asked alone.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NEEDED = ("account_id", "image")
ASKED = ("kind", "amount", "currency", "signed_on", "reference", "target_far", "box")
COLUMNS = NEEDED + ASKED

MOST_COMPLAINTS = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Cells = list[str]


class Entry(NamedTuple):
    """One row; `position` counts rows from 1, `line` lines of the file. `fields` are those that are not empty."""

    position: int
    line: int
    account_id: str
    image: str
    fields: dict[str, str]


class BrokenManifest(Exception):
    """`complaints` name lines and columns, never a value."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = list(complaints)


def read_manifest(content: bytes, most_rows: int) -> list[Entry]:
    """UTF-8 with or without a byte order mark, commas, any line ends, quotes as RFC 4180 has them.

    Raises `BrokenManifest`.
    """
    rows = _rows(_decoded(content))
    header_line, header = next(rows, (1, []))
    if not header:
        raise BrokenManifest([f"the file is empty; its first line names the columns: {','.join(COLUMNS)}"])
    _check_header(header_line, header)
    entries: list[Entry] = []
    complaints: list[str] = []
    for line, cells in rows:
        found = _complaints(header, cells)
        complaints += [f"line {line}: {complaint}" for complaint in found]
        if len(complaints) >= MOST_COMPLAINTS:
            raise BrokenManifest([*complaints[:MOST_COMPLAINTS], "and perhaps more"])
        if len(entries) == most_rows:
            raise BrokenManifest([f"line {line}: a manifest has at most {most_rows} rows; split it"])
        if not found:
            entries.append(_entry(len(entries) + 1, line, dict(zip(header, cells, strict=True))))
    if complaints:
        raise BrokenManifest(complaints)
    if not entries:
        raise BrokenManifest(["there are no rows below the header"])
    return entries


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise BrokenManifest([f"line {line}: is not UTF-8; save it as CSV UTF-8"]) from problem


def _rows(text: str) -> Iterator[tuple[int, Cells]]:
    """The line on which each row begins, and its cells. Empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as problem:
        raise BrokenManifest([f"line {begins}: {_csv_complaint(str(problem))}"]) from problem


def _csv_complaint(problem: str) -> str:
    if "field limit" in problem:
        return f"a cell has more than {csv.field_size_limit()} characters"
    return "a quote is not closed, or text follows a closed one; a quote inside a quoted cell is doubled"


def _check_header(line: int, header: Cells) -> None:
    complaints = [f"the column {name} is missing" for name in NEEDED if name not in header]
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        complaints = ["columns are separated by commas"]
    else:
        for number, name in enumerate(header, 1):
            if name not in COLUMNS:
                complaints.append(f"column {number} is not known; columns are {', '.join(COLUMNS)}")
            elif name in header[: number - 1]:
                complaints.append(f"the column {name} is there twice")
    if complaints:
        raise BrokenManifest([f"line {line}: {complaint}" for complaint in complaints[:MOST_COMPLAINTS]])


def _complaints(header: Cells, cells: Cells) -> list[str]:
    if len(cells) != len(header):
        return [f"{len(cells)} cells where the header names {len(header)} columns"]
    named = dict(zip(header, cells, strict=True))
    found = [f"{name} is empty" for name in NEEDED if not named[name]]
    return found + [f"{name} has a control character" for name, cell in named.items() if _CONTROL.search(cell)]


def _entry(position: int, line: int, named: dict[str, str]) -> Entry:
    fields = {name: named[name] for name in ASKED if named.get(name)}
    return Entry(position, line, named["account_id"], named["image"], fields)
