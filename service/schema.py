"""The database schema: built by migrating, never otherwise."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

ROOT = Path(__file__).parent.parent

NEWEST = "0004"
"""The last migration, which a test holds to the folder: asking Alembic would cost every start its import."""


def migrate(url: str) -> None:
    """Brings the database at `url` to the newest schema. Any number of processes may call it at once."""
    from alembic import command

    command.upgrade(_config(url), "head")


def check(url: str) -> None:
    """Raises where the migrations build something else than the models describe."""
    from alembic import command

    migrate(url)
    command.check(_config(url))


def is_current(database: Database) -> bool:
    """False for a database that was never migrated, too."""
    with database.asking() as connection:
        try:
            versions = connection.scalars(text("SELECT version_num FROM alembic_version")).all()
        except DBAPIError:
            return False
    return list(versions) == [NEWEST]


def _config(url: str) -> "Config":
    from alembic.config import Config

    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["url"] = url
    return config
