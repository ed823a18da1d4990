"""A collection of invented writers in CEDAR's own layout."""

from pathlib import Path

from tests.support import images

WRITERS = range(1, 7)


def cedar_files() -> dict[str, bytes]:
    """Six writers, two genuine signatures and two forgeries each."""
    files = {}
    for writer in WRITERS:
        for one in (1, 2):
            files[f"signatures/full_org/original_{writer}_{one}.png"] = images.signature(writer, one)
            files[f"signatures/full_forg/forgeries_{writer}_{one}.png"] = images.signature(("forger", writer), one)
    return files


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
