"""From somebody's folder, archive or bucket to a training set."""

import io
import json
import os
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from ctypes.util import find_library
from pathlib import Path

import boto3
import numpy as np
import pytest

from tests.support import images
from tests.support.cloud import Moto
from tests.support.collection import WRITERS, cedar_files, write
from training import aws as cloud
from training import folds, prepare, training_set
from training.archives import HostileArchive, Limits, UnreadableArchive, unpack
from training.datasets import Signature
from training.training_set import SET, BrokenTrainingSet

needs_libarchive = pytest.mark.skipif(find_library("archive") is None, reason="this system has no libarchive")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def rarred(path: Path, files: dict[str, bytes]) -> Path:
    """RAR 4 without compression, written by hand: nothing free writes it."""

    def block(kind: int, flags: int, rest: bytes) -> bytes:
        head = struct.pack("<BHH", kind, flags, 7 + len(rest)) + rest
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    parts = [b"Rar!\x1a\x07\x00", block(0x73, 0, bytes(6))]
    for name, content in files.items():
        sizes = struct.pack("<IIBII", len(content), len(content), 3, zlib.crc32(content), 0x5A000000)
        entry = sizes + struct.pack("<BBHI", 20, 0x30, len(name), stat.S_IFREG | 0o644) + name.encode()
        parts += [block(0x74, 0x8000, entry), content]
    path.write_bytes(b"".join([*parts, block(0x7B, 0x4000, b"")]))
    return path


@pytest.fixture
def cedar_folder(tmp_path: Path) -> Path:
    return write(tmp_path / "cedar", cedar_files())


@pytest.mark.parametrize(
    ("pack", "name"), [(zipped, "c.zip"), (tarred, "c.tar.gz"), pytest.param(rarred, "c.rar", marks=needs_libarchive)]
)
def test_an_archive_becomes_the_same_training_set_as_its_folder(
    tmp_path: Path, cedar_folder: Path, pack: object, name: str
) -> None:
    archive = pack(tmp_path / name, cedar_files())  # type: ignore[operator]

    from_folder = prepare.main([str(cedar_folder), "--out", str(tmp_path / "a")])
    from_archive = prepare.main([str(archive), "--out", str(tmp_path / "b")])

    assert from_archive["data_hash"] == from_folder["data_hash"]
    loaded = training_set.load(tmp_path / "b")
    assert loaded.canvases.pixels.shape == (24, 128, 256)
    assert set(np.unique(loaded.canvases.pixels)) == {0, 1}
    assert loaded.canvases.genuine.sum() == 12


def test_no_writer_is_on_both_sides_and_everyone_is_tested_once(tmp_path: Path, cedar_folder: Path) -> None:
    prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])

    drawn = training_set.load(tmp_path / "set").folds

    assert sorted(owner for fold in drawn for owner in fold.test) == [f"cedar/{n:02d}" for n in WRITERS]
    assert all(fold.calibrate and not set(fold.test) & set(fold.calibrate) for fold in drawn)


def test_the_writers_of_cedar_keep_their_frozen_folds() -> None:
    everyone = [f"cedar/{number:02d}" for number in range(1, 56)]
    signatures = [Signature(owner, kind, Path("x"), owner) for owner in everyone for kind in (True, False)]

    for number, fold in enumerate(prepare.split(signatures)):
        assert (fold.calibrate, fold.test) == folds.split(number)[1:]


def test_a_set_where_a_writer_stands_on_both_sides_is_refused(tmp_path: Path, cedar_folder: Path) -> None:
    prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])
    described = json.loads((tmp_path / "set" / SET).read_text("utf-8"))
    described["folds"][0]["calibrate"] = described["folds"][0]["test"]
    (tmp_path / "set" / SET).write_text(json.dumps(described), "utf-8")

    with pytest.raises(BrokenTrainingSet, match="both sides"):
        training_set.load(tmp_path / "set")


