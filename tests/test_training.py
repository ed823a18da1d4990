"""The parts of training that need no network: readers, folds, drawn writers, the floor and the error rates."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training/requirements.txt is not installed")

from training import canvases, datasets, floor, folds, leak, measure, samples, synthetic


def draw_cedar(root: Path, writers: int = 2, each: int = 2) -> Path:
    """A tiny tree in CEDAR's own layout, drawn."""
    for half, name in (("full_org", "original"), ("full_forg", "forgeries")):
        (root / "signatures" / half).mkdir(parents=True)
        for number in range(1, writers + 1):
            person = synthetic.writer(500 + number)
            for one in range(1, each + 1):
                picture = person.genuine(one) if name == "original" else person.forged(one)
                (root / "signatures" / half / f"{name}_{number}_{one}.png").write_bytes(picture)
    return root


def test_the_cedar_reader_takes_its_archives_layout(tmp_path: Path) -> None:
    found = datasets.cedar(draw_cedar(tmp_path))
    assert len(found) == 8
    assert datasets.owners(found) == ["cedar/01", "cedar/02"]
    assert sum(s.genuine for s in found) == 4
    assert all(("original" in s.path.name) == s.genuine for s in found)


def test_the_cedar_reader_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(datasets.BrokenDataset, match="full_org is missing"):
        datasets.cedar(tmp_path)


def test_the_cedar_reader_refuses_a_stray_name(tmp_path: Path) -> None:
    root = draw_cedar(tmp_path)
    (root / "signatures" / "full_org" / "thumbnail.png").touch()
    with pytest.raises(datasets.BrokenDataset, match=r"expected original_W_N\.png"):
        datasets.cedar(root)


def test_the_cedar_reader_refuses_a_writer_without_forgeries(tmp_path: Path) -> None:
    root = draw_cedar(tmp_path)
    for path in (root / "signatures" / "full_forg").glob("forgeries_2_*"):
        path.unlink()
    with pytest.raises(datasets.BrokenDataset, match="cedar/02"):
        datasets.cedar(root)


def test_cross_media_owners_are_a_person_and_a_name(tmp_path: Path) -> None:
    for writer in ("e001", "e002"):
        (tmp_path / "genuine" / writer).mkdir(parents=True)
        for number in (1, 2, 11):
            (tmp_path / "genuine" / writer / f"{number}.png").touch()
    found = datasets.cross_media(tmp_path)
    assert datasets.owners(found) == [f"cross-media/{w}-{n}" for w in ("e001", "e002") for n in (0, 1)]
    assert {s.text for s in found if s.owner.endswith("-0")} == {"cross-media/0"}


def test_folds_share_no_writer() -> None:
    tested: list[str] = []
    for number in range(5):
        fit, calibrate, test = folds.split(number)
        assert (len(fit), len(calibrate), len(test)) == (36, 8, 11)
        assert len({*fit, *calibrate, *test}) == 55
        tested += test
    assert len(set(tested)) == 55


def test_the_same_seed_draws_the_same_signature() -> None:
    assert synthetic.writer(7).genuine(0) == synthetic.writer(7).genuine(0)
    assert synthetic.writer(7).forged(1) == synthetic.writer(7).forged(1)
    assert synthetic.writer(7).genuine(0) != synthetic.writer(7).genuine(1)
    assert synthetic.writer(7).genuine(0) != synthetic.writer(8).genuine(0)


def test_the_samples_are_the_ones_the_generator_draws(tmp_path: Path) -> None:
    kept = Path(__file__).parents[1] / "samples"
    written = samples.write(tmp_path)
    assert len(written) == len(samples.PEOPLE) * (samples.GENUINE + samples.FORGED) + len(samples.CHEQUES)
    for path in written:
        committed, drawn = (_pixels(p) for p in (kept / path.relative_to(tmp_path), path))
        # Another processor may round a pixel to the next grey level.
        assert np.abs(committed - drawn).mean() < 0.5, f"{path.name}: run python -m training.samples"


