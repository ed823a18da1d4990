"""The database schema: built by migrating, never otherwise."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.database import Database

ROOT = Path(__file__).parent.parent


def migrate(url: str) -> None:
    """Brings the database at `url` to the newest schema. Any number of processes may call it at once."""
    command.upgrade(_config(url), "head")


def check(url: str) -> None:
    """Raises where the migrations build something else than the models describe."""
    migrate(url)
    command.check(_config(url))


def is_current(database: Database) -> bool:
    with database.engine.connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads()) == _newest()


@cache
def _newest() -> set[str]:
    return set(ScriptDirectory.from_config(_config("")).get_heads())


def _config(url: str) -> Config:
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["url"] = url
    return config
