import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batch_results import neutral
from service.manifest import ASKED, COLUMNS, BrokenManifest, read_manifest

MARK = "xyzzy-7f3a"
HEADER = b"account_id,image\n"

Cells = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
Named = Cells.filter(bool)


def complaints(content: bytes, most_rows: int = 100) -> list[str]:
    with pytest.raises(BrokenManifest) as broken:
        read_manifest(content, most_rows)
    return broken.value.complaints


def written(rows: list[dict[str, str]], columns: list[str], ending: str, *, quote: bool, mark: bool) -> bytes:
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(text, columns, lineterminator=ending, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig" if mark else "utf-8")


@given(
    st.data(),
    st.permutations(COLUMNS),
    st.sets(st.sampled_from(ASKED)),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
)
def test_what_a_csv_writer_wrote_is_read_as_it_was(
    data: st.DataObject, order: list[str], left_out: set[str], ending: str, quote: bool, mark: bool
) -> None:
    columns = [name for name in order if name not in left_out]
    row = st.fixed_dictionaries({name: Cells if name in ASKED else Named for name in columns})
    rows = data.draw(st.lists(row, min_size=1, max_size=5))

    entries = read_manifest(written(rows, columns, ending, quote=quote, mark=mark), 5)

    assert [entry.position for entry in entries] == list(range(1, len(rows) + 1))
    assert [entry.line for entry in entries] == list(range(2, len(rows) + 2))
    assert [{"account_id": entry.account_id, "image": entry.image, **entry.fields} for entry in entries] == [
        {name: value for name, value in row.items() if value} for row in rows
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_words(content: bytes) -> None:
    for tried in (content, HEADER + content):
        with suppress(BrokenManifest):
            assert all(entry.account_id and entry.image for entry in read_manifest(tried, 100))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (HEADER, "no rows below the header"),
        (HEADER + b"\n\r\n", "no rows below the header"),
        (b"account_id\n1\n", "line 1: the column image is missing"),
        (b"\nimage\n1\n", "line 2: the column account_id is missing"),
        (b"1,a.png\n", "line 1: the column account_id is missing"),
        (f"account_id,image,{MARK}\n1,a.png,x\n".encode(), "line 1: column 3 is not known; columns are account_id"),
        (b"account_id, image\n1,a.png\n", "line 1: column 2 is not known"),
        (b"account_id,image,image\n1,a.png,b.png\n", "line 1: the column image is there twice"),
        (b"account_id;image\n1;a.png\n", "line 1: columns are separated by commas"),
        (b"account_id\timage\n1\ta.png\n", "line 1: columns are separated by commas"),
        (HEADER + f"1,{MARK}\n2,\xe9.png\n".encode("latin-1"), "line 3: is not UTF-8"),
        ("account_id,image\n1,a.png\n".encode("utf-16"), "line 1: is not UTF-8"),
        (HEADER + f"1,a.png\n2,{MARK},3\n".encode(), "line 3: 3 cells where the header names 2 columns"),
        (HEADER + MARK.encode(), "line 2: 1 cells where the header names 2 columns"),
        (HEADER + b"1,a.png\n,b.png\n", "line 3: account_id is empty"),
        (HEADER + b"1,\n", "line 2: image is empty"),
        (HEADER + f'1,a.png\n2,"{MARK}\n3,c.png\n'.encode(), "line 3: a quote is not closed"),
        (HEADER + f'1,"a"{MARK}\n'.encode(), "line 2: a quote is not closed, or text follows"),
        (HEADER + f'1,a.png\n2,"{MARK}\nb.png"\n'.encode(), "line 3: image has a control character"),
        (HEADER + f"1,{MARK}\0\n".encode(), "line 2: image has a control character"),
        (HEADER + b"1," + b"x" * 200_000, "line 2: a cell has more than 131072 characters"),
        (HEADER + b"1,a.png\n" * 101, "line 102: a manifest has at most 100 rows"),
    ],
)
def test_a_broken_manifest_is_refused_by_its_line_and_not_repeated(content: bytes, said: str) -> None:
    found = complaints(content)

    assert any(complaint.startswith(said) or said in complaint for complaint in found)
    assert MARK not in " ".join(found)


def test_all_broken_lines_are_told_at_once_but_not_thousands() -> None:
    assert complaints(HEADER + b"1,a.png\n,b.png\n2,b.png\n3\n") == [
        "line 3: account_id is empty",
        "line 5: 1 cells where the header names 2 columns",
    ]
    many = complaints(HEADER + b"x\n" * 5000, 10_000)
    assert len(many) == 21
    assert many[-1] == "and perhaps more"


def test_a_line_number_counts_the_lines_of_quoted_cells() -> None:
    assert complaints(HEADER + b'1,"a\nb"\n,c.png\n') == [
        "line 2: image has a control character",
        "line 4: account_id is empty",
    ]


@given(st.text())
def test_no_value_from_outside_becomes_a_formula_or_a_second_line(value: str) -> None:
    cell = neutral(value)

    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert len(list(csv.reader(io.StringIO(cell.replace('"', "").replace(",", ""), newline="")))) <= 1


def test_what_is_no_formula_stays_as_it_is() -> None:
    assert [neutral(value) for value in ("4711", "a b.png", "", "=1+1", " @x", "\t+1")] == [
        "4711",
        "a b.png",
        "",
        "'=1+1",
        "' @x",
        "' +1",
    ]
