"""Batches: many questions asked at once. Each row is answered as if it had been asked alone.

A row's verification and the row itself change in one transaction, so a process that is killed at any moment has
verified a row and noted it, or neither. A row that several processes take at the same time is verified by the one
that commits first.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import structlog
from pydantic import ValidationError
from sqlalchemy import ColumnElement, CursorResult, func, insert, select, true, update
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.orm import Session

from service import metrics, misses, question, verification
from service.database import Database, Overtaken, again_when_overtaken
from service.dates import today
from service.errors import CODES, Refused
from service.events import record
from service.judgement import Judgement
from service.manifest import Entry
from service.models import Batch, BatchRow, Verification
from service.product import Product
from service.question import Asked
from service.question_fields import QuestionFields
from service.shadowing import score_in_shadow
from service.vault import SealedValue, Vault

log = structlog.get_logger()

IMAGE = "batch_image"
OPERATOR = "operator"
"""The actor of a batch that a command line works on, with its images in files and none in the database."""


ROWS_AT_A_TIME = 1000


class Row(NamedTuple):
    """A waiting row with what its work needs."""

    id: int
    batch: int
    actor: str
    counts_misses: bool
    fields: dict[str, str]


class Result(NamedTuple):
    """A row as it is shown. `problem` is the code of what is wrong, and `at_fault` the fields where it is."""

    id: int
    position: int
    account_id: str
    reference: str | None
    state: str
    problem: str | None
    at_fault: list[str]
    verification_id: str | None
    outcome: str | None
    score: float | None
    reasons: list[str]


class RowTaken(Exception):
    """Somebody else has answered this row."""


def accept(
    session: Session,
    vault: Vault,
    entries: Sequence[Entry],
    images: Sequence[bytes],
    *,
    actor: str,
    counts_misses: bool = False,
) -> Batch:
    """Keeps a batch with one image an entry, for a worker. A row that cannot be asked has failed already."""
    batch_id = new_id()
    rows = [_row(entry, vault.seal(batch_id, IMAGE, image)) for entry, image in zip(entries, images, strict=True)]
    batch = _begin(session, batch_id, len(rows), actor)
    batch.counts_misses = counts_misses
    _add(session, batch, rows)
    return batch


def accept_files(database: Database, batch_id: str, entries: Sequence[Entry]) -> int:
    """Keeps a batch whose images stay in files, or what is lacking of it: only who has the files can work on it.
    Answers the id of its row. In many transactions, for others want to write meanwhile."""
    with database.writing() as session:
        batch = session.scalar(select(Batch).where(Batch.batch_id == batch_id))
        batch = batch or _begin(session, batch_id, len(entries), OPERATOR)
        batch_pk = batch.id
        kept = session.scalar(select(func.count()).where(BatchRow.batch_id == batch_pk)) or 0
    for start in range(kept, len(entries), ROWS_AT_A_TIME):
        rows = [_row(entry, None) for entry in entries[start : start + ROWS_AT_A_TIME]]
        with database.writing() as session:
            _add(session, session.get_one(Batch, batch_pk), rows)
    return batch_pk


def new_id() -> str:
    return f"bat_{secrets.token_hex(12)}"


def get_batch(session: Session, batch_id: str, actor: str | None = None) -> Batch:
    """Of this actor's own, or of all. Raises `batch_not_found`."""
    found = session.scalar(select(Batch).where(Batch.batch_id == batch_id, _of(actor)))
    if found is None:
        raise Refused("batch_not_found")
    return found


def list_batches(session: Session, before: int | None, limit: int, actor: str | None = None) -> list[Batch]:
    """Newest first, beginning before the internal id `before`."""
    query = select(Batch).where(_of(actor)).order_by(Batch.id.desc()).limit(limit)
    return list(session.scalars(query if before is None else query.where(Batch.id < before)))


def list_results(session: Session, batch: int, after: int | None, limit: int) -> list[Result]:
    """In the order of the manifest, beginning after the row with the internal id `after`."""
    query = _RESULTS.where(BatchRow.batch_id == batch).order_by(BatchRow.id).limit(limit)
    return [_result(row) for row in session.execute(query if after is None else query.where(BatchRow.id > after))]


def get_result(session: Session, batch: int, position: int) -> Result:
    at = _RESULTS.where(BatchRow.batch_id == batch, BatchRow.position == position)
    return _result(session.execute(at).one())


def count_outcomes(session: Session, batch: int) -> dict[str, int]:
    """Of the rows that are answered."""
    rows = session.execute(
        select(Verification.outcome, func.count())
        .join(BatchRow, BatchRow.verification_id == Verification.id)
        .where(BatchRow.batch_id == batch)
        .group_by(Verification.outcome)
    )
    return {row[0]: row[1] for row in rows}


