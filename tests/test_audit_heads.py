"""Heads of the audit trail, kept outside the database."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import structlog

from service.audit_heads import Head, HeadsUnreachable, open_heads
from service.audit_worker import Publisher
from service.database import Database
from service.models import AuditSeal
from service.schema import migrate
from service.signing import SEAL, from_text
from tests.support.broken_s3 import BrokenS3
from tests.support.cloud import Moto
from tests.support.trail import Trail

ADDRESS = "s3://bank/trail"


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    url = f"sqlite:///{tmp_path / 'countersign.db'}"
    migrate(url)
    database = Database(url)
    yield Trail(database)
    database.close()


def seal(trail: Trail, subject: str = "a") -> AuditSeal:
    trail.happen(subject)
    made = trail.seal()
    assert made is not None
    return made


def test_a_file_of_heads_holds_signed_statements_that_prove_themselves(trail: Trail, tmp_path: Path) -> None:
    heads = open_heads(f"file:{tmp_path / 'deep' / 'heads.jsonl'}")
    assert heads is not None

    for subject in "ab":
        heads.publish(seal(trail, subject))

    lines = [json.loads(line) for line in (tmp_path / "deep" / "heads.jsonl").read_text("utf-8").splitlines()]
    assert [line["number"] for line in lines] == [1, 2]
    for line in lines:
        signature = from_text(line.pop("signature"))
        assert trail.signer.public.proves(SEAL, line, signature)
    assert trail.prove(heads.read()).heads == 2


def test_a_torn_line_costs_no_other_line(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "heads.jsonl"
    path.write_bytes(b'{"number": 1, "ha')
    heads = open_heads(f"file:{path}")
    assert heads is not None

    made = seal(trail)
    heads.publish(made)

    assert list(heads.read()) == [Head(1, made.hash.hex())]


def test_where_no_head_was_published_there_is_none(tmp_path: Path) -> None:
    heads = open_heads(f"file:{tmp_path / 'heads.jsonl'}")
    assert heads is not None

    assert list(heads.read()) == []
    assert open_heads(None) is None


def test_a_bucket_of_heads_keeps_two_trails_apart_and_shows_what_was_hidden(trail: Trail, aws: Moto) -> None:
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket="bank", VersioningConfiguration={"Status": "Enabled"})
    heads = open_heads(ADDRESS)
    assert heads is not None
    made = [seal(trail, subject) for subject in "abc"]
    for one in made:
        heads.publish(one)
    s3.put_object(Bucket="bank", Key="trail/readme.txt", Body=b"not a head")

    last = f"trail/{3:015}-{made[2].hash.hex()}.json"
    s3.delete_object(Bucket="bank", Key=last)  # leaves a marker in front of it

    assert sorted(heads.read()) == [Head(one.number, one.hash.hex()) for one in made]
    assert trail.prove(heads.read()).heads == 3
    for statement in ("DELETE FROM audit_seals WHERE number = 3", "DELETE FROM audit_records WHERE seq = 3"):
        trail.execute(statement)
    trail.happen("d")
    again = trail.seal()
    assert again is not None
    heads.publish(again)
    assert len(list(heads.read())) == 4
    assert trail.complaint(heads.read()).startswith("seal 3 is another than was published")


def test_a_head_in_a_locked_bucket_can_be_taken_back_by_nobody(trail: Trail, aws: Moto) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(
        Bucket="locked",
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
    )
    retention = {"Mode": "COMPLIANCE", "Days": 3650}
    s3.put_object_lock_configuration(
        Bucket="locked",
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}},
    )
    heads = open_heads("s3://locked")
    assert heads is not None
    heads.publish(seal(trail))

    (version,) = s3.list_object_versions(Bucket="locked")["Versions"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket="locked", Key=version["Key"], VersionId=version["VersionId"])
    assert len(list(heads.read())) == 1


def test_a_bucket_that_cannot_be_reached_is_said_and_the_newest_head_waits(
    trail: Trail, aws: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = BrokenS3("AccessDenied", 403)
    monkeypatch.setenv("AWS_ENDPOINT_URL", broken.url)
    unreachable = open_heads(ADDRESS)
    assert unreachable is not None
    with pytest.raises(HeadsUnreachable, match="AccessDenied"):
        list(unreachable.read())
    broken.stop()
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    lost = open_heads("s3://nowhere/trail")
    with structlog.testing.capture_logs() as logs:
        publisher = Publisher(trail.database, lost, every=0)
        publisher.publish(seal(trail, "a"))
    assert [entry["event"] for entry in logs] == ["head_not_published"]

    boto3.client("s3").create_bucket(
        Bucket="nowhere", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    publisher.publish(None)

    assert lost is not None
    assert [head.number for head in lost.read()] == [1]


def test_seals_between_two_publications_are_covered_by_the_newest(trail: Trail, tmp_path: Path) -> None:
    heads = open_heads(f"file:{tmp_path / 'heads.jsonl'}")
    assert heads is not None
    publisher = Publisher(trail.database, heads, every=3600)

    for subject in "abc":
        publisher.publish(seal(trail, subject))
    another_start = Publisher(trail.database, heads, every=3600)
    another_start.publish(None)

    assert [head.number for head in heads.read()] == [1, 3]
