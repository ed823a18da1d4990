import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.decode import decode
from embeddings.overlap import ROUGHLY, SAME, Ink, overlap, pack, roughly_alike, unpack
from embeddings.preprocess import CANVAS, preprocess
from tests.support.images import signature

PAPER = 235.0


def _ink(image: bytes) -> Ink:
    return unpack(pack(preprocess(image)))


def _scanned_again(image: bytes, degrees: float, size: float, quality: int) -> bytes:
    """A copy: turned, of another size, on noisy grey paper, as JPEG."""
    grey = decode(image)
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 0.9)
    turned = cv2.warpAffine(grey, turn, (width, height), borderValue=255)
    shown = cv2.resize(turned, None, fx=size, fy=size, interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(7).normal(0, 4, shown.shape)
    printed = np.clip(shown * (PAPER / 255) + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", printed, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@pytest.mark.parametrize(("degrees", "size", "quality"), [(3, 1, 80), (-3, 0.5, 50), (1, 2, 30)])
def test_a_copy_scanned_again_is_the_same_ink(degrees: float, size: float, quality: int) -> None:
    original = _ink(signature("ada"))

    copy = _ink(_scanned_again(signature("ada"), degrees, size, quality))

    assert overlap(copy, original) >= SAME
    assert roughly_alike(copy, np.frombuffer(pack(original), np.uint8)[np.newaxis])[0] >= ROUGHLY


@pytest.mark.parametrize("writer", ["ada", "bruno"])
def test_another_signature_of_the_same_person_is_other_ink(writer: str) -> None:
    inks = [_ink(signature(writer, variant)) for variant in range(4)]

    assert max(overlap(inks[0], other) for other in inks[1:]) < SAME


def test_ink_that_one_of_them_lacks_counts_whichever_lacks_it() -> None:
    whole = _ink(signature("ada"))
    half = whole.copy()
    half[:, CANVAS[1] // 2 :] = 0

    assert overlap(half, whole) < SAME
    assert overlap(whole, half) < SAME


@pytest.mark.parametrize("pixels", [0, 1, 19])
def test_too_little_ink_overlaps_with_nothing(pixels: int) -> None:
    speck = np.zeros(CANVAS, np.uint8)
    speck[5, :pixels] = 1

    assert overlap(speck, speck) == overlap(speck, _ink(signature("ada"))) == 0.0


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_canvas_comes_back_from_its_bits(seed: int, share: float) -> None:
    canvas = (np.random.default_rng(seed).random(CANVAS) < share).astype(np.float32)

    packed = pack(canvas)

    assert len(packed) == CANVAS[0] * CANVAS[1] // 8
    assert np.array_equal(unpack(packed), canvas)


def test_the_first_look_agrees_with_counting_pixels() -> None:
    ink, others = _ink(signature("ada")), [_ink(signature("bruno")), _ink(signature("ada", 1)), np.zeros(CANVAS)]
    around = cv2.distanceTransform(1 - ink, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= 3.2  # corners of a round disc

    shares = roughly_alike(ink, np.stack([np.packbits(other.astype(np.uint8)) for other in others]))

    counted = [np.mean(around[other > 0]) if other.any() else 0 for other in others]
    assert shares == pytest.approx(counted, abs=0.03)


@pytest.mark.data
def test_of_real_signatures_none_is_a_copy_but_those_that_were_scanned_twice(cedar) -> None:  # type: ignore[no-untyped-def]
    """In CEDAR three signatures of writer 47 are there twice."""
    found = set()
    for writer in (7, 47):
        inks = {n: _ink((cedar / "full_org" / f"original_{writer}_{n}.png").read_bytes()) for n in range(1, 13)}
        found |= {(writer, a, b) for a in inks for b in inks if a < b and overlap(inks[a], inks[b]) >= SAME}

    assert found == {(47, 1, 4), (47, 2, 5), (47, 3, 12)}
