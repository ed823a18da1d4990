"""Finding signatures on drawn cheques, whose writers and layouts no network was trained on."""

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from embeddings import cheque, cheque_map
from embeddings.cheque import Region, find, find_in, lift_box
from embeddings.cheque_map import Mark, overlap
from embeddings.decode import decode
from embeddings.errors import UnusableImage
from embeddings.finder import BrokenModel, Finder
from training.cheques import drawing, ink
from training.cheques.capture import box
from training.cheques.drawing import Cheque

GOLDEN = Path(__file__).parent / "golden"
FIRST = 2_000_000  # seeds that neither training nor the choice of thresholds ever drew


@pytest.fixture(scope="module")
def bank() -> ink.Bank:
    return ink.drawn(people=20, hands=8, first=FIRST)


@pytest.fixture(scope="module")
def signed(bank: ink.Bank) -> Cheque:
    """A cheque with one signature, printed in grey."""
    return next(one for one in drawn(bank, signed=True) if len(one.inks) == 1)


def drawn(bank: ink.Bank, *, signed: bool, count: int = 24) -> list[Cheque]:
    return [drawing.draw(np.random.default_rng([FIRST, seed]), bank, signed) for seed in range(count)]


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def code_of(image: np.ndarray) -> str:
    with pytest.raises(UnusableImage) as refused:
        find_in(image)
    return refused.value.code


def is_found(cheque: Cheque, regions: list[Region]) -> bool:
    return all(any(overlap(box(field), region.box) >= 0.5 for region in regions) for field in cheque.fields)


def test_most_signatures_are_found_and_little_else(bank: ink.Bank) -> None:
    cheques = drawn(bank, signed=True)
    found = [find_in(one.grey) for one in cheques]
    assert sum(is_found(one, regions) for one, regions in zip(cheques, found, strict=True)) >= 0.7 * len(cheques)
    assert sum(map(len, found)) <= sum(len(one.fields) for one in cheques) + 0.1 * len(cheques)


def test_where_nobody_signed_there_is_no_region(bank: ink.Bank) -> None:
    assert sum(bool(find_in(one.grey)) for one in drawn(bank, signed=False)) <= 2


def test_bytes_and_decoded_pixels_give_the_same_regions_best_first(signed: Cheque) -> None:
    image = png(cv2.cvtColor(signed.grey, cv2.COLOR_GRAY2BGR))
    regions = find(image)
    assert regions == find_in(decode(image))
    assert [region.confidence for region in regions] == sorted((r.confidence for r in regions), reverse=True)


def test_the_ink_lies_within_the_box_and_the_box_on_the_page(signed: Cheque) -> None:
    (region,) = find_in(signed.grey)
    left, top, width, height = region.box
    x, y, w, h = region.ink_box
    assert left <= x + 6
    assert top <= y + 6
    assert x + w <= left + width + 6
    assert y + h <= top + height + 6
    assert left >= 0
    assert top >= 0
    assert left + width <= signed.grey.shape[1]
    assert top + height <= signed.grey.shape[0]


