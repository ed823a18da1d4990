"""What lifting learns from, and what it is measured on."""

import cv2
import numpy as np
import pytest

from embeddings.lift import TILE
from tests.drawings import paper, signature
from training.blanks import Cheque
from training.composed import written_on
from training.lifting.signed import pen_of, sample


@pytest.fixture(scope="module")
def pens() -> list:
    return [pen for seed in range(4) if (pen := pen_of(signature(seed))) is not None]


def test_the_same_seed_draws_the_same_tile(pens: list) -> None:
    first, again = (sample(pens, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = sample(pens, np.random.default_rng(6))
    assert not np.array_equal(first[0], other[0])


def test_a_label_says_where_the_pen_was_and_only_dark_pixels_count_fully(pens: list) -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(20):
        tile, pen, counts = sample(pens, rng)
        assert tile.shape == pen.shape == counts.shape == TILE
        assert tile[counts == 1].min(initial=1) > 0.12
        if pen.any():
            found.append(tile[pen].mean() - np.median(tile))
    assert len(found) >= 15
    assert np.median(found) > 0.3, "the pen is not where the label says"


def test_paper_without_ink_is_no_pen() -> None:
    assert pen_of(paper()) is None


def test_a_signature_is_written_onto_a_cheque_whole_and_nothing_else_changes() -> None:
    cheque = Cheque("drawn", np.full((960, 2100), 254, np.uint8), (1600, 560, 360, 240))
    for seed in range(5):
        asked = written_on(cheque, signature(seed), np.random.default_rng(seed))
        assert asked is not None
        left, top, width, height = asked.box
        assert width / cheque.cm + 0.2 >= 3.0
        assert width / cheque.cm <= 6.5
        rows, columns = np.nonzero(asked.grey < 128)
        assert rows.min() >= top - 2
        assert columns.min() >= left - 2
        assert rows.max() < top + height + 2
        assert columns.max() < left + width + 2
        pieces = cv2.connectedComponents(np.asarray(asked.grey < 128, np.uint8))[0] - 1
        assert pieces <= 3, "the drawn signature is one stroke"
