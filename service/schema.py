"""The database schema: built by migrating, never otherwise."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

APPLICATION = "countersign_app"
"""The role that PostgreSQL serves as, where somebody made it: it may write everything but what was. Another role,
which owns the tables, migrates."""

APPEND_ONLY = ("events", "audit_records", "audit_seals")

ROOT = Path(__file__).parent.parent

NEWEST = "0005"
"""The last migration, which a test holds to the folder: asking Alembic would cost every start its import."""


def migrate(url: str) -> None:
    """Brings the database at `url` to the newest schema. Any number of processes may call it at once."""
    from alembic import command

    command.upgrade(_config(url), "head")
    _grant(url)


def check(url: str) -> None:
    """Raises where the migrations build something else than the models describe."""
    from alembic import command

    migrate(url)
    command.check(_config(url))


def _grant(url: str) -> None:
    """With each migration, for tables that are new, and for a role that is."""
    database = Database(url, pool_size=1)
    if database.engine.dialect.name == "postgresql":
        with database.engine.begin() as connection:
            if connection.scalar(_IS_APART, {"role": APPLICATION}):
                for statement in _GRANTS:
                    connection.execute(text(statement))
    database.close()


_IS_APART = text("SELECT 1 FROM pg_roles WHERE rolname = :role AND rolname <> current_user")

_GRANTS = (
    "SELECT pg_advisory_xact_lock(7236271)",  # migrations at once would grant at once, which fails
    f"GRANT USAGE ON SCHEMA public TO {APPLICATION}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APPLICATION}",
    f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION}",
    f"REVOKE UPDATE, DELETE, TRUNCATE ON {', '.join(APPEND_ONLY)} FROM {APPLICATION}",
    f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {APPLICATION}",
)


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
