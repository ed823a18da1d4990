import pickle
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from embeddings.errors import CODES, UnusableImage
from embeddings.ink import read_ink
from embeddings.preprocess import prepare, preprocess
from embeddings.quality import BLOCKING, DOUBTFUL, assess
from tests.drawings import paper, photo, png, rule, sign, signature, text

CHECKS = np.kron(np.indices((12, 20)).sum(0) % 2, np.ones((20, 20))).astype(np.uint8) * 255
RANDOM = np.random.default_rng(1).integers(0, 256, (240, 500), dtype=np.uint8)
BOX = cv2.rectangle(paper(), (20, 20), (480, 220), 90, 2)
SHADOW = np.tile(np.linspace(90, 250, 500).astype(np.uint8), (240, 1))
SIDE_BY_SIDE = sign(sign(paper(240, 1100), (220, 120), 0), (860, 120), 5)
ONE_BELOW = sign(sign(paper(600, 500), (250, 130), 0), (250, 470), 5)

UNUSABLE = {
    "no_ink": [paper(), np.full((240, 500), 255, np.uint8), paper(noise=12)],
    "too_faint": [signature(ink=grey) for grey in (215, 228, 232)],
    "too_small": [sign(paper(120, 200), (100, 60), 0, 0.1), cv2.circle(paper(), (250, 120), 4, 30, -1)],
    "only_lines": [rule(paper(), 120), rule(paper(), 60, 120, slope=0.02), BOX, rule(BOX, 120)],
    "print_not_ink": [text(scale, lines) for scale in (0.4, 0.6, 1, 2.5) for lines in (1, 5)],
    "not_on_paper": [photo(), RANDOM, np.where(RANDOM > 127, 255, 0).astype(np.uint8), CHECKS],
}
DOUBTED = {
    "clipped": [signature()[:125], signature()[:, :300]],
    "two_signatures": [SIDE_BY_SIDE, ONE_BELOW],
}


def cases(table: dict[str, list[NDArray[np.uint8]]]) -> list[tuple[str, NDArray[np.uint8]]]:
    return [pytest.param(code, page, id=f"{code}-{n}") for code in table for n, page in enumerate(table[code])]


@pytest.mark.parametrize(("code", "page"), cases(UNUSABLE))
def test_what_holds_no_signature_is_refused_for_its_own_reason(code: str, page: NDArray[np.uint8]) -> None:
    with pytest.raises(UnusableImage) as refusal:
        preprocess(png(page))
    assert refusal.value.code == code
    assert refusal.value.index == 0
    assert CODES[code] in str(refusal.value)


@pytest.mark.parametrize(("code", "page"), cases(DOUBTED))
def test_a_doubtful_signature_passes_with_its_reason(code: str, page: NDArray[np.uint8]) -> None:
    prepared = prepare(png(page))
    assert prepared.quality.codes == (code,)
    assert not prepared.quality.ok
    assert prepared.canvas.any()


@pytest.mark.parametrize("seed", range(12))
def test_a_plain_signature_is_good(seed: int) -> None:
    for page in (signature(seed), signature(seed, pen=6), rule(signature(seed), 60, 180)):
        assert assess(read_ink(page)).codes == ()


def test_a_shadow_on_a_blank_page_is_no_ink() -> None:
    with pytest.raises(UnusableImage) as refusal:
        preprocess(png(SHADOW))
    assert refusal.value.code in ("no_ink", "too_faint")


def test_every_code_has_its_sentence() -> None:
    assert {*BLOCKING, *DOUBTFUL} <= set(CODES)
    assert all(sentence.count(". ") == 1 and sentence.endswith(".") for sentence in CODES.values())


def test_a_refusal_survives_the_way_between_processes() -> None:
    refusal = pickle.loads(pickle.dumps(UnusableImage(3, "no_ink")))  # noqa: S301 - our own bytes
    assert (refusal.index, refusal.code) == (3, "no_ink")


@pytest.mark.data
@pytest.mark.parametrize(
    "pattern",
    ["cedar/signatures/*/*.png", "sigcomp2011-dutch/*/*/*.png", "svc2004/*/*/*.png", "cross-media-chinese/*/*/*.png"],
)
def test_hardly_any_real_signature_is_refused_or_doubted(data: Path, pattern: str) -> None:
    files = sorted(data.glob(pattern))[::8]
    codes = Counter(code for file in files for code in prepare(file.read_bytes()).quality.codes)
    assert len(files) > 150
    assert codes.total() <= 0.02 * len(files)