def test_lifted_ink_is_a_png_of_the_mask_and_is_made_once(signed: Cheque) -> None:
    (region,) = find_in(signed.grey)
    picture = cv2.imdecode(np.frombuffer(region.ink, np.uint8), cv2.IMREAD_UNCHANGED)
    assert region.mask.dtype == np.uint8
    assert set(np.unique(region.mask)) == {0, 1}
    np.testing.assert_array_equal(picture, (1 - region.mask) * 255)
    assert region.mask is region.mask


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two masks, each cut to its ink and softened."""
    return float(np.corrcoef(soft(one), soft(other))[0, 1])


def soft(mask: np.ndarray) -> np.ndarray:
    x, y, w, h = cv2.boundingRect(mask)
    small = cv2.resize(mask[y : y + h, x : x + w] * 255, (64, 32), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 1.5).ravel()


def test_a_page_on_its_side_has_the_same_region(signed: Cheque) -> None:
    (region,) = find_in(signed.grey)
    (other,) = find_in(np.ascontiguousarray(np.rot90(signed.grey, -1)))
    x, y, a, b = other.box
    assert overlap(region.box, (y, signed.grey.shape[0] - x - a, b, a)) > 0.8
    assert abs(other.angle - region.angle - math.pi / 2) < 0.1


def test_an_upright_crop_shows_the_box_upright_from_any_quarter() -> None:
    page = np.full((200, 300), 255, np.uint8)
    page[80:100, 120:160] = 0
    page[80:90, 120:130] = 90
    straight, (x, y, w, h) = cheque.upright(page, (120, 80, 40, 20), 0.0)
    expected = straight[y : y + h, x : x + w]
    for quarter in range(4):
        lying = np.ascontiguousarray(np.rot90(page, -quarter))
        left, top, width, height = cv2.boundingRect(255 - lying)
        crop, (x, y, w, h) = cheque.upright(lying, (left, top, width, height), quarter * math.pi / 2)
        np.testing.assert_array_equal(crop[y : y + h, x : x + w], expected)


def test_a_slightly_turned_page_is_lifted_level() -> None:
    page = np.full((300, 400), 255, np.uint8)
    page[148:152, 100:300] = 0
    turn = cv2.getRotationMatrix2D((200, 150), -8, 1)
    askew = cv2.warpAffine(page, turn, (400, 300), borderValue=255)
    crop, _ = cheque.upright(askew, (100, 130, 200, 40), math.radians(8))
    _, _, _, height = cv2.boundingRect(255 - crop)
    assert height < 12


def test_a_signature_that_runs_off_the_image_says_so(signed: Cheque) -> None:
    (region,) = find_in(signed.grey)
    assert not region.is_cut
    x, _, w, _ = region.ink_box
    regions = find_in(np.ascontiguousarray(signed.grey[:, : x + round(0.8 * w)]))
    assert all(one.is_cut for one in regions)


def test_blank_paper_a_lone_signature_and_noise_are_no_cheques() -> None:
    rng = np.random.default_rng(FIRST)
    assert code_of(np.full((800, 1700), 250, np.uint8)) == "not_a_cheque"
    assert code_of(decode(Path("samples/ada-moreau/genuine_1.png").read_bytes())) == "not_a_cheque"
    noise = cv2.GaussianBlur(rng.integers(0, 255, (700, 900)).astype(np.uint8), (0, 0), 12)
    assert code_of(cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)) == "not_a_cheque"


def test_two_cheques_on_one_image_are_refused(bank: ink.Bank) -> None:
    cheques = drawn(bank, signed=True, count=12)
    codes = []
    for one, other in zip(cheques[::2], cheques[1::2], strict=True):
        both = np.vstack([one.grey, np.full((20, drawing.WIDTH), 255, np.uint8), other.grey])
        try:
            find_in(both)
        except UnusableImage as problem:
            codes.append(problem.code)
    assert codes.count("two_cheques") >= 5


def test_a_caller_may_bring_a_box(signed: Cheque) -> None:
    (region,) = find_in(signed.grey)
    np.testing.assert_array_equal(lift_box(signed.grey, region.ink_box, region.angle).mask, region.mask)
    left, top, width, height = lift_box(signed.grey, (-10, -10, 100, 60)).box
    assert (left, top, width, height) == (0, 0, 90, 50)
    with pytest.raises(ValueError, match="outside"):
        lift_box(signed.grey, (5000, 10, 20, 20))


def test_marks_on_the_map_are_marks_on_the_page() -> None:
    answer = np.full((*(side // cheque_map.STRIDE for side in cheque_map.INPUT), cheque_map.CHANNELS), -9, np.float32)
    answer[10, 20] = [4, -9, 2, 1, 2, 1, 3, 2, 3, 2, -1, 0, 0, 0, 0, 0, 0, 0]
    (mark,) = cheque_map.read(answer, (512, 1024)).signatures
    assert mark.ink == pytest.approx((2 * (164 - 16), 2 * (84 - 8), 64, 32), abs=0.5)
    assert mark.field == pytest.approx((2 * (164 - 24), 2 * (84 - 16), 96, 64), abs=0.5)
    assert mark.confidence == pytest.approx(1 / (1 + math.exp(-4)) / 9, rel=0.01)
    assert abs(mark.angle) == pytest.approx(math.pi, abs=0.01)


def test_one_signature_marked_twice_is_kept_once() -> None:
    better = Mark(0.9, (10, 10, 50, 20), (0, 0, 70, 40), 0)
    worse = Mark(0.8, (14, 11, 50, 20), (0, 0, 70, 40), 0)
    beside = Mark(0.7, (100, 10, 50, 20), (90, 0, 70, 40), 0)
    kept = cheque_map.distinct([beside, worse, better], lambda one, other: overlap(one.ink, other.ink))
    assert kept == [better, beside]


def test_a_changed_model_file_is_not_served(tmp_path: Path) -> None:
    folder = shutil.copytree(cheque.MODEL, tmp_path / "1")
    assert Finder(folder).version == cheque.finder().version
    with (folder / "cheque.tflite").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BrokenModel, match="checksum"):
        Finder(folder)
    (folder / "cheque.tflite").unlink()
    with pytest.raises(BrokenModel, match="lacks"):
        Finder(folder)
