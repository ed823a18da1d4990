"""Bringing a published model version to a host: whole and checked, or not at all and told why."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from embeddings import bundle
from embeddings.bundle import MANIFEST, TOWER
from embeddings.encoder import shipped_bundle
from service import model_store
from service.bundles import at_hand
from service.model_store import StoreProblem
from service.settings import Settings
from tests.support.broken_s3 import BrokenS3
from tests.support.bundles import copy_bundle
from tests.support.cloud import Moto

VERSION = "2.0.0"


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with one bundle: a folder, or S3 where a test asks for it."""
    if getattr(request, "param", "folder") == "folder":
        copy_bundle(tmp_path / "store", VERSION)
        return str(tmp_path / "store")
    request.getfixturevalue("aws")
    made, s3 = copy_bundle(tmp_path / "made", VERSION), boto3.client("s3")
    for path in made.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), "bank", f"models/{VERSION}/{path.relative_to(made).as_posix()}")
    return "s3://bank/models"


both = pytest.mark.parametrize("store", ["folder", "s3"], indirect=True)


@pytest.fixture
def settings(store: str, tmp_path: Path) -> Settings:
    return Settings(models=tmp_path / "shelf", model_store=store)


@pytest.fixture
def in_s3(aws: Moto, tmp_path: Path) -> Settings:
    return Settings(models=tmp_path / "shelf", model_store="s3://bank/models")


def change(store: str, name: str, content: bytes | None) -> None:
    """A file of the published bundle as somebody or something left it; None: not there."""
    if store.startswith("s3://"):
        where = {"Bucket": "bank", "Key": f"models/{VERSION}/{name}"}
        s3 = boto3.client("s3")
        s3.delete_object(**where) if content is None else s3.put_object(**where, Body=content)
    elif content is None:
        (Path(store) / VERSION / name).unlink()
    else:
        (Path(store) / VERSION / name).write_bytes(content)


@both
def test_a_published_version_comes_to_the_host_and_is_at_hand(settings: Settings) -> None:
    assert VERSION not in at_hand(settings)

    folder = model_store.fetch(settings, VERSION)

    assert at_hand(settings)[VERSION] == folder
    assert bundle.load(folder).model_version == VERSION
    assert sorted(path.name for path in folder.parent.iterdir()) == [VERSION]


def test_what_is_here_is_checked_and_nobody_asks_the_store(settings: Settings, store: str) -> None:
    folder = model_store.fetch(settings, VERSION)
    change(store, MANIFEST, None)

    assert model_store.fetch(settings, VERSION) == folder
    assert model_store.fetch(settings, shipped_bundle().name) == shipped_bundle()

    (folder / TOWER).write_bytes(b"changed")
    with pytest.raises(StoreProblem, match=r"was changed.* Remove .*shelf/2\.0\.0 and fetch it again"):
        model_store.fetch(settings, VERSION)


@both
@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (MANIFEST, None, r"2\.0\.0 holds no bundle\.json: nothing is published under this version, or it is not all"),
        (MANIFEST, b'{"format": 3', r"2\.0\.0/bundle\.json is not JSON"),
        (TOWER, None, r"2\.0\.0/tower\.tflite is missing"),
        (TOWER, b"half of a tower", r"2\.0\.0/tower\.tflite was changed: its checksum is not the one"),
    ],
)
def test_what_is_not_whole_is_refused_with_the_setting_and_leaves_nothing(
    settings: Settings, store: str, tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    change(store, name, content)

    with pytest.raises(StoreProblem, match=rf"{complaint}(.|\n)*COUNTERSIGN_MODEL_STORE"):
        model_store.fetch(settings, VERSION)
    assert list((tmp_path / "shelf").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_version": "3.0.0"}, "holds model version 3.0.0"),
        ({"preprocessing_version": "1"}, "trained on preprocessing 1"),
        ({"files": {TOWER: "0", "../outside": "0"}}, "names a file outside"),
        ({"format": 1}, "not of bundle format"),
    ],
)
def test_a_bundle_that_this_service_cannot_use_is_refused_before_it_is_seen(
    settings: Settings, store: str, tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    manifest = json.loads((Path(store) / VERSION / MANIFEST).read_text("utf-8"))
    change(store, MANIFEST, json.dumps(manifest | changes).encode())

    with pytest.raises(StoreProblem, match=complaint):
        model_store.fetch(settings, VERSION)
    assert list((tmp_path / "shelf").iterdir()) == []


def test_two_fetches_at_one_moment_leave_one_bundle(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = model_store._copy

    def while_another_is_quicker(*arguments: object) -> None:
        monkeypatch.setattr(model_store, "_copy", copy)
        model_store.fetch(settings, VERSION)
        copy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(model_store, "_copy", while_another_is_quicker)

    folder = model_store.fetch(settings, VERSION)

    assert sorted(path.name for path in folder.parent.iterdir()) == [VERSION]


@pytest.mark.parametrize("version", ["../elsewhere", "a/b", ".hidden", ""])
def test_a_version_that_is_no_folder_name_is_refused(settings: Settings, version: str) -> None:
    with pytest.raises(StoreProblem, match="is no model version"):
        model_store.fetch(settings, version)


@pytest.mark.parametrize(
    ("given", "named"), [({"model_store": "s3://bank/models"}, "MODELS"), ({"models": Path("x")}, "MODEL_STORE")]
)
def test_a_setting_that_is_missing_is_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(StoreProblem, match=f"set COUNTERSIGN_{named} to"):
        model_store.fetch(Settings(**given), VERSION)  # type: ignore[arg-type]


def test_a_bucket_that_is_not_there_is_told_with_the_setting(in_s3: Settings) -> None:
    elsewhere = in_s3.model_copy(update={"model_store": "s3://nobody/models"})

    with pytest.raises(StoreProblem, match=r"s3://nobody/.*does not exist: change COUNTERSIGN_MODEL_STORE"):
        model_store.fetch(elsewhere, VERSION)


def test_without_credentials_the_way_to_give_them_is_told(in_s3: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") and ("KEY" in name or "TOKEN" in name)]:
        monkeypatch.delenv(name)

    with pytest.raises(StoreProblem, match=r"no AWS credentials.*AWS_PROFILE"):
        model_store.fetch(in_s3, VERSION)

    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreProblem, match=r"no AWS credentials.*nobody.*AWS_PROFILE"):
        model_store.fetch(in_s3, VERSION)


@pytest.fixture
def broken(request: pytest.FixtureRequest, aws: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrokenS3]:
    server = BrokenS3(*request.param)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (("ExpiredToken", 400), "credentials have expired: renew them .*AWS_PROFILE"),
        (("InvalidAccessKeyId", 403), "does not know these credentials: set AWS_PROFILE"),
        (("AccessDenied", 403), "role of this host may not read it: it needs s3:GetObject"),
        (("SlowDown", 503), "throttles this host: try again in a minute"),
        (("Teapot", 418), "Teapot.* see COUNTERSIGN_MODEL_STORE"),
        (("",), "Try again, and check the network, COUNTERSIGN_MODEL_STORE"),
    ],
    indirect=["broken"],
)
def test_what_s3_refuses_is_told_in_words(in_s3: Settings, broken: BrokenS3, tmp_path: Path, complaint: str) -> None:
    with pytest.raises(StoreProblem, match=complaint):
        model_store.fetch(in_s3, VERSION)

    assert broken.asked >= 1
    assert list((tmp_path / "shelf").iterdir()) == []
