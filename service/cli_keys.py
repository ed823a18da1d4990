"""Commands about API keys."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from service import access
from service.database import Database
from service.models import ApiKey
from service.settings import Settings

WIDE = 180
NOT_LIVE = "no live key has this id"


def create(
    settings: Settings,
    scopes: Sequence[str],
    name: str | None,
    expires: timedelta | None,
    key_file: Path | None,
    *,
    only_first: bool,
) -> None:
    with _writing(settings) as session:
        if only_first and session.scalar(select(ApiKey.id).limit(1)) is not None:
            return
        try:
            key = access.create_key(session, [scope.strip() for scope in scopes], name, expires)
        except ValueError as problem:
            raise click.BadParameter(str(problem), param_hint="--scopes") from problem
        _hand_over(key, key_file)


def rotate(
    settings: Settings, key_id: str, overlap: timedelta, expires: timedelta | None, key_file: Path | None
) -> None:
    with _writing(settings) as session:
        key = access.rotate_key(session, key_id, overlap, expires)
        if key is None:
            raise click.ClickException(NOT_LIVE)
        _hand_over(key, key_file)


def revoke(settings: Settings, key_id: str) -> None:
    with _writing(settings) as session:
        if not access.revoke_key(session, key_id):
            raise click.ClickException(NOT_LIVE)
    click.echo("revoked")


def show_keys(settings: Settings) -> None:
    now = datetime.now(UTC)
    database = Database(settings.database_url, pool_size=1)
    with database.reading() as session:
        keys = access.list_keys(session)
    database.close()
    table = Table(
        Column("key id", no_wrap=True), "name", "scopes", "state", "made", "ends", "last used", "same caller as"
    )
    for key in keys:
        times = map(_time, (key.created_at, key.expires_at, key.last_used_at))
        table.add_row(key.key_id, key.name, " ".join(key.scopes), _state(key, now), *times, key.first_key_id)
    # Without a terminal, 80 columns would be taken for granted and most of it cut off.
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "live" if key.expires_at is None or key.expires_at > now else "ended"


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M") if at else ""


@contextmanager
def _writing(settings: Settings) -> Iterator[Session]:
    database = Database(settings.database_url, pool_size=1)
    try:
        with database.writing() as session:
            yield session
    finally:
        database.close()


def _hand_over(key: str, file: Path | None) -> None:
    """Before the commit: a key that reached nobody is not kept."""
    if file is None:
        click.echo(key)
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # a file that was there already keeps its mode otherwise
    with os.fdopen(descriptor, "w", encoding="utf-8") as secret:
        secret.write(key + "\n")
