"""Heads: what the newest seal says, kept where whoever may change the database cannot. The chain cannot know that its
end was cut off; a head outside does.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from service.audit_chain import statement_of
from service.models import AuditSeal
from service.signing import canonical, to_text

FILE = "file:"
S3 = "s3://"


class HeadsUnreachable(RuntimeError):
    """Where the heads are kept gives no answer; the message says where and why."""


class Head(NamedTuple):
    number: int
    hash: str


class Heads(Protocol):
    def publish(self, seal: AuditSeal) -> None:
        """Raises `HeadsUnreachable`. Publishing a seal again does no harm."""

    def read(self) -> Iterator[Head]:
        """All that were ever published, in any order. Raises `HeadsUnreachable`."""


def open_heads(address: str | None) -> Heads | None:
    if address is None:
        return None
    if address.startswith(S3):
        from service.s3_heads import S3Heads  # boto3, which a file does not need

        return S3Heads(address)
    return FileHeads(Path(address.removeprefix(FILE)))


def show_head(seal: AuditSeal) -> dict[str, Any]:
    """The signed statement of a seal with its signature: it proves itself without the database."""
    return statement_of(seal) | {"signature": to_text(seal.signature)}


class FileHeads:
    """One JSON object a line, only ever appended to: a file that the system lets nobody do anything else with
    (`chattr +a`) may be used."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, seal: AuditSeal) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                # A line that a power cut tore stays a line of its own.
                file.write(b"" if _ends_a_line(self._path) else b"\n")
                file.write(canonical(show_head(seal)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise HeadsUnreachable(f"{self._path}: {problem.strerror}") from problem

    def read(self) -> Iterator[Head]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    head = _parse(line)
                    if head is not None:
                        yield head
        except FileNotFoundError:
            return
        except OSError as problem:
            raise HeadsUnreachable(f"{self._path}: {problem.strerror}") from problem


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _parse(line: bytes) -> Head | None:
    """None for a torn line."""
    try:
        said = json.loads(line)
        return Head(int(said["number"]), str(said["hash"]))
    except (ValueError, KeyError, TypeError):
        return None
