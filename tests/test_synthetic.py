"""Made-up writers, their forgers, and variations of one real specimen."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from embeddings.decode import decode
from embeddings.ink import find_ink
from embeddings.moments import moments
from embeddings.preprocess import preprocess
from training import duplicator, synthetic
from training.forgery import MECHANISMS, copy
from training.kinematics import draw_hand, lognormal_strokes
from training.measure import distances

SEEDS = range(800_000, 800_012)


def blurred(image: bytes) -> np.ndarray:
    """What is inked where, softly: near for two attempts at one signature, far for two signatures."""
    return cv2.resize(cv2.GaussianBlur(preprocess(image), (0, 0), 6), (32, 16), interpolation=cv2.INTER_AREA).ravel()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_forges_the_same_pixels_again(mechanism: str) -> None:
    person = synthetic.writer(SEEDS[0])
    assert person.forged(0, mechanism=mechanism) == person.forged(0, mechanism=mechanism)
    assert person.forged(0, mechanism=mechanism) != person.forged(1, mechanism=mechanism)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_forgery_looks_like_its_owner_more_than_a_stranger_does(mechanism: str) -> None:
    people = [synthetic.writer(seed) for seed in SEEDS]
    real = np.stack([blurred(person.genuine(0)) for person in people])
    forged = np.stack([blurred(person.forged(0, mechanism=mechanism)) for person in people])
    apart = distances(forged, real)
    own, others = np.diag(apart), apart[~np.eye(len(people), dtype=bool)]
    assert np.median(own) < np.median(others)


def test_forgeries_lie_further_off_than_genuine_signatures_do() -> None:
    genuine, forged = [], []
    for seed in SEEDS:
        person = synthetic.writer(seed)
        first = blurred(person.genuine(0))
        genuine += [np.abs(first - blurred(person.genuine(n))).sum() for n in (1, 2)]
        forged += [np.abs(first - blurred(person.forged(n))).sum() for n in (0, 1)]
    assert np.median(forged) > np.median(genuine)


def test_a_shaky_hand_shakes_and_a_slow_one_cuts_no_corners() -> None:
    plan = [np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0], [4.0, 0.0]])]
    hand = draw_hand(np.random.default_rng(0))
    _, shaky = copy(plan, hand, np.random.default_rng(1), 1.0, "shakier")
    _, slow = copy(plan, hand, np.random.default_rng(1), 1.0, "slower")
    assert shaky.tremor > 0.02
    assert slow.smooth < 0.7 * hand.smooth
    assert slow.steady > hand.steady


def test_lifting_the_pen_makes_more_runs_and_tracing_stays_near() -> None:
    rng = np.random.default_rng
    plan = [np.column_stack([np.arange(20.0), np.tile([0.0, 1.0], 10)])]
    hand = draw_hand(rng(0))
    lifted, _ = copy(plan, hand, rng(3), 1.0, "lifted")
    traced, _ = copy(plan, hand, rng(3), 1.0, "traced")
    assert len(lifted) > len(plan)
    far = [np.abs(plan[0] - point).sum(1).min() for run in traced for point in run]
    assert max(far) < 0.5


def test_a_pen_ends_where_its_plan_ends() -> None:
    targets = np.array([[0.0, 0.0], [2.0, 1.0], [3.0, -1.0], [5.0, 0.0]])
    path = lognormal_strokes(targets, smooth=1.8)
    assert path[0] == pytest.approx(targets[0], abs=0.05)
    assert path[-1] == pytest.approx(targets[-1], abs=0.15)


def test_writers_differ_in_how_much_they_vary() -> None:
    variation = [synthetic.writer(seed).variation for seed in range(300)]
    assert 0.07 < np.median(variation) < 0.11
    assert np.percentile(variation, 95) > 2 * np.percentile(variation, 5)


def test_the_contact_sheet_shows_every_mechanism(tmp_path: Path) -> None:
    synthetic.main(["--writers", "2", "--out", str(tmp_path / "sheet.png")])
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape == (24 + 2 * 110, (3 + len(MECHANISMS)) * 250)
    assert all((column < 128).any() for column in np.hsplit(sheet[24:], 3 + len(MECHANISMS)))


def test_a_variation_is_the_same_signature_a_little_otherwise() -> None:
    specimen, stranger = (synthetic.writer(seed).genuine(0) for seed in SEEDS[:2])
    varied = duplicator.variations(specimen, 5)
    assert varied == duplicator.variations(specimen, 5)
    assert len({*varied, specimen}) == 6
    apart = [np.abs(blurred(specimen) - blurred(one)).sum() for one in varied]
    assert min(apart) > 0
    assert np.median(apart) < 0.5 * np.abs(blurred(specimen) - blurred(stranger)).sum()


def test_a_variation_keeps_its_ink() -> None:
    specimen = synthetic.writer(SEEDS[3]).genuine(0)
    before = find_ink(decode(specimen))
    for one in duplicator.variations(specimen, 5):
        after = find_ink(decode(one))
        assert float(after.sum()) == pytest.approx(float(before.sum()), rel=0.15)
        assert moments(after)[2] == pytest.approx(moments(before)[2], rel=0.15)


def test_the_duplicator_draws_a_sheet(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(synthetic.writer(SEEDS[4]).genuine(0))
    duplicator.main([str(tmp_path / "one.png"), "--count", "3", "--out", str(tmp_path / "sheet.png")])
    height, width = decode((tmp_path / "one.png").read_bytes()).shape
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[0] >= height
    assert sheet.shape[1] >= 4 * width
