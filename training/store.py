"""The model store: bundles by version, in a folder or under an S3 prefix. A version, once there, never changes.

The service fetches from here by itself (`python -m service fetch-model`): the manifest, then what that lists.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.progress import Progress

from embeddings import bundle
from embeddings.bundle import MANIFEST
from training import aws
from training.aws import CloudProblem, Place
from training.checksums import checksum

CLAIM = "publishing.json"
TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}


class VersionExists(RuntimeError):
    """The store has a bundle of this version already."""


def publish(folder: Path, store: str, progress: Progress, *, kms_key: str | None = None) -> str:
    """Copies a bundle to `store/VERSION`, its manifest last, and answers the address. Raises VersionExists."""
    version = bundle.load(folder).model_version  # checks every checksum before anything is copied
    if not aws.is_s3(store):
        return _publish_folder(folder, Path(store) / version)
    address = f"{store.rstrip('/')}/{version}"
    s3, target = aws.client("s3"), aws.place(address)
    if aws.read(s3, target / MANIFEST) is not None:
        raise VersionExists(f"{address} exists; a published version never changes: choose another --version")
    _claim(s3, target / CLAIM, checksum(folder / MANIFEST), kms_key)
    aws.upload_folder(folder, address, progress, last=MANIFEST, kms_key=kms_key)
    return address


def fetch(store: str, version: str, into: Path, progress: Progress) -> Path:
    """A bundle out of the store, checked. Raises BrokenBundle where a copy is half there or changed."""
    target = into / version
    if aws.is_s3(store):
        aws.download_prefix(f"{store.rstrip('/')}/{version}/", target, progress)
    else:
        shutil.copytree(Path(store) / version, target, dirs_exist_ok=True)
    bundle.load(target)
    return target


def _publish_folder(folder: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".publishing-") as partial:
        fresh = Path(partial) / target.name
        shutil.copytree(folder, fresh)
        try:
            fresh.rename(target)  # fails where somebody was quicker: a bundle is never an empty folder
        except OSError as problem:
            taken = f"{target} exists; a published version never changes: choose another --version"
            raise VersionExists(taken) from problem
    return str(target)


def _claim(s3: Any, target: Place, manifest: str, kms_key: str | None) -> None:
    """Of two who publish a version at one moment the second is refused here, before it wrote a file over the first
    one's. The claim names the manifest, so an interrupted publication of the same bundle goes on."""
    extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    body = json.dumps({"manifest": manifest}).encode()
    try:
        s3.put_object(Bucket=target.bucket, Key=target.key, Body=body, IfNoneMatch="*", **extra)
    except ClientError as problem:
        if problem.response["Error"].get("Code") not in TAKEN:
            raise CloudProblem(aws.explain(problem, str(target))) from problem
        if aws.read(s3, target) != body:
            raise VersionExists(
                f"another bundle is being published under this version, or its publication was given up: choose "
                f"another --version, or delete {target} if nobody is at it"
            ) from problem
