"""Commands of an auditor: prove the trail, hand out the public keys, check a receipt."""

import json
from pathlib import Path

import click
from sqlalchemy import text

from service.audit_heads import HeadsUnreachable, open_heads
from service.audit_proof import Broken, Proof, prove
from service.database import Database
from service.keystore import KeyStore
from service.receipts import is_genuine
from service.settings import Settings
from service.signing import PublicKeys, Signer, instant

UNTRUE, NOT_CHECKED = 1, 2
"""Exit statuses beside 0."""


def verify(settings: Settings, public_keys: Path | None) -> int:
    """The exit status."""
    keys = _keys(settings, public_keys)
    database = Database(settings.database_url, pool_size=1)
    heads = open_heads(settings.audit_heads)
    try:
        proof = prove(database, keys, heads.read() if heads else ())
    except Broken as problem:
        click.echo(f"The audit trail is not true: {problem}.", err=True)
        return UNTRUE
    except HeadsUnreachable as problem:
        click.echo(f"Error: the heads outside cannot be read, so nothing is proven: {problem}", err=True)
        return NOT_CHECKED
    else:
        _tell(proof)
        if heads is None:
            click.echo("Whether its end was cut off is not known: COUNTERSIGN_AUDIT_HEADS is not set.", err=True)
        if _may_change(database):
            click.echo("Note: this database role may change the audit trail; docs/audit.md says how not.", err=True)
        return 0
    finally:
        database.close()


def show_public_keys(settings: Settings) -> None:
    click.echo(_own_keys(settings).dump())


def verify_receipt(file: Path, settings: Settings, public_keys: Path | None) -> int:
    """The exit status."""
    try:
        shown = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise click.ClickException(f"{file} holds no receipt: {type(problem).__name__}") from problem
    if not isinstance(shown, dict) or not is_genuine(shown, _keys(settings, public_keys)):
        click.echo("This is no receipt of these keys, or it was changed.", err=True)
        return UNTRUE
    click.echo(f"Receipt {shown['receipt_id']} of {shown['erased_at']} is genuine, signed with {shown['key_id']}.")
    return 0


def _tell(proof: Proof) -> None:
    until = f", up to {instant(proof.sealed_at)}" if proof.sealed_at else ""
    heads = f"; {proof.heads} heads outside agree" if proof.heads else ""
    click.echo(f"{proof.records} records under {proof.seals} seals are true{until}{heads}.")
    if proof.waiting:
        click.echo(f"{proof.waiting} events wait for their seal.")


def _keys(settings: Settings, file: Path | None) -> PublicKeys:
    if file is None:
        return _own_keys(settings)
    try:
        return PublicKeys.load(file.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise click.ClickException(f"{file} holds no public keys: {type(problem).__name__}") from problem


def _own_keys(settings: Settings) -> PublicKeys:
    return Signer(KeyStore.open(settings.keystore_url, may_create=False).signing).public


def _may_change(database: Database) -> bool:
    """On SQLite whoever may write may change anything, and nothing can be said."""
    if database.engine.dialect.name != "postgresql":
        return False
    with database.asking() as connection:
        return bool(connection.scalar(text("SELECT has_table_privilege('events', 'UPDATE, DELETE, TRUNCATE')")))
