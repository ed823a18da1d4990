"""Model versions that `training` published, brought to this host: out of a folder or an S3 prefix, checked, whole.

Each host fetches for itself, by a command: no request ever waits for a store, and once a bundle is here nobody needs
the store.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from embeddings import bundle
from embeddings.bundle import MANIFEST, BrokenBundle
from service.bundles import at_hand
from service.settings import PREFIX, Settings

S3 = "s3://"
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # it becomes a folder's name
STORE = f"{PREFIX}MODEL_STORE"

Reader = Callable[[str], bytes]
"""Answers what a file of the version holds; raises `NotThere`, or `StoreProblem` where it cannot tell."""


class StoreProblem(RuntimeError):
    """The model store gives no usable bundle; the message names the setting to change."""


class NotThere(LookupError):
    """The store has no such file."""


def fetch(settings: Settings, version: str) -> Path:
    """The folder of `version`: where it is at hand, or below COUNTERSIGN_MODELS, where it appears at once or not at
    all. What is at hand is only checked. Raises `StoreProblem`."""
    folder = at_hand(settings).get(version) or _bring(settings, version)
    try:
        bundle.load(folder)
    except BrokenBundle as problem:
        raise StoreProblem(f"{problem}. Remove {folder} and fetch it again") from problem
    return folder


def _bring(settings: Settings, version: str) -> Path:
    if settings.models is None:
        raise StoreProblem(f"set {PREFIX}MODELS to a folder of this host, where fetched models go")
    if settings.model_store is None:
        raise StoreProblem(f"set {STORE} to s3://BUCKET/PREFIX or a folder, where models are published")
    if not VERSION.fullmatch(version):
        raise StoreProblem(f"{version!r} is no model version: letters, digits and . _ + - alone")
    target, address = settings.models / version, f"{settings.model_store.rstrip('/')}/{version}"
    if target.exists():  # and yet not at hand: the caller says what is wrong with it
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as partial:
        fresh = Path(partial) / version  # one folder deeper than where bundles are looked for
        fresh.mkdir()
        _copy(_reader(address), address, fresh)
        _check(fresh, version, address)
        try:
            fresh.rename(target)
        except OSError:
            if not target.exists():  # otherwise another fetch on this host was quicker, and a version is one bundle
                raise
    return target


def _reader(address: str) -> Reader:
    if address.startswith(S3):
        from service.s3_store import open_reader  # boto3, which a folder does not need

        return open_reader(address)
    return _folder_reader(Path(address))


def _folder_reader(folder: Path) -> Reader:
    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise NotThere(name) from problem
        except OSError as problem:
            raise StoreProblem(f"{folder / name} cannot be read ({problem.strerror}): see {STORE}") from problem

    return read


def _copy(read: Reader, address: str, fresh: Path) -> None:
    """The manifest first: it is published last, so where there is one there is all of it."""
    try:
        (fresh / MANIFEST).write_bytes(read(MANIFEST))
    except NotThere as problem:
        raise StoreProblem(
            f"{address} holds no {MANIFEST}: nothing is published under this version, or it is not all there yet. "
            f"Change the version or {STORE}"
        ) from problem
    for name in _names(fresh, address):
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(read(name))
        except NotThere as problem:
            raise StoreProblem(f"{address}/{name} is missing: {_AGAIN}") from problem


def _names(fresh: Path, address: str) -> list[str]:
    try:
        return bundle.files_of(fresh)
    except BrokenBundle as problem:
        raise _broken(problem, fresh, address) from problem


def _check(fresh: Path, version: str, address: str) -> None:
    try:
        found = bundle.load(fresh).model_version
    except BrokenBundle as problem:
        raise _broken(problem, fresh, address) from problem
    if found != version:
        raise StoreProblem(f"{address} holds model version {found}: {_AGAIN}")


def _broken(problem: BrokenBundle, fresh: Path, address: str) -> StoreProblem:
    return StoreProblem(f"{str(problem).replace(str(fresh), address)}. Nothing was kept; {_AGAIN}")


_AGAIN = f"publish it again under another version, or change {STORE}"
