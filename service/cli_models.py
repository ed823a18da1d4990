"""Commands about model versions: which there are, and bringing one into service."""

import time

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from embeddings import bundle
from service import activation, model_store, shadowing
from service.activation import Mode
from service.active_model import read_active
from service.bundles import default_folder
from service.database import Database
from service.models import Activation
from service.product import Product
from service.settings import Settings

POLL_SECONDS = 0.5


def show_models(settings: Settings) -> None:
    product = Product.assemble(settings)
    with product.database.reading() as session:
        states = activation.list_models(session, product.models)
    product.close()
    table = Table("version", "", "at hand", "specimens", "missing", "need re-enrolment")
    for state in states:
        role = "active" if state.is_active else "previous" if state.is_previous else ""
        figures = (state.specimens, state.missing, state.needs_reenrolment)
        table.add_row(state.model_version, role, "yes" if state.is_at_hand else "no", *map(str, figures))
    Console().print(table)


def fetch(settings: Settings, version: str | None) -> None:
    """Raises `StoreProblem`."""
    wanted = version or _active(settings)
    click.echo(f"{wanted} is at hand in {model_store.fetch(settings, wanted)}.")


def _active(settings: Settings) -> str:
    database = Database(settings.database_url, pool_size=1)
    try:
        with database.reading() as session:
            return read_active(session, bundle.version_of(default_folder(settings)))
    finally:
        database.close()


def activate(settings: Settings, version: str, mode: Mode, *, stay: bool) -> None:
    """Raises what `activation.start` does, and `click.ClickException` where it fails."""
    product = Product.assemble(settings)
    try:
        with product.database.writing() as session:
            started = activation.start(session, product.models, version, mode, actor="operator")
            activation_id, lost = started.activation_id, started.needs_reenrolment
        click.echo(activation_id)
        if lost:
            click.echo(f"{lost} specimens need re-enrolment: their image is gone.", err=True)
        if stay:
            _report(product.database, _follow(product.database, activation_id))
    finally:
        product.close()


def follow(settings: Settings, activation_id: str) -> None:
    """Raises `activation_not_found`, and `click.ClickException` where it fails."""
    database = Database(settings.database_url, pool_size=1)
    try:
        _report(database, _follow(database, activation_id))
    finally:
        database.close()


def _follow(database: Database, activation_id: str) -> Activation:
    """Until it is at its end, or scores in the shadow. Interrupting this does not interrupt the activation."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("waiting for a worker")
        while True:
            with database.reading() as session:
                row = activation.get_activation(session, activation_id)
            progress.update(
                task,
                completed=row.done,
                total=row.total,
                description=_say(row),
            )
            if row.state != "reembedding":
                return row
            time.sleep(POLL_SECONDS)


def _say(row: Activation) -> str:
    if row.state == "reembedding" and row.problem:
        return f"{row.model_version} waits: {row.problem}"
    working = row.done > 0 or row.state != "reembedding"
    return f"{row.model_version} {row.state}" if working else "waiting for a worker"


def _report(database: Database, row: Activation) -> None:
    if row.state == "failed":
        raise click.ClickException(f"the activation failed: {row.problem}")
    if row.mode != "shadow":
        click.echo(f"{row.model_version} is active.")
        return
    ending = "has scored in the shadow" if row.state == "done" else f"scores in the shadow until {row.shadow_until}"
    click.echo(f"{row.model_version} {ending}.")
    with database.reading() as session:
        for change in shadowing.list_changes(session, row):
            click.echo(f"{change.active} -> {change.shadow}: {change.verifications}")
