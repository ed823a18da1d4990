"""Finding signatures on a handful of real cheques; `python -m training.cheques evaluate` measures on all of them."""

from pathlib import Path

import pytest

from embeddings.cheque import find, find_in
from training.cheques import real
from training.cheques.conditions import upside_down
from training.cheques.measures import Figures
from training.cheques.real import Labelled

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    return data / "cheques" / "idrbt"


@pytest.fixture(scope="module")
def cheques(folder: Path) -> list[Labelled]:
    return real.read(folder)[::11]


def measured(cheques: list[Labelled]) -> Figures:
    figures = Figures("")
    for cheque in cheques:
        figures.count(cheque.boxes, [region.box for region in find_in(cheque.image)])
    return figures


def test_the_signature_is_found_and_nothing_else(cheques: list[Labelled]) -> None:
    figures = measured(cheques)
    assert figures.found >= len(cheques) - 1
    assert figures.false <= 1


def test_upside_down_it_is_found_as_well(cheques: list[Labelled]) -> None:
    assert measured([upside_down(one) for one in cheques]).found >= len(cheques) - 1


def test_where_it_is_painted_out_there_is_no_region(cheques: list[Labelled]) -> None:
    assert measured([real.painted_out(one) for one in cheques]).silent >= len(cheques) - 1


def test_a_file_gives_what_its_pixels_give(folder: Path, cheques: list[Labelled]) -> None:
    name = cheques[0].name
    assert find((folder / "images" / f"{name}.jpg").read_bytes()) == find_in(cheques[0].image)
