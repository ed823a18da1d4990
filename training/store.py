"""The model store: bundles by version, in a folder or under an S3 prefix. A version, once there, never changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.progress import Progress

from embeddings import bundle
from embeddings.bundle import MANIFEST
from training import aws
from training.aws import CloudProblem


class VersionExists(RuntimeError):
    """The store has a bundle of this version already."""


def publish(folder: Path, store: str, progress: Progress, *, kms_key: str | None = None) -> str:
    """Copies a bundle to `store/VERSION`, its manifest last, and answers the address. Raises VersionExists."""
    version = bundle.load(folder).model_version  # checks every checksum before anything is copied
    if not aws.is_s3(store):
        return _publish_folder(folder, Path(store) / version)
    address = f"{store.rstrip('/')}/{version}"
    target = aws.place(address) / MANIFEST
    if _exists(aws.client("s3"), target):
        raise VersionExists(f"{address} exists; a published version never changes: choose another --version")
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
    if target.exists():
        raise VersionExists(f"{target} exists; a published version never changes: choose another --version")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(folder, fresh)
    fresh.rename(target)
    return str(target)


def _exists(s3: Any, target: aws.Place) -> bool:
    try:
        s3.head_object(Bucket=target.bucket, Key=target.key)
    except ClientError as problem:
        if problem.response["Error"].get("Code") in {"404", "NoSuchKey"}:
            return False
        raise CloudProblem(aws.explain(problem, str(target))) from problem
    return True
