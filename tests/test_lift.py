"""A signature is lifted off whatever a bank printed around and under it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings import Encoder, UnusableImage
from embeddings.ink import find_ink
from embeddings.lift import around, cut, lift
from tests.drawings import paper, png, rule, sign
from training import blanks

Grey = NDArray[np.uint8]

PAGE = (500, 900)
CENTRE = (450, 240)
BOX = (270, 150, 360, 180)
SEEDS = range(6)


def blank() -> Grey:
    return paper(*PAGE)


def signed(page: Grey, seed: int = 0) -> Grey:
    return sign(page, CENTRE, seed)


def pen(seed: int) -> NDArray[np.bool_]:
    """Where the pen of `signed` went, on a page of `PAGE`."""
    return sign(np.full(PAGE, 255, np.uint8), CENTRE, seed) < 128


def lifted(page: Grey) -> NDArray[np.bool_]:
    """The lifted mask laid back onto the page that it came from; what it holds beyond the page is cut off."""
    mask = lift(page, BOX)
    whole = np.zeros((3 * PAGE[0], 3 * PAGE[1]), np.uint8)
    left = BOX[0] + (BOX[2] - mask.shape[1]) // 2 + PAGE[1]
    top = BOX[1] + (BOX[3] - mask.shape[0]) // 2 + PAGE[0]
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole[PAGE[0] : 2 * PAGE[0], PAGE[1] : 2 * PAGE[1]].astype(bool)


def caption(page: Grey) -> Grey:
    """Two lines under the signature, which its lowest strokes cross."""
    page = page.copy()
    for y, words in ((292, "RAJA NORDSTROM"), (330, "Authorised signatory")):
        cv2.putText(page, words, (330, y), cv2.FONT_HERSHEY_DUPLEX, 0.8, 20, 2, cv2.LINE_AA)
    return page


def tint(page: Grey) -> Grey:
    shade = np.linspace(0.75, 1.0, PAGE[1])[None] * np.linspace(1.0, 0.85, PAGE[0])[:, None]
    return np.asarray(page * shade, np.uint8)


def guilloche(page: Grey) -> Grey:
    page, x = page.copy(), np.arange(0, PAGE[1], 3.0)
    for number in range(40):
        y = 14 * number + 30 * np.sin(x / 70 + 0.3 * number) - 30
        cv2.polylines(page, [np.rint(np.column_stack([x, y])).astype(np.int32)], False, 205, 1, cv2.LINE_AA)
    return page


def signing_line(page: Grey) -> Grey:
    return rule(page, 270, ink=40)


PRINTED = {"rule": signing_line, "caption": caption, "tint": tint, "guilloche": guilloche}


def changed(mask: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    """Shares of the pen's pixels that are missing from a mask, and that are in it beyond the pen. A pixel of edge
    either way counts as right."""
    true = pen(seed)
    grown = cv2.dilate(np.asarray(true, np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    reached = cv2.dilate(np.asarray(mask, np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return float((true & ~reached).sum() / true.sum()), float((mask & ~grown).sum() / true.sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_on_plain_paper_the_ink_is_that_of_the_plain_scan(seed: int) -> None:
    page = signed(blank(), seed)
    missing, beyond = changed(lifted(page), seed)
    assert missing <= 0.01
    assert beyond <= 0.01
    plain = find_ink(page).astype(bool)
    assert (lifted(page) ^ plain).sum() <= 0.06 * plain.sum()


@pytest.mark.parametrize("printed", PRINTED.values(), ids=PRINTED)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_printed_under_a_signature_hardly_changes_it(seed: int, printed: Callable[[Grey], Grey]) -> None:
    missing, beyond = changed(lifted(signed(printed(blank()), seed)), seed)
    assert missing <= (0.08 if printed is caption else 0.02), "only what runs along letters as heavy may go with them"
    assert beyond <= 0.03


@pytest.mark.parametrize("printed", [signing_line, guilloche], ids=["rule", "guilloche"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_stroke_that_crosses_print_stays_whole(seed: int, printed: Callable[[Grey], Grey]) -> None:
    mask = np.asarray(lifted(signed(printed(blank()), seed)), np.uint8)
    areas = cv2.connectedComponentsWithStats(mask)[2][1:, cv2.CC_STAT_AREA]
    assert areas.max() >= 0.97 * areas.sum(), "one stroke of the pen became several pieces"


@pytest.mark.parametrize("printed", PRINTED.values(), ids=PRINTED)
def test_where_nobody_signed_nothing_is_lifted(printed: Callable[[Grey], Grey]) -> None:
    page = printed(blank())
    with pytest.raises(UnusableImage) as refusal:
        Encoder.load().read_mask(lift(page, BOX))
    assert refusal.value.code == "no_ink"


def test_a_stroke_that_leaves_the_box_is_followed_and_a_neighbour_is_not() -> None:
    page = sign(signed(blank()), (450, 440), 3)
    left, _, width, _ = BOX
    narrow = lift(page, (left, 170, width - 40, 140))
    wide = lift(signed(blank()), (left, 170, width - 40, 140))
    assert (narrow != wide).sum() <= 0.02 * wide.sum()
    assert wide.sum() >= 0.98 * find_ink(signed(blank())).sum()


def test_a_box_may_reach_beyond_the_image_but_must_meet_it() -> None:
    page = signed(blank())
    assert lift(page, (-50, 100, 2000, 800)).any()
    with pytest.raises(ValueError, match="does not lie in an image"):
        lift(page, (901, 0, 50, 50))
    with pytest.raises(ValueError, match="does not lie in an image"):
        lift(page, (10, 10, 0, 50))


def test_lifted_ink_reads_like_the_plain_scan() -> None:
    encoder = Encoder.load()
    scores = []
    for seed in SEEDS:
        reference = encoder.enrol(png(sign(paper(), (250, 120), seed)))
        reading = encoder.read_mask(lift(signed(caption(signing_line(guilloche(blank()))), seed), BOX))
        assert reading.quality.ok
        assert reading.model_version == encoder.model_version
        scores.append(encoder.score(reference, reading.vector))
    assert min(scores) > encoder.bundle.thresholds.accept


def test_nothing_lifted_is_no_ink() -> None:
    with pytest.raises(UnusableImage) as refusal:
        Encoder.load().read_mask(np.zeros((100, 200), np.uint8))
    assert refusal.value.code == "no_ink"


@pytest.mark.data
def test_of_a_real_cheque_that_was_painted_out_no_signature_is_lifted(data: Path) -> None:
    encoder = Encoder.load()
    codes: Counter[str] = Counter()
    cheques = blanks.blank(data / "cheques" / "idrbt")[::3]
    for cheque in cheques:
        try:
            encoder.read_mask(lift(cheque.grey, cheque.box))
        except UnusableImage as refusal:
            codes[refusal.code] += 1
    assert len(cheques) == 30
    assert codes["no_ink"] >= 0.95 * len(cheques)


@pytest.mark.data
def test_of_a_real_cheque_the_signature_is_lifted_and_the_caption_is_not(data: Path) -> None:
    """What is lifted of a cheque is also dark there, and hardly any of it is what stays when it is painted out."""
    root = data / "cheques" / "idrbt"
    kept, taken = [], []
    for cheque, painted in list(zip(blanks.signed(root), blanks.blank(root), strict=True))[::3]:
        mask = lift(cheque.grey, cheque.box).astype(bool)
        region, _ = around(cheque.box)
        printed, dark = cut(painted.grey, region) < 128, cut(cheque.grey, region) < 128
        grown = cv2.dilate(np.asarray(dark, np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        assert not (mask & ~grown).any()
        taken.append((mask & printed).sum() / mask.sum())
        signature = dark & ~cv2.dilate(np.asarray(printed, np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        kept.append((mask & signature).sum() / signature.sum())
    assert np.median(kept) >= 0.95
    assert np.median(taken) <= 0.01
    assert np.mean(taken) <= 0.05, "more than what lies under the strokes of a signature that crosses the caption"
