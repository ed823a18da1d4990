"""`python -m service`: everything an operator does."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from service import logs
from service.settings import PREFIX, BadSetting, Settings, load_settings
from service.spans import Span


class Commands(click.Group):
    """Turns what an operator can mend into one line instead of a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as problem:
            line = _mendable(problem)
            if line is None:
                raise
            raise click.ClickException(line) from problem


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Countersign verifies handwritten signatures against account mandates.

    \b
    First start:   python -m service migrate
                   python -m service create-key --scopes enrol,verify,search,review
                   python -m service serve

    Settings are environment variables; `python -m service settings` lists them.
    """


@main.command()
def migrate() -> None:
    """Bring the database to the newest schema; safe to repeat."""
    from service.schema import migrate as to_newest

    to_newest(_settings().database_url)
    click.echo("The database is at the newest schema.", err=True)


_key_file = click.option(
    "--key-file", type=click.Path(path_type=Path), help="Write the key here (mode 600) and print nothing."
)
_expires = click.option(
    "--expires", type=Span(), metavar="SPAN", help="It ends after this time: 90d, 12h or 30m; by default never."
)


@main.command("create-key")
@click.option("--scopes", required=True, help="Comma-separated: enrol,verify,search,review,audit,models,admin.")
@click.option("--name", help="What or whom it is for; shown by `keys`.")
@_expires
@_key_file
@click.option("--first", is_flag=True, help="Do nothing if there is a key already.")
def create_key(scopes: str, name: str | None, expires: timedelta | None, key_file: Path | None, first: bool) -> None:
    """Make an API key. It is shown once: only a hash of it is kept."""
    from service.cli_keys import create

    create(_settings(), scopes.split(","), name, expires, key_file, only_first=first)


@main.command("rotate-key")
@click.argument("key_id")
@click.option(
    "--overlap",
    type=Span(),
    metavar="SPAN",
    default="24h",
    show_default=True,
    help="How long the old one still works.",
)
@_expires
@_key_file
def rotate_key(key_id: str, overlap: timedelta, expires: timedelta | None, key_file: Path | None) -> None:
    """Make another key for the caller of KEY_ID, with the same scopes, and let the old one run out.

    The new one lasts as long as the old one was to last, unless --expires says otherwise. What the caller has
    claimed, sent or asked before stays the caller's.
    """
    from service.cli_keys import rotate

    rotate(_settings(), key_id, overlap, expires, key_file)


@main.command("revoke-key")
@click.argument("key_id")
def revoke_key(key_id: str) -> None:
    """Make a key useless at once. KEY_ID is the part between the two underscores."""
    from service.cli_keys import revoke

    revoke(_settings(), key_id)


@main.command()
def keys() -> None:
    """List API keys: what they may do, until when, and when each was used last."""
    from service.cli_keys import show_keys

    show_keys(_settings())


@main.command()
def serve() -> None:
    """Run the HTTP API (gunicorn) and a worker until interrupted."""
    from service.supervisor import run

    sys.exit(run(_checked_settings()))


@main.command()
def worker() -> None:
    """Run a worker alone: more of them, or on another host."""
    from service.worker import work

    work(_checked_settings())


@main.command()
def models() -> None:
    """List model versions: which is active, and how many specimens each can judge."""
    from service.cli_models import show_models

    show_models(_settings())


@main.command("fetch-model")
@click.argument("version", required=False)
def fetch_model(version: str | None) -> None:
    """Bring a published model version to this host, by default the active one; it may then be activated.

    It comes from COUNTERSIGN_MODEL_STORE to COUNTERSIGN_MODELS, checked, whole or not at all. What is here already is
    checked only, so that a host may run this at each start.
    """
    from service.cli_models import fetch

    fetch(_settings(), version)


@main.command()
@click.argument("version")
@click.option("--mode", type=click.Choice(["shadow", "switch", "rollback"]), required=True)
@click.option("--follow/--no-follow", default=True, help="Show the progress until the end; Ctrl-C stops only that.")
def activate(version: str, mode: Literal["shadow", "switch", "rollback"], follow: bool) -> None:
    """Bring a model version into service; a running worker does it."""
    from service.cli_models import activate as start

    start(_settings(), version, mode, stay=follow)


@main.command()
@click.argument("activation_id")
def activation(activation_id: str) -> None:
    """Follow an activation, and show how outcomes would change where it scores in the shadow."""
    from service.cli_models import follow

    follow(_settings(), activation_id)


@main.command("review-figures")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day of decisions that count (UTC).")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day of decisions that count (UTC).")
@click.option("--model-version", help="Only what this version judged.")
def review_figures(first: datetime | None, last: datetime | None, model_version: str | None) -> None:
    """Show where people and the model agree on referred verifications, and how much waits."""
    from service.cli_review import show_figures
    from service.review_figures import Period

    period = Period(first.date() if first else None, last.date() if last else None)
    show_figures(_settings(), period, model_version)


@main.group()
def audit() -> None:
    """Prove the audit trail: docs/audit.md."""


_public_keys = click.option(
    "--public-keys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `audit public-keys` printed; by default the key store's own.",
)


@audit.command("verify")
@_public_keys
def verify_audit(public_keys: Path | None) -> None:
    """Prove that no record was edited, deleted, inserted, moved or cut off, or name the first that was.

    \b
    Exit status: 0 all of it is true   1 it is not; the message names the first bad record
                 2 nothing was proven; the message says why
    """
    from service.cli_audit import NOT_CHECKED, verify

    sys.exit(_status(lambda: verify(_settings(), public_keys), NOT_CHECKED))


@audit.command("public-keys")
def show_public_keys() -> None:
    """Print the keys that seals and receipts are checked with; they are no secret."""
    from service.cli_audit import show_public_keys as show

    show(_settings())


@main.command("verify-receipt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_public_keys
def verify_receipt(file: Path, public_keys: Path | None) -> None:
    """Prove that FILE is a receipt of an erasure, as the API gave it. With --public-keys nothing else is needed.

    \b
    Exit status: 0 genuine   1 not genuine   2 not checked; the message says why
    """
    from service.cli_audit import NOT_CHECKED
    from service.cli_audit import verify_receipt as verify

    sys.exit(_status(lambda: verify(file, _settings(), public_keys), NOT_CHECKED))


@main.command()
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write both images beside their score as a PNG.")
def compare(a: Path, b: Path, out: Path | None) -> None:
    """Compare two signature images; nothing is stored."""
    from service.comparison import compare_images
    from service.errors import CODES, Refused
    from service.pictures import draw_pair
    from service.towers import open_encoder

    encoder = open_encoder(_settings())
    image_a, image_b = a.read_bytes(), b.read_bytes()
    try:
        score = compare_images(encoder, image_a, image_b)
    except Refused as refused:
        raise click.ClickException(f"{refused.code}: {CODES[refused.code].sentence}") from refused
    thresholds = encoder.bundle.thresholds
    click.echo(f"{score:.4f}  (accept from {thresholds.accept:.4f}, reject below {thresholds.reject:.4f})")
    if out is not None:
        out.write_bytes(draw_pair(image_a, image_b, score, thresholds))


@main.command("verify-batch")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Results, a CSV file.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the images, by default the manifest's own. No path in the manifest leads out of it.",
)
@click.option("--processes", type=click.IntRange(1, 64), help="By default one a core where that pays.")
def verify_batch(manifest: Path, out: Path, images: Path | None, processes: int | None) -> None:
    """Verify many images that MANIFEST names, a CSV file.

    Its first line names the columns. account_id and image are needed; kind, amount, currency, signed_on, reference,
    target_far and box may be there, and mean what they mean for a single verification. image is a path below the
    folder of the images.

    \b
        account_id,image,amount,currency,signed_on
        4711,scans/0001.png,120.00,EUR,2026-11-20
        4711,scans/0002.png,95.50,EUR,

    \b
    $ python -m service verify-batch monday.csv --out results.csv
    accept 1, refer 1, reject 0, errors 0; 2 rows

    The results have one line a row, in the same order. Their status is "done" with an outcome, or "failed" with the
    code that the question alone would have been refused with (docs/errors.md).

    \b
    Interrupted, killed, without power: the same command goes on where it was, and
    verifies nothing twice. While there is a results.csv.batch, the run is not at its
    end: leave manifest and results as they are.

    \b
    Exit status: 0 every row has an outcome   2 nothing was started; the message says why
                 1 some rows have an error    3 not finished; the same command goes on
    """
    from service.cli_batches import NOT_FINISHED
    from service.cli_batches import verify_batch as verify

    sys.exit(_status(lambda: verify(_settings(), manifest, out, images, processes), NOT_FINISHED))


@main.command()
def settings() -> None:
    """List every setting with its default and meaning."""
    for name, field in Settings.model_fields.items():
        click.echo(f"{PREFIX}{name.upper()} = {field.default}")
        click.echo(f"    {field.description}")


@main.command("check-schema")
def check_schema() -> None:
    """Prove that migrating an empty database builds exactly what the models say."""
    import tempfile

    from service.schema import check

    with tempfile.TemporaryDirectory() as folder:
        check(f"sqlite:///{folder}/empty.db")


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from service.api.app import create_app

    app = create_app(_settings())
    click.echo(app.test_client().get("/openapi.json").get_data(as_text=True))


@main.command()
@click.option("--samples", type=click.Path(exists=True, file_okay=False, path_type=Path), default="samples")
@click.option("--out", type=click.Path(path_type=Path), default="demo", help="Folder for the picture.")
def demo(samples: Path, out: Path) -> None:
    """Enrol, verify, search and remove over HTTP on drawn samples, and show what happened."""
    from service.demo import run

    run(samples, out)


def _status(command: Callable[[], int], where_mendable: int) -> int:
    """The exit status of a command that has several."""
    try:
        return command()
    except Exception as problem:
        line = _mendable(problem)
        if line is None:
            raise
        click.echo(f"Error: {line}", err=True)
        return where_mendable


def _settings() -> Settings:
    loaded = load_settings()
    logs.configure(loaded.log_level)
    return loaded


def _checked_settings() -> Settings:
    """For what stays: an endpoint that can never answer ends the start. Without one there is nothing to import."""
    loaded = _settings()
    if loaded.tower != "local":
        from service.towers import check_tower

        check_tower(loaded)
    return loaded


def _mendable(problem: Exception) -> str | None:
    """What is wrong in words for the operator; None for a bug. Imports late: most commands need none of these."""
    from sqlalchemy.exc import DBAPIError

    from embeddings.bundle import BrokenBundle
    from service.errors import CODES, Refused
    from service.keystore import BrokenKeyStore
    from service.model_store import StoreProblem

    if isinstance(problem, click.ClickException):
        return problem.message
    if isinstance(problem, (BadSetting, BrokenBundle, BrokenKeyStore, StoreProblem)):
        return str(problem)
    if isinstance(problem, Refused):
        return f"{problem.code}: {CODES[problem.code].sentence}"
    if isinstance(problem, DBAPIError):  # its own text repeats the statement with its parameters
        return f"the database does not do its work ({type(problem.orig).__name__}): is it there, and migrated?"
    return None
