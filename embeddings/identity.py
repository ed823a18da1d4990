"""The name by which one tower is told from every other, wherever it runs."""

import hashlib
import re
from pathlib import Path

LONGEST = 63  # what host names and every cloud allow


def tower_name(model_version: str, tower: Path) -> str:
    """`1-1-0-0f3a9c21`: the model version in letters, digits and hyphens, and the start of the tower file's SHA-256.

    The version makes it readable, the checksum makes it true: two towers never share a name by mistake.
    """
    digest = hashlib.sha256(tower.read_bytes()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", model_version).strip("-")[: LONGEST - 9].strip("-")
    return f"{readable or 'model'}-{digest}"