def answer(product: Product, row: Row, load: Callable[[], bytes]) -> None:
    """Verifies a row's image, as `load` brings it, and notes what came of it.

    What a caller alone would be told with a 4xx is the row's problem. Raises what trying again later may mend: a
    `Refused` with a 5xx, `SQLAlchemyError`, `Overtaken`; and `RowTaken`.
    """
    try:
        asked = _fields(row.fields).asked(load())
        made = _verify(product, row, asked)
    except Refused as refused:
        if CODES[refused.code].status >= 500:
            raise
        _fail(product, row, refused.code)
    except (Overtaken, RowTaken):
        raise
    except Exception as problem:
        if isinstance(problem, SQLAlchemyError) and not isinstance(problem, DataError):
            raise
        log.error("batch_row_broken", row=row.id, problem=type(problem).__name__)  # it must not hold up the others
        _fail(product, row, "internal_error")
    else:
        metrics.verifications.labels(made.outcome).inc()
        score_in_shadow(product, row.fields["account_id"], asked, made.verification_id)


@again_when_overtaken
def _verify(product: Product, row: Row, asked: Asked) -> Judgement:
    account_id = row.fields["account_id"]
    misses.require_room(product, account_id, row.actor if row.counts_misses else None)
    read = question.read(product.encoder, asked)
    with product.database.writing() as session:
        made = verification.verify(
            session, product, account_id, read, actor=row.actor, counts_misses=row.counts_misses
        )
        kept = select(Verification.id).where(Verification.verification_id == made.verification_id)
        _settle(session, row, state="done", verification_id=kept.scalar_subquery())
    return made


def _fail(product: Product, row: Row, code: str) -> None:
    with product.database.writing() as session:
        _settle(session, row, state="failed", problem=code)


def _settle(session: Session, row: Row, *, state: str, **values: Any) -> None:
    """The row is answered, and its image goes. Raises `RowTaken`, with which all of the transaction goes."""
    settled = session.execute(
        update(BatchRow)
        .where(BatchRow.id == row.id, BatchRow.state == "waiting")
        .values(state=state, key_id=None, nonce=None, sealed=None, **values)
    )
    if cast("CursorResult[object]", settled).rowcount != 1:
        raise RowTaken
    counter = Batch.done if state == "done" else Batch.failed
    session.execute(update(Batch).where(Batch.id == row.batch).values({counter: counter + 1}))
    _finish(session, row.batch)


def _finish(session: Session, batch: int) -> None:
    """If that was the last row."""
    ended = session.execute(
        update(Batch)
        .where(Batch.id == batch, Batch.done + Batch.failed == Batch.total)
        .values(state="done", finished_at=datetime.now(UTC))
        .returning(Batch.batch_id, Batch.actor, Batch.done, Batch.failed)
    ).one_or_none()
    if ended is not None:
        record(session, "batch_done", actor=ended.actor, subject=ended.batch_id, done=ended.done, failed=ended.failed)


def _begin(session: Session, batch_id: str, total: int, actor: str) -> Batch:
    batch = Batch(
        batch_id=batch_id,
        state="running",
        actor=actor,
        total=total,
        done=0,
        failed=0,
        created_at=datetime.now(UTC),
    )
    session.add(batch)
    session.flush()
    record(session, "batch_created", actor=actor, subject=batch_id, rows=total)
    return batch


def _add(session: Session, batch: Batch, rows: Sequence[dict[str, Any]]) -> None:
    session.execute(insert(BatchRow), [{"batch_id": batch.id, **row} for row in rows])
    failed = sum(row["state"] == "failed" for row in rows)
    session.execute(update(Batch).where(Batch.id == batch.id).values(failed=Batch.failed + failed))
    _finish(session, batch.id)
    session.refresh(batch)


def _row(entry: Entry, image: SealedValue | None) -> dict[str, Any]:
    """The day is today's, whenever the row's turn comes."""
    fields = {"signed_on": today().isoformat(), **entry.fields, "account_id": entry.account_id}
    row = {"position": entry.position, "fields": fields, "state": "waiting", "problem": None}
    if _at_fault(fields):
        row |= {"state": "failed", "problem": "invalid_field"}
        image = None
    return row | (image._asdict() if image else dict.fromkeys(SealedValue._fields))


def _fields(fields: dict[str, str]) -> QuestionFields:
    return QuestionFields.model_validate({name: value for name, value in fields.items() if name != "account_id"})


def _at_fault(fields: dict[str, str]) -> list[str]:
    try:
        _fields(fields)
    except ValidationError as problem:
        return list(dict.fromkeys(str(error["loc"][0]) for error in problem.errors()))
    return []


def _of(actor: str | None) -> ColumnElement[bool]:
    return true() if actor is None else Batch.actor == actor


def _result(row: Any) -> Result:
    return Result(
        id=row.id,
        position=row.position,
        account_id=row.fields["account_id"],
        reference=row.fields.get("reference"),
        state=row.state,
        problem=row.problem,
        at_fault=_at_fault(row.fields) if row.problem == "invalid_field" else [],
        verification_id=row.verification_id,
        outcome=row.outcome,
        score=row.score,
        reasons=row.reasons or [],
    )


_RESULTS = select(
    BatchRow.id,
    BatchRow.position,
    BatchRow.fields,
    BatchRow.state,
    BatchRow.problem,
    Verification.verification_id,
    Verification.outcome,
    Verification.score,
    Verification.reasons,
).join(Verification, Verification.id == BatchRow.verification_id, isouter=True)