def test_a_manifest_names_writers_kinds_and_texts(tmp_path: Path) -> None:
    rows = ["path,writer,kind,text"]
    for writer in WRITERS:
        for kind in ("genuine", "forged"):
            write(tmp_path / "scans", {f"{writer}/{kind}.png": images.signature((kind, writer))})
            rows.append(f"{writer}/{kind}.png,w{writer},{kind},smith")
    (tmp_path / "scans" / "manifest.csv").write_text("\n".join(rows), "utf-8")

    prepare.main([str(tmp_path / "scans"), "--out", str(tmp_path / "set"), "--name", "bank"])

    loaded = training_set.load(tmp_path / "set")
    assert loaded.sources() == ["bank"]
    assert set(loaded.canvases.text) == {"bank/smith"}
    assert loaded.canvases.genuine.sum() == len(WRITERS)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("../elsewhere.png,a,genuine", "leads out"),
        ("missing.png,a,genuine", "no file"),
        ("there.png,a,maybe", "genuine or forged"),
        ("there.png,,forged", "give a writer"),
    ],
)
def test_a_bad_row_of_a_manifest_is_refused_by_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    write(tmp_path, {"elsewhere.png": b"x", "scans/there.png": b"x"})
    (tmp_path / "scans" / "manifest.csv").write_text(f"path,writer,kind\n{row}\n", "utf-8")

    with pytest.raises(SystemExit, match=rf"line 2: .*{complaint}"):
        prepare.main([str(tmp_path / "scans"), "--out", str(tmp_path / "set")])


def test_preparing_again_does_only_what_is_missing(
    tmp_path: Path, cedar_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "SHARD", 8)
    first = prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])
    shards = sorted((tmp_path / "set").glob("shard-*"))
    assert len(shards) == 3
    written = [path.stat().st_mtime_ns for path in shards]
    shards[1].unlink()
    (tmp_path / "set" / SET).unlink()  # as an interruption leaves it

    again = prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])

    assert again == first
    assert [path.stat().st_mtime_ns == was for path, was in zip(shards, written, strict=True)] == [True, False, True]


def test_an_image_that_changed_makes_another_set(tmp_path: Path, cedar_folder: Path) -> None:
    first = prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])
    write(cedar_folder, {"signatures/full_org/original_1_1.png": images.signature("another hand")})

    second = prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])

    assert first["data_hash"] != second["data_hash"]
    assert len(list((tmp_path / "set").glob("shard-*"))) == 1


def test_an_unusable_image_is_counted_and_left_out(tmp_path: Path, cedar_folder: Path) -> None:
    write(cedar_folder, {"signatures/full_org/original_1_1.png": images.blank_page()})

    described = prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])

    assert (described["signatures"], described["unusable"]) == (23, 1)


def test_a_changed_shard_and_a_missing_one_are_refused(tmp_path: Path, cedar_folder: Path) -> None:
    prepare.main([str(cedar_folder), "--out", str(tmp_path / "set")])
    shard = next((tmp_path / "set").glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(BrokenTrainingSet, match="another checksum"):
        training_set.load(tmp_path / "set")
    shard.unlink()
    with pytest.raises(BrokenTrainingSet, match="is missing"):
        training_set.load(tmp_path / "set")


@pytest.mark.parametrize("name", ["../o.png", "/etc/o.png", "a/../../o.png", "C:/o.png", "..\\o.png"])
def test_an_archive_that_climbs_out_is_refused(tmp_path: Path, name: str) -> None:
    for pack, file in ((zipped, "h.zip"), (tarred, "h.tar.gz")):
        archive = pack(tmp_path / file, {name: b"x"})
        with pytest.raises(HostileArchive, match="leads out"):
            list(unpack(archive, tmp_path / "into"))
    assert not list(tmp_path.rglob("*.png"))


def test_an_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("full_org/original_1_1.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "h.tar", "w") as archive:
        archive.addfile(link)
    info = zipfile.ZipInfo("full_org/original_1_1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "h.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")

    for name in ("h.tar", "h.zip"):
        with pytest.raises(HostileArchive, match="link"):
            list(unpack(tmp_path / name, tmp_path / "into"))


def test_a_bomb_is_refused_by_what_comes_out_and_leaves_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1 << 20))
        archive.writestr("b.png", bytes(70 << 20))

    with pytest.raises(HostileArchive, match="more than allowed"):
        list(unpack(tmp_path / "bomb.zip", tmp_path / "into"))
    with pytest.raises(HostileArchive, match="--max-files"):
        list(unpack(tmp_path / "bomb.zip", tmp_path / "into", Limits(files=1)))
    with pytest.raises(SystemExit, match="more than allowed"):
        prepare.main([str(tmp_path / "bomb.zip"), "--out", str(tmp_path / "set")])
    assert not list((tmp_path / "set.work").rglob("*.png"))


def test_only_images_and_manifests_come_out_of_an_archive(tmp_path: Path) -> None:
    packed = {"x/a.png": b"a", "x/Thumbs.db": b"t", "x/run.sh": b"#", "__MACOSX/x/._a.png": b"m"}
    archive = zipped(tmp_path / "a.zip", packed)

    list(unpack(archive, tmp_path / "into"))

    assert [path.name for path in (tmp_path / "into").rglob("*") if path.is_file()] == ["a.png"]


@pytest.mark.parametrize(("name", "content"), [("a.zip", b"PK\3\4"), ("a.tar", b"no tar")])
def test_a_damaged_archive_says_so(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UnreadableArchive, match="cannot be read"):
        list(unpack(tmp_path / name, tmp_path / "into"))


def test_a_rar_where_libarchive_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = rarred(tmp_path / "a.rar", {"a.png": b"a"})
    monkeypatch.setitem(sys.modules, "libarchive", None)

    with pytest.raises(UnreadableArchive, match="apt-get install libarchive13"):
        list(unpack(archive, tmp_path / "into"))


def test_a_folder_without_a_known_layout_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"full_org.*manifest\.csv"):
        prepare.main([str(tmp_path), "--out", str(tmp_path / "set")])


