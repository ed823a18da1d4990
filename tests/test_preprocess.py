import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embeddings.ink import drop_specks, read_ink, stroke_width
from embeddings.lines import remove_lines, run_starts
from embeddings.moments import lean, moments, spread_when_turned
from embeddings.preprocess import (
    CANVAS,
    PREPROCESSING_VERSION,
    SPREAD,
    find_ink,
    normalise,
    place,
    prepare,
    preprocess,
    turn,
)
from embeddings.thin import TABLES, peel, thin
from tests.drawings import paper, png, rule, sign, signature

GOLDEN = Path(__file__).parent / "golden" / f"preprocess-{PREPROCESSING_VERSION}.npz"


def drawings() -> dict[str, NDArray[np.uint8]]:
    return {
        "plain": signature(0),
        "other": signature(1, pen=5),
        "light on dark": 255 - signature(2),
        "ruled": rule(signature(3), 60, 150),
        "shadowed": (signature(4) * np.linspace(0.5, 1, 500)).astype(np.uint8),
        "large": cv2.resize(signature(5), None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR),
    }


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Share of either drawing's ink within one pixel of the other's: 1 is the same but for rounding."""
    near = np.ones((3, 3), np.uint8)
    return float(min((a * cv2.dilate(b, near)).sum() / a.sum(), (b * cv2.dilate(a, near)).sum() / b.sum()))


def test_preprocess_is_what_its_version_says() -> None:
    """A difference here needs a new PREPROCESSING_VERSION, a new file beside this one and a new bundle."""
    golden = np.load(GOLDEN)
    for name, drawn in drawings().items():
        canvas = np.unpackbits(golden[name]).reshape(CANVAS)
        np.testing.assert_array_equal(preprocess(png(drawn)), canvas.astype(np.float32), err_msg=name)


@pytest.mark.parametrize("name", drawings())
def test_a_canvas_holds_ones_and_zeros_alone(name: str) -> None:
    canvas = preprocess(png(drawings()[name]))
    assert canvas.shape == CANVAS
    assert canvas.dtype == np.float32
    assert set(np.unique(canvas)) == {0.0, 1.0}


@given(x=st.integers(-90, 90), y=st.integers(-50, 50), seed=st.integers(0, 30))
@settings(max_examples=30)
def test_normalising_does_not_see_where_the_ink_is(x: int, y: int, seed: int) -> None:
    blank = np.zeros((240, 500), np.uint8)
    here = sign(blank, (250, 120), seed, 0.8, ink=1)
    there = sign(blank, (250 + x, 120 + y), seed, 0.8, ink=1)
    assume(np.count_nonzero(here) == np.count_nonzero(there))
    np.testing.assert_array_equal(normalise(here), normalise(there))


@given(seed=st.integers(0, 30), factor=st.sampled_from([2, 3]))
@settings(max_examples=20)
def test_normalising_hardly_sees_how_large_the_ink_is(seed: int, factor: int) -> None:
    mask = find_ink(signature(seed))
    larger = np.kron(mask, np.ones((factor, factor), np.uint8))
    assert likeness(normalise(mask), normalise(larger)) > 0.97


@given(seed=st.integers(0, 30))
@settings(max_examples=20)
def test_ink_is_centred_and_has_the_agreed_spread(seed: int) -> None:
    wide = sign(np.zeros((240, 500), np.uint8), (250, 120), seed, ink=1)
    mask = wide[:, ::2].copy()  # narrow enough that the canvas cuts nothing off
    placed = place(mask).astype(np.float64)
    x = placed.sum(axis=0) @ np.arange(CANVAS[1]) / placed.sum()
    y = placed.sum(axis=1) @ np.arange(CANVAS[0]) / placed.sum()
    assert abs(x - (CANVAS[1] - 1) / 2) < 0.7
    assert abs(y - (CANVAS[0] - 1) / 2) < 0.7
    assert math.isclose(moments((placed > 127).view(np.uint8))[2], SPREAD, rel_tol=0.05)


@pytest.mark.parametrize("degrees", [-30, -10, 0, 10, 30])
def test_lean_follows_the_ink_when_the_page_turns(degrees: int) -> None:
    level = sign(np.zeros((300, 500), np.uint8), (250, 150), 3, ink=255)
    around = cv2.getRotationMatrix2D((250, 150), -degrees, 1)  # OpenCV counts the other way
    turned = cv2.warpAffine(level, around, (500, 300), flags=cv2.INTER_LINEAR)
    found = math.degrees(lean(turned)[0] - lean(level)[0])
    assert abs(found - degrees) < 1.5
    before, after = spread_when_turned(level, lean(level)[0]), spread_when_turned(turned, lean(turned)[0])
    assert math.isclose(before, after, rel_tol=0.03)


def test_ink_without_a_direction_is_not_turned() -> None:
    ring = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 60, 255, 3)
    assert lean(ring)[1] < 0.05
    assert turn(ring) == 0


def test_no_ink_makes_an_empty_canvas() -> None:
    assert not normalise(np.zeros((50, 80), np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (1, 300), (300, 1), (17, 900)])
def test_any_shape_and_any_mask_is_taken(shape: tuple[int, int]) -> None:
    for grey in (0, 128, 255):
        assert find_ink(np.full(shape, grey, np.uint8)).shape == shape
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert set(np.unique(find_ink(noise))) <= {0, 1}
    assert normalise(np.ones(shape, np.uint8)).shape == CANVAS


def test_find_ink_leaves_its_input_alone() -> None:
    grey = rule(signature(), 100)
    before = grey.copy()
    find_ink(grey)
    np.testing.assert_array_equal(grey, before)


@pytest.mark.parametrize("pen", [2, 4, 6])
def test_any_pen_is_drawn_with_one_width(pen: int) -> None:
    thin_pen, this = preprocess(png(signature(0))), preprocess(png(signature(0, pen=pen)))
    assert likeness(thin_pen, this) > 0.9
    assert stroke_width(this.astype(np.uint8)) < 3


@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_ruled_lines_go_and_the_strokes_across_them_stay(slope: float) -> None:
    clean, ruled = find_ink(signature()), find_ink(rule(signature(), 60, 110, 160, slope=slope))
    assert likeness(clean.astype(np.float32), ruled.astype(np.float32)) > 0.95
    assert cv2.connectedComponents(ruled)[0] <= cv2.connectedComponents(clean)[0] + 2


def test_a_box_goes() -> None:
    boxed = cv2.rectangle(signature(), (10, 15), (490, 225), 90, 2)
    assert likeness(find_ink(signature()).astype(np.float32), find_ink(boxed).astype(np.float32)) > 0.98


def test_an_underline_that_wavers_like_a_hand_stays() -> None:
    x = np.arange(40, 460)
    underline = np.stack([x, 200 + 2.5 * np.sin(x / 60)], axis=1)
    page = cv2.polylines(paper(), [np.rint(underline * 16).astype(np.int32)[:, None]], False, 60, 3, cv2.LINE_AA, 4)
    mask = np.asarray(page < 150, np.uint8)
    np.testing.assert_array_equal(remove_lines(mask), mask)


def test_specks_of_dust_go_and_the_dot_of_an_i_stays() -> None:
    clean = signature()
    dusty = clean.copy()
    dusty[20:220:25, 20:480:30] = np.minimum(dusty[20:220:25, 20:480:30], 40)
    np.testing.assert_array_equal(find_ink(dusty)[:40], 0)
    dotted = cv2.circle(clean, (250, 30), 3, 40, -1)
    assert find_ink(dotted)[30, 250]


@pytest.mark.parametrize("low", [0.4, 0.7])
def test_a_shadow_changes_nothing_to_speak_of(low: float) -> None:
    shadowed = (signature() * np.linspace(low, 1, 500)).astype(np.uint8)
    assert likeness(preprocess(png(signature())), preprocess(png(shadowed))) > 0.97


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_another_resolution_changes_little(factor: float) -> None:
    scanned = cv2.resize(signature(), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    assert likeness(preprocess(png(signature())), preprocess(png(scanned))) > 0.95


def test_strong_compression_changes_little() -> None:
    jpeg = cv2.imencode(".jpg", signature(), [cv2.IMWRITE_JPEG_QUALITY, 30])[1].tobytes()
    assert likeness(preprocess(png(signature())), preprocess(jpeg)) > 0.95


def test_faint_ink_does_not_make_the_noise_of_paper_into_ink() -> None:
    mask = find_ink(sign(paper(noise=4), (250, 120), ink=205))
    assert 0.01 < mask.mean() < 0.1
    assert not mask[:40].any()


def test_a_skeleton_is_thin_and_as_connected_as_what_it_came_from() -> None:
    mask = sign(np.zeros((240, 500), np.uint8), (250, 120), 0, ink=1, pen=7)
    skeleton = thin(mask)
    assert np.all(skeleton <= mask)
    assert cv2.connectedComponents(skeleton)[0] == cv2.connectedComponents(mask)[0]
    assert stroke_width(skeleton) <= 2
    np.testing.assert_array_equal(thin(skeleton), skeleton)


@given(seed=st.integers(0, 30), pen=st.integers(1, 9))
@settings(max_examples=20)
def test_thinning_stops_where_peeling_the_whole_canvas_takes_nothing_more(seed: int, pen: int) -> None:
    mask = sign(np.zeros((240, 500), np.uint8), (250, 120), seed, ink=1, pen=pen)
    plain, before = peel(peel(mask, TABLES[0]), TABLES[1]), mask
    while not np.array_equal(plain, before):
        plain, before = peel(peel(plain, TABLES[0]), TABLES[1]), plain
    np.testing.assert_array_equal(thin(mask), plain)
    np.testing.assert_array_equal(thin(np.zeros_like(mask)), 0)


@pytest.mark.parametrize("run", [24, 25, 31, 64])
def test_runs_start_where_an_erosion_says(run: int) -> None:
    mask = np.asarray(np.random.default_rng(run).random((50, 400)) < 0.98, np.uint8)
    eroded = cv2.erode(
        mask, np.ones((1, run), np.uint8), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    starts = run_starts(mask, run)
    assert starts.any()
    np.testing.assert_array_equal(starts, eroded[:, : starts.shape[1]])


@given(seed=st.integers(0, 100), least=st.integers(2, 60))
@settings(max_examples=50)
def test_pieces_are_counted_as_they_are_left(seed: int, least: int) -> None:
    noise = np.random.default_rng(seed).random((60, 80)).astype(np.float32)
    mask = np.asarray(cv2.blur(noise, (3, 3)) > 0.5, np.uint8)
    assert drop_specks(mask, least) == cv2.connectedComponents(mask)[0] - 1


def test_a_speck_within_a_speck_is_counted_as_it_is_left() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:19, 10:19] = 1
    mask[11:18, 11:18] = 0
    mask[12:17, 12:17] = 1
    assert drop_specks(mask, 200) == cv2.connectedComponents(mask)[0] - 1


def test_the_ink_comes_with_what_can_be_measured_of_it() -> None:
    ink = read_ink(rule(signature(), 60))
    np.testing.assert_array_equal(ink.columns, ink.mask.sum(axis=0))
    np.testing.assert_array_equal(ink.rows, ink.mask.sum(axis=1))
    assert ink.histogram.sum() == ink.flat.size
    assert ink.stroke == stroke_width(ink.mask)
    assert ink.pieces == cv2.connectedComponents(ink.mask)[0] - 1


def test_prepare_tells_what_both_steps_took() -> None:
    prepared = prepare(png(signature()))
    assert prepared.quality.ok
    assert prepared.decode_ms > 0
    assert prepared.preprocess_ms > 0


@pytest.mark.data
def test_the_edge_of_the_page_that_a_scanner_saw_is_taken_out(cedar: Path) -> None:
    grey = cv2.imread(str(cedar / "full_org" / "original_7_20.png"), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    dark = np.asarray(grey < 190, np.uint8)[:, -6:]
    assert dark.any(axis=1).mean() > 0.9
    assert find_ink(np.asarray(grey, np.uint8))[:, -6:].any(axis=1).mean() < 0.3
