"""What every part that talks to AWS shares: clients, S3 addresses, checked transfers, errors that say what to change.

Credentials, region and endpoints come from where boto3 looks for them: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL ...
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOTokenLoadError,
    UnauthorizedSSOTokenError,
)
from rich.progress import Progress

from training.checksums import checksum

SCHEME = "s3://"
SHA256 = "sha256"  # our own metadata: S3's checksum of an upload in parts is not the file's
SIGN_IN = "Sign in again (`aws sso login`) or set AWS_PROFILE, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
UNKNOWN = {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403"}
BUSY = {"Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown", "RequestLimitExceeded"}
KMS = {"KMS.NotFoundException", "KMS.DisabledException", "NotFoundException", "KMSInvalidStateException"}


class CloudProblem(RuntimeError):
    """AWS did not do what was asked, or gave back something else than was put there; the message says what to do."""


class Place(NamedTuple):
    bucket: str
    key: str

    def __truediv__(self, name: str) -> Place:
        return Place(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def is_s3(address: str) -> bool:
    return address.startswith(SCHEME)


def place(address: str) -> Place:
    """`s3://bucket/key` taken apart; raises CloudProblem."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not is_s3(address) or not bucket:
        raise CloudProblem(f"{address} is no address in S3; write s3://BUCKET/PREFIX")
    return Place(bucket, key)


@functools.cache
def session() -> boto3.Session:
    """With AWS_REGION, which everything of AWS's reads but boto3 itself."""
    return boto3.Session(region_name=os.environ.get("AWS_REGION"))


