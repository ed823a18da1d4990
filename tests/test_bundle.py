import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from embeddings.bundle import FORMAT, MANIFEST, TOWER, BrokenBundle, load
from embeddings.head import Head
from embeddings.preprocess import CANVAS, PREPROCESSING_VERSION

RATE = {"value": [0.05, 0.05], "low": [0.03, 0.03], "high": [0.07, 0.07]}
RATES = {"1": {"score": [0.1, 0.9], "skilled_far": RATE, "random_far": RATE, "frr": RATE}}
FILES = {TOWER: b"a tower", "card.md": b"# A card"}


def manifest() -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model_version": "test-1",
        "preprocessing_version": PREPROCESSING_VERSION,
        "canvas": list(CANVAS),
        "dimension": 256,
        "bias": 4.0,
        "typical": 2.0,
        "thresholds": {"accept": 0.6, "reject": 0.3},
        "error_rates": RATES,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
    }


def write(folder: Path, described: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(described), "utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "bundle", manifest())


def test_a_good_bundle_loads(folder: Path) -> None:
    loaded = load(folder)

    assert (loaded.model_version, loaded.dimension) == ("test-1", 256)
    assert loaded.head == Head(4.0, 2.0)
    assert (loaded.thresholds.accept, loaded.thresholds.reject) == (0.6, 0.3)
    assert loaded.error_rates.at(0.5).skilled_far.high == pytest.approx(0.07)
    assert loaded.tower.read_bytes() == FILES[TOWER]
    assert loaded.card.read_bytes() == FILES["card.md"]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    content = bytearray(FILES[name])
    content[0] ^= 1
    (folder / name).write_bytes(bytes(content))

    with pytest.raises(BrokenBundle, match=f"{name} was changed"):
        load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(BrokenBundle, match=f"lacks {name}"):
        load(folder)


@pytest.mark.parametrize("inside", ["../stranger", "sub/../../stranger"])
def test_a_file_outside_the_folder_is_refused_although_its_checksum_fits(folder: Path, inside: str) -> None:
    (folder / "sub").mkdir()
    (folder.parent / "stranger").write_bytes(b"not ours")
    described = manifest()
    described["files"][inside] = hashlib.sha256(b"not ours").hexdigest()

    with pytest.raises(BrokenBundle, match="outside its folder"):
        load(write(folder, described))


def test_an_absolute_path_is_refused_although_its_checksum_fits(folder: Path) -> None:
    stranger = folder.parent / "stranger"
    stranger.write_bytes(b"not ours")
    described = manifest()
    described["files"][str(stranger)] = hashlib.sha256(b"not ours").hexdigest()

    with pytest.raises(BrokenBundle, match="outside its folder"):
        load(write(folder, described))


def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    stranger = folder.parent / "stranger"
    stranger.write_bytes(FILES[TOWER])
    (folder / TOWER).unlink()
    (folder / TOWER).symlink_to(stranger)

    with pytest.raises(BrokenBundle, match="outside its folder"):
        load(folder)


@pytest.mark.parametrize("files", [{}, {"card.md": hashlib.sha256(FILES["card.md"]).hexdigest()}, [TOWER], None])
def test_a_manifest_without_the_checksum_of_the_tower_is_refused(tmp_path: Path, files: object) -> None:
    with pytest.raises(BrokenBundle, match="no checksum"):
        load(write(tmp_path / "bundle", manifest() | {"files": files}))


def test_a_bundle_of_another_preprocessing_version_is_refused_naming_both(tmp_path: Path) -> None:
    other = write(tmp_path / "bundle", manifest() | {"preprocessing_version": "another"})

    with pytest.raises(BrokenBundle, match="another") as refusal:
        load(other)

    assert str(PREPROCESSING_VERSION) in str(refusal.value)


def test_a_bundle_of_another_canvas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match="canvases"):
        load(write(tmp_path / "bundle", manifest() | {"canvas": [CANVAS[0] + 1, CANVAS[1]]}))


@pytest.mark.parametrize("described", [manifest() | {"format": 1}, manifest() | {"format": "3"}, [], None, "bundle"])
def test_another_format_is_refused(tmp_path: Path, described: object) -> None:
    with pytest.raises(BrokenBundle, match="not of bundle format 3"):
        load(write(tmp_path / "bundle", described))


def test_a_manifest_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{", "utf-8")

    with pytest.raises(BrokenBundle, match="not JSON"):
        load(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match="no readable"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("accept", "reject"),
    [(0.3, 0.6), (1.0, 0.5), (0.5, 0.0), (0.5, -0.1), (1.5, 0.5), (float("nan"), 0.3), (0.6, float("nan"))],
)
def test_thresholds_out_of_order_or_range_are_refused(tmp_path: Path, accept: float, reject: float) -> None:
    thresholds = {"accept": accept, "reject": reject}

    with pytest.raises(BrokenBundle, match="thresholds"):
        load(write(tmp_path / "bundle", manifest() | {"thresholds": thresholds}))


@pytest.mark.parametrize("key", sorted(manifest().keys() - {"format", "files"}))
def test_a_manifest_that_lacks_a_key_is_refused_naming_it(tmp_path: Path, key: str) -> None:
    described = manifest()
    del described[key]

    with pytest.raises(BrokenBundle, match=key):
        load(write(tmp_path / "bundle", described))


def test_error_rates_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    rising = RATES["1"] | {"skilled_far": RATE | {"value": [0.04, 0.05]}}

    with pytest.raises(BrokenBundle, match="skilled_far"):
        load(write(tmp_path / "bundle", manifest() | {"error_rates": {"1": rising}}))


@pytest.mark.parametrize("bias", [float("nan"), float("inf"), "much", None])
def test_a_bias_that_is_no_finite_number_is_refused(tmp_path: Path, bias: object) -> None:
    with pytest.raises(BrokenBundle):
        load(write(tmp_path / "bundle", manifest() | {"bias": bias}))
