"""What is measured of a tower: accounts, other captures, a bundle as it is served."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training/requirements.txt is not installed")

from embeddings import Encoder
from embeddings.error_rates import ErrorTable
from training import accounts, conditions, datasets, measure, served, synthetic


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[datasets.Signature]:
    """Four made-up writers, and one image that nobody can use."""
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(4):
        person = synthetic.writer(700_000 + number)
        for half, draw, count in (("genuine", person.genuine, 6), ("forged", person.forged, 3)):
            (folder / half / f"w{number}").mkdir(parents=True)
            for index in range(count):
                (folder / half / f"w{number}" / f"{index}.png").write_bytes(draw(index))
    blank = np.full((200, 400), 255, np.uint8)
    cv2.imwrite(str(folder / "genuine" / "w0" / "blank.png"), blank)
    return datasets.by_folder(folder, "drawn")


def test_a_bundle_is_measured_as_it_is_served(drawn: list[datasets.Signature], tmp_path: Path) -> None:
    found = served.write(None, {"drawn": drawn}, tmp_path)["drawn"]

    assert (found["images"], found["refused"]) == (37, 1)
    for count in ("1", "3", "5"):
        assert 0 <= found["eer"][count]["random"]["value"] < 0.3
    assert "| drawn | 37 | 1 |" in (tmp_path / "served.md").read_text("utf-8")


@pytest.mark.parametrize("references", [1, 3])
def test_the_logits_of_trials_are_those_of_the_encoders_own_scores(
    drawn: list[datasets.Signature], references: int
) -> None:
    encoder = Encoder.load()
    some = [one for one in drawn if one.genuine and one.owner == "drawn/w1"][: references + 1]
    seen = served.embed(encoder, some, "some")

    trials = seen.trials(encoder.bundle.head, references)

    scores = {round(float(score), 5) for score in 1 / (1 + np.exp(-trials.score))}
    for left_out in range(references + 1):
        others = np.delete(seen.specimens, left_out, axis=0)
        if references > 1 or left_out == 0:
            assert round(encoder.score(others, seen.queries[left_out]), 5) in scores


def test_several_references_are_not_measured_without_what_people_typically_vary() -> None:
    owner, genuine = np.repeat(["a", "b"], 4), np.ones(8, bool)

    with pytest.raises(ValueError, match="typical"):
        measure.run_trials(np.zeros((8, 2), np.float32), owner, genuine, references=3)


def test_what_people_typically_vary_is_the_mean_over_writers() -> None:
    vectors = np.array([[0.0], [1.0], [0.0], [3.0], [100.0]], np.float32)
    owner, genuine = np.array(["a", "a", "b", "b", "b"]), np.array([True, True, True, True, False])

    assert measure.typical_variation(vectors, owner, genuine) == 2.0


def test_error_rates_of_trials_make_a_table_that_a_bundle_accepts() -> None:
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 3, 6000)
    trials = measure.Trials(rng.normal(3.0 - 3 * kinds, 2), kinds, rng.integers(0, 20, 6000))

    table = ErrorTable.parse(accounts.error_table({1: trials, 3: trials}))

    threshold = table.threshold_for(0.05)
    assert threshold is not None
    logit = np.log(threshold / (1 - threshold))
    assert (trials.of("skilled") >= logit).mean() == pytest.approx(0.05, abs=0.01)


def test_targets_hold_on_accounts_of_people_who_are_easily_told_apart() -> None:
    folds, trials = [], []
    for number in range(3):
        rng = np.random.default_rng(number)
        owner = np.repeat([f"{number}-{writer}" for writer in range(11)], 12)
        genuine = np.tile(np.repeat([True, False], 6), 11)
        at = np.repeat(rng.normal(size=(11, 16)) * 2, 12, axis=0)
        vectors = at + rng.normal(size=at.shape) * np.where(genuine, 0.1, 0.35)[:, None]
        folds.append(accounts.Asked(vectors.astype(np.float32), owner, genuine, 4.0))
        found = measure.run_trials(vectors, owner, genuine, first_writer=100 * number)
        trials.append({1: found.mapped(1.0, 4.0)})

    rows = {(row["people"], row["target_far"]): row for row in accounts.held(folds, trials, draws=2)}

    assert set(rows) == {(people, target) for people in accounts.PEOPLE for target in accounts.TARGETS}
    for (_, target), row in rows.items():
        assert row["skilled_far"] <= target + 0.05
        assert row["random_far"] <= target


@pytest.mark.parametrize("condition", conditions.CONDITIONS)
def test_every_condition_gives_another_image_of_the_same_ink(condition: str) -> None:
    image = synthetic.writer(700_000).genuine(0)

    other = conditions.changed(image, condition)

    assert other != image
    assert other == conditions.changed(image, condition)
    Encoder.load().embed([other])