@functools.cache
def client(service: str) -> Any:
    """A boto3 client that repeats what was throttled and never waits without end."""
    attempts = {"mode": "standard", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS", "6"))}
    with translated():
        return session().client(service, config=Config(connect_timeout=10, read_timeout=60, retries=attempts))


@contextmanager
def translated(what: str = "") -> Iterator[None]:
    """Turns boto3's errors into CloudProblem: which of your settings to change, in words."""
    try:
        yield
    except (ClientError, BotoCoreError) as problem:
        raise CloudProblem(explain(problem, what)) from problem
    except Exception as problem:
        if type(problem).__module__.startswith(("boto3", "s3transfer")):  # transfers wrap what went wrong
            raise CloudProblem(explain(problem.__context__ or problem, what)) from problem
        raise


@contextmanager
def explained(mendable: tuple[type[Exception], ...] = (CloudProblem,)) -> Iterator[None]:
    """For a command line: what the caller can mend becomes one line and exit status 1 instead of a traceback."""
    try:
        yield
    except (*mendable, CloudProblem) as problem:
        sys.exit(f"error: {problem}")


def explain(problem: BaseException, what: str = "") -> str:
    """One or two sentences about an error of botocore; `what` is the resource that was asked for."""
    subject = f"{what}: " if what else ""
    if isinstance(problem, ClientError):
        return subject + _from_service(problem)
    if isinstance(problem, (SSOTokenLoadError, UnauthorizedSSOTokenError)):
        return f"{subject}your AWS sign-in has expired. {SIGN_IN}."
    if isinstance(problem, (NoCredentialsError, PartialCredentialsError, ProfileNotFound)):
        return f"{subject}there are no AWS credentials ({problem}). {SIGN_IN}."
    if isinstance(problem, NoRegionError):
        return f"{subject}no AWS region is set. Set AWS_REGION."
    if isinstance(problem, (EndpointConnectionError, ConnectTimeoutError)):
        return f"{subject}{problem} Check the network, AWS_REGION, and AWS_ENDPOINT_URL if you set it."
    if isinstance(problem, ParamValidationError):
        return f"{subject}AWS would not take this request: {problem}"
    return f"{subject}{problem}"


def _from_service(problem: ClientError) -> str:
    code, message = problem.response["Error"].get("Code", ""), problem.response["Error"].get("Message", "")
    if code in EXPIRED:
        return f"your AWS credentials have expired ({code}). {SIGN_IN}; a running job goes on without you."
    if code in UNKNOWN:
        return f"AWS does not know these credentials ({code}). {SIGN_IN}."
    if code in DENIED:
        return f"AWS refuses this to you ({problem.operation_name}: {message}). Change the policy of your role."
    if code in BUSY:
        return f"AWS throttled {problem.operation_name} {_attempts(problem)} times over. Try again in a minute."
    if code == "NoSuchBucket":
        name = problem.response["Error"].get("BucketName", "")
        return f"the bucket {name} does not exist. Change the s3:// address, or AWS_REGION if it lies elsewhere."
    if code in {"NoSuchKey", "404"}:
        return "there is no such object. Change the s3:// address; an interrupted upload is taken up by repeating it."
    if code in KMS:
        return f"KMS cannot use that key ({message}). Change --kms-key."
    if code == "ResourceLimitExceeded":
        return f"your account may not have this instance yet ({message}). Change --instance or ask AWS for a quota."
    return f"{problem.operation_name} failed: {message or code}"


def _attempts(problem: ClientError) -> int:
    return 1 + int(problem.response.get("ResponseMetadata", {}).get("RetryAttempts", 0))


def upload_folder(folder: Path, address: str, progress: Progress, *, last: str, kms_key: str | None = None) -> None:
    """Copies a folder, file `last` at the end, so that a reader who finds it finds all. What is there with the same
    checksum stays, so an interrupted upload goes on."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part"))
    task = progress.add_task("uploading", total=len(files))
    s3, target = client("s3"), place(address)
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix() == last):
        upload(s3, path, target / path.relative_to(folder).as_posix(), kms_key=kms_key)
        progress.advance(task)


def upload(s3: Any, path: Path, target: Place, *, kms_key: str | None = None) -> None:
    """Copies one file unless it is there. S3 checks a SHA-256 on arrival; raises CloudProblem."""
    digest = checksum(path)
    if _metadata(s3, target).get(SHA256) == digest:
        return
    extra = {"ChecksumAlgorithm": "SHA256", "Metadata": {SHA256: digest}}
    if kms_key:
        extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
    with translated(str(target)):
        s3.upload_file(str(path), target.bucket, target.key, ExtraArgs=extra)


def download(s3: Any, source: Place, path: Path) -> Path:
    """Copies one object to `path` whole or not at all; raises CloudProblem where its checksum is another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.part")
    with translated(str(source)):
        found = s3.head_object(Bucket=source.bucket, Key=source.key)
        s3.download_file(source.bucket, source.key, str(fresh))
    expected = found.get("Metadata", {}).get(SHA256)
    if fresh.stat().st_size != found["ContentLength"] or (expected and checksum(fresh) != expected):
        fresh.unlink()
        raise CloudProblem(f"{source} arrived with another checksum than it was sent with; upload it again")
    fresh.replace(path)
    return path


def download_prefix(address: str, into: Path, progress: Progress) -> None:
    """Copies everything under a prefix, leaving what is here in the same size. Raises CloudProblem."""
    s3, source = client("s3"), place(address)
    with translated(address):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=source.key)
        found = [one for page in pages for one in page.get("Contents", []) if not one["Key"].endswith("/")]
    if not found:
        raise CloudProblem(f"{address} holds nothing; change the s3:// address")
    base = source.key if source.key.endswith("/") or not source.key else source.key.rpartition("/")[0]
    task = progress.add_task("downloading", total=len(found))
    for one in found:
        path = (into / one["Key"].removeprefix(base).lstrip("/")).resolve()
        if not path.is_relative_to(into.resolve()):
            raise CloudProblem(f"{address} holds a key that leads out of the folder: {one['Key']}")
        if not path.is_file() or path.stat().st_size != one["Size"]:
            download(s3, Place(source.bucket, one["Key"]), path)
        progress.advance(task)


def read(s3: Any, source: Place) -> bytes | None:
    """A small object; None where there is none. Raises CloudProblem."""
    try:
        content: bytes = s3.get_object(Bucket=source.bucket, Key=source.key)["Body"].read()
    except ClientError as problem:
        if problem.response["Error"].get("Code") in {"404", "NoSuchKey"}:
            return None
        raise CloudProblem(explain(problem, str(source))) from problem
    except BotoCoreError as problem:
        raise CloudProblem(explain(problem, str(source))) from problem
    return content


def _metadata(s3: Any, target: Place) -> dict[str, str]:
    try:
        found: dict[str, str] = s3.head_object(Bucket=target.bucket, Key=target.key).get("Metadata", {})
    except ClientError as problem:
        if problem.response["Error"].get("Code") in {"404", "NoSuchKey"}:
            return {}
        raise CloudProblem(explain(problem, str(target))) from problem
    except BotoCoreError as problem:
        raise CloudProblem(explain(problem, str(target))) from problem
    return found