def test_a_prefix_in_s3_becomes_a_set_in_s3(tmp_path: Path, aws: Moto) -> None:
    s3 = boto3.client("s3")
    for name, content in cedar_files().items():
        s3.put_object(Bucket="bank", Key=f"raw/cedar/{name}", Body=content)
    key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    upload = ["--upload", "s3://bank/sets/c", "--kms-key", key]
    arguments = ["s3://bank/raw/cedar", "--out", str(tmp_path / "set"), *upload]

    described = prepare.main(arguments)
    assert prepare.main(arguments) == described

    listed = s3.list_objects_v2(Bucket="bank", Prefix="sets/c/")["Contents"]
    assert {one["Key"] for one in listed} == {f"sets/c/{name}" for name in [SET, *described["shards"]]}
    stored = s3.head_object(Bucket="bank", Key=f"sets/c/{SET}", ChecksumMode="ENABLED")
    assert stored["SSEKMSKeyId"].endswith(key)
    assert stored["ChecksumSHA256"]


def test_an_archive_in_s3_is_fetched_and_unpacked(tmp_path: Path, aws: Moto) -> None:
    archive = zipped(tmp_path / "cedar.zip", cedar_files())
    boto3.client("s3").upload_file(str(archive), "bank", "raw/cedar.zip")

    assert prepare.main(["s3://bank/raw/cedar.zip", "--out", str(tmp_path / "set")])["signatures"] == 24


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["s3://nobody/raw", "--out", "SET"], r"the bucket nobody does not exist\. Change the s3:// address"),
        (["s3://bank/raw", "--out", "SET"], "holds nothing; change the s3:// address"),
        (["FOLDER", "--out", "SET", "--upload", "s3://nobody/sets"], "the bucket nobody does not exist"),
        (["FOLDER", "--out", "SET", "--upload", "bank/sets"], "is no address in S3"),
    ],
)
def test_a_wrong_address_in_s3_is_named(
    tmp_path: Path, aws: Moto, cedar_folder: Path, arguments: list[str], complaint: str
) -> None:
    put = {"FOLDER": str(cedar_folder), "SET": str(tmp_path / "set")}

    with pytest.raises(SystemExit, match=complaint):
        prepare.main([put.get(argument, argument) for argument in arguments])


def forget() -> None:
    """Who boto3 was, as a new process would."""
    cloud.session.cache_clear()
    cloud.client.cache_clear()


def test_without_credentials_the_way_to_sign_in_is_told(
    tmp_path: Path, aws: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") and ("KEY" in name or "TOKEN" in name)]:
        monkeypatch.delenv(name)
    forget()

    with pytest.raises(SystemExit, match=r"no AWS credentials.*AWS_PROFILE"):
        prepare.main(["s3://bank/raw", "--out", str(tmp_path / "set")])
    forget()


def test_an_object_that_does_not_match_its_checksum_is_refused(tmp_path: Path, aws: Moto) -> None:
    boto3.client("s3").put_object(Bucket="bank", Key="raw/a.zip", Body=b"half", Metadata={"sha256": "0" * 64})

    with pytest.raises(SystemExit, match="another checksum"):
        prepare.main(["s3://bank/raw/a.zip", "--out", str(tmp_path / "set")])
    assert not list((tmp_path / "set.work").rglob("*.zip*"))
