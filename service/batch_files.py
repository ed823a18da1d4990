"""The images that a manifest names by path. A manifest may come from anyone, so it reaches into one folder alone."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from service.errors import Refused
from service.manifest import BrokenManifest, Entry


def check_inside(folder: Path, entries: Sequence[Entry]) -> None:
    """Raises `BrokenManifest` where a path leads out of the folder, be it by `..`, from the root or by a link."""
    root = folder.resolve()
    outside = [entry for entry in entries if _inside(root, entry.image) is None]
    if outside:
        raise BrokenManifest(
            [f"line {entry.line}: the image does not lie in the folder of images" for entry in outside[:20]]
        )


def read_image(folder: Path, name: str, most_bytes: int) -> bytes:
    """Raises `image_missing`, also for what is no plain file, and `too_large`."""
    path = _inside(folder.resolve(), name)
    if path is None:
        raise Refused("image_missing")
    try:
        # Without following a link that came after the look, and without waiting at a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused("image_missing")
            image = file.read(most_bytes + 1)
    except OSError as problem:
        raise Refused("image_missing") from problem
    if len(image) > most_bytes:
        raise Refused("too_large")
    return image


def _inside(root: Path, name: str) -> Path | None:
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError):  # links that lead in a circle
        return None
    return path if path.is_relative_to(root) else None
