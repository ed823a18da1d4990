"""Heads in S3: one object each, whose key says number and hash, so that listing them is reading them.

Nothing is ever overwritten: another chain would have other keys. Give the bucket versioning and an object lock with a
default retention; then not even its owner takes a head back, and one that is hidden by a delete marker is still read.
"""

import re
from collections.abc import Iterator

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.audit_heads import S3, Head, HeadsUnreachable, show_head
from service.aws import client
from service.models import AuditSeal
from service.signing import canonical

PATIENCE = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_KEY = re.compile(r"(\d{15})-([0-9a-f]{64})\.json")


class S3Heads:
    def __init__(self, address: str) -> None:
        self._bucket, _, prefix = address.removeprefix(S3).partition("/")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self._s3 = client("s3", PATIENCE)

    def publish(self, seal: AuditSeal) -> None:
        key = f"{self._prefix}{seal.number:015}-{seal.hash.hex()}.json"
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=canonical(show_head(seal)))
        except (BotoCoreError, ClientError) as problem:
            raise HeadsUnreachable(f"{S3}{self._bucket}/{key}: {problem}") from problem

    def read(self) -> Iterator[Head]:
        pages = self._s3.get_paginator("list_object_versions")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for entry in page.get("Versions", []):
                    key = _KEY.fullmatch(entry["Key"].removeprefix(self._prefix))
                    if key is not None:
                        yield Head(int(key[1]), key[2])
        except (BotoCoreError, ClientError) as problem:
            raise HeadsUnreachable(f"{S3}{self._bucket}/{self._prefix}: {problem}") from problem
