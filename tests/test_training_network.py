"""Network, loss, training and export, on drawn signatures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training/requirements.txt is not installed")

import keras

from training import batches, export, losses, network, synthetic, train
from training.canvases import Canvases
from training.measure import auc, distances, run_trials

pytestmark = [
    pytest.mark.tensorflow,
    # TensorFlow 2.21 predates numpy 2's `copy` argument; nothing of ours can change that.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning"),
]

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def drawn() -> Canvases:
    return synthetic.canvases(range(700, 706), genuine=4, forged=2)


@pytest.fixture(scope="module")
def tower() -> keras.Model:
    keras.utils.set_random_seed(0)
    return network.build_tower()


def as_input(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None].astype(np.float32)


def test_weights_of_the_head_cannot_go_negative(tower: keras.Model) -> None:
    scale = tower.get_layer("scale")
    before = scale.get_weights()
    for raw in (-50.0, -1.0, 0.0, 50.0):
        scale.set_weights([np.full(before[0].shape, raw, np.float32)])
        assert (scale.weights_now() >= 0).all()
    scale.set_weights(before)


def test_the_head_can_be_set_to_given_weights(tower: keras.Model) -> None:
    scale = tower.get_layer("scale")
    before = scale.get_weights()
    wanted = np.linspace(0.01, 9, len(before[0]), dtype=np.float32)
    scale.set_weights_to(wanted)
    assert scale.weights_now() == pytest.approx(wanted, rel=1e-4)
    scale.set_weights(before)


def test_the_logit_of_a_pair_is_bias_minus_l1(tower: keras.Model, drawn: Canvases) -> None:
    siamese = network.siamese(tower)
    siamese.get_layer("head").bias.assign(3.0)
    siamese.get_layer("head").own.assign([0.1, 0.3, *[0.0] * (network.COLLECTIONS - 2)])
    vectors = train.embed(tower, drawn.pixels[:5])
    asked = {"canvas": as_input(drawn.pixels[:5]), "collection": np.array([0, 0, 0, 0, 1])}
    logits = siamese.predict(asked, verbose=0)
    apart = distances(vectors, vectors)
    assert logits[:4, :4] == pytest.approx(4.0 - apart[:4, :4], abs=1e-3)  # 3 of all and 1 of the collection
    assert logits[:4, 4] == pytest.approx(5.0 - apart[:4, 4], abs=1e-3)  # halfway between two collections


def test_pairs_are_told_apart_by_kind() -> None:
    #                   owner, text, genuine
    labels = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0], [2, 1, 1], [3, 3, 1], [3, 3, 0]])
    kinds = {kind: keras.ops.convert_to_numpy(mask) for kind, mask in losses.pair_kinds(labels).items()}
    pairs = {kind: {(a, b) for a, b in np.argwhere(mask) if a < b} for kind, mask in kinds.items()}
    assert pairs["genuine"] == {(0, 1)}
    assert pairs["skilled"] == {(0, 2), (1, 2), (4, 5)}
    assert pairs["same_text"] == {(0, 3), (1, 3), (2, 3)}
    assert pairs["other"] == {(a, b) for a in range(4) for b in (4, 5)}


def test_the_untrained_tower_already_ranks_genuine_over_strangers(tower: keras.Model, drawn: Canvases) -> None:
    trials = run_trials(train.embed(tower, drawn.pixels), drawn.owner, drawn.genuine)
    assert auc(trials.of("genuine"), trials.of("random")) > 0.9


def test_how_a_signature_leans_is_part_of_its_vector() -> None:
    lean = network.Lean()
    falling = np.eye(128, 256, 64, dtype=np.float32)[None, :, :, None]  # down to the right
    rising = falling[:, ::-1]
    level = np.zeros_like(falling)
    level[:, 63:65] = 1
    along = [float(np.asarray(lean(ink))[0, 0]) for ink in (falling, level, rising)]
    assert along == pytest.approx([-along[2], 0, -along[0]], abs=1e-3)
    assert along[0] > 1


def test_a_batch_does_not_depend_on_who_asks(drawn: Canvases) -> None:
    share = batches.Share(drawn, owners=3, genuine=2, forged=1)
    one, two = (batches.Batches([share], steps=2, seed=5) for _ in range(2))
    assert np.array_equal(one[1][0]["canvas"], two[1][0]["canvas"])
    assert one[0][0]["canvas"].shape == (9, 128, 256, 1)
    assert one[0][0]["collection"].tolist() == [0] * 9
    assert not np.array_equal(one[0][0]["canvas"], one[1][0]["canvas"])


def test_an_augmented_canvas_is_still_ink_on_paper(drawn: Canvases) -> None:
    share = batches.Share(drawn, owners=6, genuine=2, forged=1)
    inputs, labels = batches.Batches([share], steps=1, seed=0)[0]
    canvases = inputs["canvas"]
    assert set(np.unique(canvases)) == {0.0, 1.0}
    assert 0.01 < canvases.mean() < 0.2
    assert labels.dtype == np.int32


@pytest.mark.slow
def test_training_lowers_the_loss_on_drawn_signatures(drawn: Canvases, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    few = ["--epochs", "3", "--steps", "4", "--checkpoints", str(tmp_path)]
    chosen = train.options(["--data", "unused", "--out", "unused", *few])
    shares = [batches.Share(drawn, owners=6, genuine=2, forged=1)]
    siamese = train.compiled(train.prepare(shares), chosen, same_text=False)
    found = train.fit(siamese, shares, chosen)
    assert found[-1]["loss"] < found[0]["loss"]
    again = train.compiled(train.prepare(shares), chosen, same_text=False)
    assert train.fit(again, shares, chosen) == found  # resumed where it ended: nothing left to do
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), siamese.get_weights(), strict=True))


def test_the_exported_tower_answers_what_keras_answers(tower: keras.Model, drawn: Canvases, tmp_path: Path) -> None:
    folded = export.folded(tower, slope=0.5)
    export.write_tower(folded, tmp_path, as_input(drawn.pixels[:4]))
    trained = 0.5 * train.embed(tower, drawn.pixels)
    served = export.run_litert(tmp_path / "tower.tflite", as_input(drawn.pixels))
    assert np.abs(trained - served).max() < 1e-4
    assert (tmp_path / "tower" / "1" / "saved_model.pb").exists()


def test_a_tower_that_does_not_convert_faithfully_is_refused(
    tower: keras.Model, drawn: Canvases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        export, "run_litert", lambda _, canvases: np.zeros((len(canvases), tower.output_shape[-1]), np.float32)
    )
    with pytest.raises(export.TowersDisagree):
        export.write_tower(export.folded(tower, 1.0), tmp_path, as_input(drawn.pixels[:2]))


@pytest.mark.slow
def test_train_runs_as_a_sagemaker_script(tmp_path: Path) -> None:
    from tests.test_training import draw_cedar

    data, model = draw_cedar(tmp_path / "training", writers=4, each=3), tmp_path / "model"
    done = subprocess.run(
        [sys.executable, "-m", "training.train", *"--epochs 1 --steps 2 --drawn-writers 3".split()],  # noqa: SIM905
        cwd=ROOT,
        env={**os.environ, "SM_MODEL_DIR": str(model), "SM_CHANNEL_TRAINING": str(data)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert keras.models.load_model(model / "tower.keras").output_shape == (None, 498)
    run = json.loads((model / "run.json").read_text())
    assert [one["source"] for one in run["collections"]] == ["cedar", "drawn"]
