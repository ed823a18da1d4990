"""Runs the migrations: one process at a time, and never behind a lock that blocks the service for long."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection, text

from service.database import Database
from service.models import Base, UtcTime
from service.settings import load_settings

MIGRATION_LOCK = 0x6D6967726174


def run() -> None:
    url = context.config.attributes.get("url") or load_settings().database_url
    database = Database(url, pool_size=1)
    with database.engine.execution_options(begin="BEGIN IMMEDIATE").connect() as connection:
        _take_turns(connection)
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            render_as_batch=connection.dialect.name == "sqlite",
            transactional_ddl=True,
            render_item=_render_item,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    database.close()


def _render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """A migration is history: it must not change its meaning when the models do."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcTime) else False


def _take_turns(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})


run()