def test_canvases_come_back_from_the_cache_as_they_were(tmp_path: Path) -> None:
    found = datasets.cedar(draw_cedar(tmp_path / "cedar"))
    fresh, kept = (canvases.load(found, tmp_path / "cache") for _ in range(2))
    assert fresh.pixels.shape == (8, 128, 256)
    assert np.array_equal(fresh.pixels, kept.pixels)
    assert list(fresh.owner) == list(kept.owner) == [s.owner for s in found]


def test_an_unusable_image_counts_as_a_failure_to_enrol(tmp_path: Path) -> None:
    root = draw_cedar(tmp_path / "cedar")
    blank = cv2.imencode(".png", np.full((100, 300), 240, np.uint8))[1].tobytes()
    (root / "signatures" / "full_org" / "original_1_1.png").write_bytes(blank)
    loaded = canvases.load(datasets.cedar(root))
    assert (len(loaded), loaded.unusable) == (7, 1)


def test_the_floor_ranks_genuine_over_strangers() -> None:
    drawn = synthetic.canvases(range(600, 606), genuine=4, forged=2)
    trials = measure.run_trials(floor.direction_grid(drawn.pixels), drawn.owner, drawn.genuine)
    assert measure.auc(trials.of("genuine"), trials.of("random")) > 0.95


def test_trials_never_ask_a_reference_about_itself() -> None:
    owner = np.repeat(["a", "b"], 4)
    genuine = np.array([True, True, True, False] * 2)
    trials = measure.run_trials(np.arange(8, dtype=np.float32)[:, None], owner, genuine)
    assert trials.score.max() < 0
    assert [len(trials.of(kind)) for kind in measure.KINDS] == [2 * 6, 2 * 3, 2 * 9]


def test_the_equal_error_rate_of_known_scores() -> None:
    score = np.array([3.0, 2.0, 1.0, 0.0, 2.5, 0.5, -1.0, -2.0])
    trials = measure.Trials(score, np.repeat([0, 1], 4), np.tile([0, 1], 4))
    errors = measure.Errors(trials)
    assert errors.eer("skilled") == pytest.approx(0.25)
    assert errors.accepted_at("skilled", errors.threshold_at_far("skilled", 0.0)) == 0
    assert 1 - errors.accepted_at("genuine", errors.threshold_at_frr(0.25)) <= 0.25


def test_an_interval_contains_its_figure() -> None:
    rng = np.random.default_rng(0)
    kind, writer = np.repeat([0, 1], 500), np.tile(np.arange(10), 100)
    errors = measure.Errors(measure.Trials(rng.normal(0, 1, 1000) + (kind == 0), kind, writer))
    interval = errors.interval(lambda weights: errors.eer("skilled", weights), draws=50)
    assert interval["low"] <= interval["value"] <= interval["high"]


def test_pooling_refuses_a_writer_of_two_folds() -> None:
    one = measure.Trials(np.zeros(2), np.array([0, 1]), np.array([3, 3]))
    with pytest.raises(AssertionError, match="disjoint"):
        measure.pool([one, one])


def test_platt_scaling_puts_even_odds_where_the_classes_meet() -> None:
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(-10, 1, 2000), rng.normal(-14, 1, 8000)])
    trials = measure.Trials(score, np.repeat([0, 1], [2000, 8000]), np.zeros(10_000, int))
    slope, offset = measure.platt(trials)
    assert slope > 0
    assert -offset / slope == pytest.approx(-12, abs=0.2)


def test_the_leak_gate_finds_a_planted_leak() -> None:
    rng = np.random.default_rng(0)
    owner, genuine = np.repeat([f"w{n:02d}" for n in range(20)], 10), np.tile([True] * 5 + [False] * 5, 20)
    honest = rng.normal(0, 1, (200, 8)).astype(np.float32)
    leaking = honest + 3 * genuine[:, None].astype(np.float32)
    assert leak.probe_within(leaking, owner, genuine) > 0.95
    assert leak.strangers_auc(leaking, owner, genuine) > 0.8
    assert abs(leak.strangers_auc(honest, owner, genuine) - 0.5) < 0.05


def _pixels(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE).astype(int)
