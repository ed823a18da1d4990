"""What every benchmark gets: sizes, real images, a folder to work in, and a way to say how far it is."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from benchmarks.stand import Postgres, Stand

DATABASES = ("SQLite", "PostgreSQL")


@dataclass(frozen=True)
class Sizes:
    """How much is measured; `QUICK` only shows that everything runs."""

    seconds: float
    clients: tuple[int, ...]
    writers: int
    questioned: int  # genuine and as many forged a writer
    compared_pairs: int
    enrolments: int
    templates: tuple[int, ...]
    searches: int
    stored: int
    starts: int
    embedded: int  # specimens that an activation embeds again


FULL = Sizes(
    seconds=20,
    clients=(1, 8, 32),
    writers=55,
    questioned=4,
    compared_pairs=100,
    enrolments=600,
    templates=(10_000, 100_000, 1_000_000),
    searches=200,
    stored=100_000,
    starts=3,
    embedded=10_000,
)
QUICK = Sizes(
    seconds=3,
    clients=(1, 8),
    writers=10,
    questioned=2,
    compared_pairs=10,
    enrolments=60,
    templates=(10_000, 100_000),
    searches=20,
    stored=5_000,
    starts=1,
    embedded=500,
)


@dataclass
class Bench:
    sizes: Sizes
    signatures: Path  # the folder with CEDAR's `full_org` and `full_forg`
    folder: Path
    console: Console
    results: dict[str, Any] = field(default_factory=dict)
    _postgres: Postgres | None = None
    _started: float = field(default_factory=perf_counter)

    def say(self, message: str) -> None:
        self.console.print(f"[dim]{perf_counter() - self._started:6.0f} s  {message}[/dim]", highlight=False)

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            self._postgres = Postgres(self.folder / "postgres")
        return self._postgres

    @contextmanager
    def stand(self, database: str, settings: dict[str, str] | None = None) -> Iterator[Stand]:
        """A migrated server on an empty database, not started yet; stopped at the end."""
        folder = self.folder / f"{database}-{secrets.token_hex(3)}"
        folder.mkdir()
        postgres = self.postgres if database == "PostgreSQL" else None
        url = postgres.new_database() if postgres else f"sqlite:///{folder / 'countersign.db'}"
        stand = Stand(folder, url, settings or {}, postgres=postgres)
        stand.command("migrate")
        try:
            yield stand
        finally:
            stand.stop()

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()
