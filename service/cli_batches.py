"""`verify-batch`: a manifest and a folder of images in, a CSV of results out."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service import batches
from service.batch_files import check_inside
from service.batch_results import NotResumable, ResultsFile
from service.batch_run import Interrupted, Run, results
from service.database import Database
from service.errors import CODES, Refused
from service.manifest import BrokenManifest, Entry, read_manifest
from service.models import Batch
from service.product import Product
from service.settings import Settings

MOST_ROWS = 100_000
MOST_BYTES = 64 * 2**20

ROWS_A_PROCESS = 300
"""A process takes 1.5 s to start and 11 ms a row, of a core."""

ROWS_FAILED, NOT_STARTED, NOT_FINISHED = 1, 2, 3
"""Exit statuses beside 0."""


def verify_batch(settings: Settings, manifest: Path, out: Path, images: Path | None, processes: int | None) -> int:
    """The exit status."""
    folder = (images or manifest.parent).resolve()
    try:
        content = _read(manifest)
        entries = read_manifest(content, MOST_ROWS)
        check_inside(folder, entries)
        file = ResultsFile(out, hashlib.sha256(content).hexdigest())
    except BrokenManifest as broken:
        complaints = "".join(f"\n  {complaint}" for complaint in broken.complaints)
        return _complain(f"{manifest} cannot be used, and nothing was started:{complaints}", NOT_STARTED)
    except (NotResumable, OSError) as problem:
        return _complain(f"{problem}; nothing was started", NOT_STARTED)
    try:
        return _verify(settings, entries, file, folder, processes)
    finally:
        file.close()


def _read(manifest: Path) -> bytes:
    with manifest.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BrokenManifest([f"a manifest has at most {MOST_BYTES // 2**20} MiB; split it"])
    return content


def _verify(
    settings: Settings, entries: Sequence[Entry], file: ResultsFile, folder: Path, processes: int | None
) -> int:
    opened = Product.assemble(settings)  # also to say what is wrong with it before there are processes
    database = opened.database
    try:
        batch = _find_or_begin(database, file, entries)
        left = entries[file.rows :]
        if len(left) < len(entries):
            click.echo(f"{len(entries) - len(left)} of {len(entries)} rows are written already.", err=True)
        run = Run(settings, batch, folder)
        _work(run, left, file, processes or _worth(len(left)))
        file.finish()
        return _summarise(database, batch, len(entries))
    except (Interrupted, KeyboardInterrupt) as problem:
        code = str(problem)
        why = f"{code}: {CODES[code].sentence}" if code in CODES else code or "interrupted"
        return _complain(
            f"{why}\n{file.rows} of {len(entries)} rows are done; the same command goes on.", NOT_FINISHED
        )
    finally:
        opened.close()


def _worth(rows: int) -> int:
    """As many processes as there are cores, where a further one wins more than its own start costs."""
    return min(len(os.sched_getaffinity(0)), 1 + rows // ROWS_A_PROCESS)


def _find_or_begin(database: Database, file: ResultsFile, entries: Sequence[Entry]) -> int:
    if file.rows:
        with database.reading() as session:
            try:
                batches.get_batch(session, file.batch_id)
            except Refused:  # then they were verified, but not here
                raise Interrupted("the results were begun with another database") from None
    return batches.accept_files(database, file.batch_id, entries)


def _work(run: Run, entries: Sequence[Entry], file: ResultsFile, processes: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("verifying", total=file.rows + len(entries), completed=file.rows)
        with closing(results(run, entries, processes)) as answered:
            for entry, result in answered:
                file.write(entry, result)
                progress.update(task, completed=file.rows)


def _summarise(database: Database, batch: int, total: int) -> int:
    with database.reading() as session:
        outcomes = batches.count_outcomes(session, batch)
        failed = session.get_one(Batch, batch).failed
    counts = [f"{outcome} {outcomes.get(outcome, 0)}" for outcome in ("accept", "refer", "reject")]
    click.echo(f"{', '.join(counts)}, errors {failed}; {total} rows")
    return ROWS_FAILED if failed else 0


def _complain(problem: str, status: int) -> int:
    click.echo(f"Error: {problem}", err=True)
    return status
