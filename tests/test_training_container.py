"""Training as SageMaker needs it: interrupted, resumed, stopped early, on several devices."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training/requirements.txt is not installed")

import keras

from training import checkpoints, train
from training.checkpoints import Checkpoints, is_whole

ROOT = Path(__file__).parents[1]
SMALL = "--epochs 3 --steps 2 --drawn-writers 0 --fold 0".split()  # noqa: SIM905

pytestmark = [
    pytest.mark.tensorflow,
    # TensorFlow 2.21 predates numpy 2's `copy` argument; nothing of ours can change that.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning"),
]


def weights(folder: Path) -> list[np.ndarray]:
    return list(keras.models.load_model(folder / "tower.keras").get_weights())


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_interrupted_at_a_random_step_and_resumed_the_weights_are_the_same(
    drawn_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    arguments = ["--data", str(drawn_set), *SMALL, "--seed", str(seed), "--patience", "2"]
    train.main([*arguments, "--out", str(tmp_path / "whole")])
    resumed = [*arguments, "--out", str(tmp_path / "resumed"), "--checkpoints", str(tmp_path / "kept")]
    countdown = int(np.random.default_rng(seed).integers(1, 6))
    draw = train.Batches.__getitem__

    def interrupted(batches: train.Batches, step: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal countdown
        if batches.augment:  # a training batch, not one of validation
            countdown -= 1
            if countdown < 0:
                raise RuntimeError("the instance is taken away")
        return draw(batches, step)

    monkeypatch.setattr(train.Batches, "__getitem__", interrupted)
    with pytest.raises(Exception, match="taken away"):  # TensorFlow may wrap it
        train.main(resumed)
    monkeypatch.undo()
    train.main(resumed)

    assert same(weights(tmp_path / "resumed"), weights(tmp_path / "whole"))
    histories = [json.loads((tmp_path / name / "run.json").read_text())["history"] for name in ("resumed", "whole")]
    assert histories[0] == histories[1]


def test_training_stops_when_unseen_writers_no_longer_gain() -> None:
    losses = [0.9, 0.7, 0.8, 0.75]
    history = [{"loss": 1.0, "val_loss": loss} for loss in losses]

    assert train.best_epoch(history) == 2
    assert train.out_of_patience(history, 2)
    assert not train.out_of_patience(history, 3)
    assert not train.out_of_patience(history, 0)
    assert not train.out_of_patience([], 1)


def test_patience_without_anyone_held_out_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.options(["--data", "d", "--out", "o", "--patience", "2"])
    assert "needs a --fold" in capsys.readouterr().err


def test_a_checkpoint_that_was_cut_short_gives_way_to_the_one_before(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile(optimizer="adam", loss="mse")
    network.optimizer.build(network.trainable_variables)
    kept = Checkpoints(tmp_path)
    network.set_weights([np.full((2, 1), 1.0), np.zeros(1)])
    kept.save(network, [{"loss": 3.0}])
    network.set_weights([np.full((2, 1), 2.0), np.zeros(1)])
    kept.save(network, [{"loss": 3.0}, {"loss": 2.0}])
    newest = tmp_path / "epoch-0002"
    assert is_whole(newest)
    state = newest / checkpoints.NETWORK
    state.write_bytes(state.read_bytes()[:100])

    assert Checkpoints(tmp_path).resume(network) == [{"loss": 3.0}]
    assert network.get_weights()[0].tolist() == [[1.0], [1.0]]


def test_no_held_out_writer_is_fitted(drawn_set: Path) -> None:
    chosen = train.options(["--data", str(drawn_set), "--out", "o", *SMALL])
    fitted = {owner for share in train.collections(chosen) for owner in share.canvases.owner}
    unseen = train.validation(chosen)

    assert unseen is not None
    assert not fitted & set(unseen.owner)
    held_out = train.training_set.load(drawn_set).held_out(0)
    assert not fitted & {*held_out.test, *held_out.calibrate}


@pytest.mark.slow
def test_several_devices_train_together(drawn_set: Path, tmp_path: Path) -> None:
    """Two devices made of one processor: the same mirrored strategy as for several GPUs."""
    script = f"""
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from training import container, train
container.every_gpu = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
train.main({["--data", str(drawn_set), *SMALL, "--out", str(tmp_path)]!r})
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)

    history = json.loads((tmp_path / "run.json").read_text())["history"]
    validation = [epoch["val_loss"] for epoch in history]
    assert len(set(validation)) == len(validation) == 3  # every epoch moved the weights
    assert max(validation) < 0.5  # far better than chance, which is 0.69: so few steps hardly better the start
