from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from service import batches
from service.api.body import CsvFile, NamedImage
from service.api.endpoint import caller, counted, endpoint, product, session
from service.api.paging import Page, next_cursor, position
from service.api.verifications import shown_score
from service.batches import Result
from service.errors import Refused
from service.fields import Strict
from service.manifest import BrokenManifest, Entry, read_manifest
from service.models import Batch

blueprint = APIBlueprint("batches", __name__, tag="Batches")

MOST_ROWS = 5000
"""`COUNTERSIGN_MAX_REQUEST_MB` is reached sooner as a rule."""


class NewBatch(Strict):
    MOST_PARTS: ClassVar[int] = MOST_ROWS + 1

    manifest: CsvFile = Field(description="CSV in UTF-8 whose header names the columns; see the documentation.")
    images: list[NamedImage] = Field(
        min_length=1, max_length=MOST_ROWS, description="Each is named by one row, by its file name."
    )


class BatchOut(BaseModel):
    batch_id: str
    state: str = Field(description="`running` or `done`")
    total: int = Field(description="Rows of the manifest.")
    done: int = Field(description="Rows that have a verification.")
    failed: int = Field(description="Rows that have a problem instead.")
    created_at: datetime
    finished_at: datetime | None


class BatchList(BaseModel):
    items: list[BatchOut]
    next_cursor: str | None


class RowOut(BaseModel):
    position: int = Field(description="Of the row in the manifest, counted from 1.")
    account_id: str
    reference: str | None
    state: str = Field(description="`waiting`, `done` or `failed`")
    problem: str | None = Field(description="The code that the question alone would have been refused with.")
    at_fault: list[str] = Field(description="Which fields are, where the problem is `invalid_field`.")
    verification_id: str | None
    outcome: str | None
    score: float | None
    reasons: list[str]


class BatchRowsOut(BatchOut):
    items: list[RowOut]
    next_cursor: str | None


@endpoint(blueprint, "POST", "/batches", scope="verify", body=NewBatch, returns=BatchOut, status=202)
def create_batch(body: NewBatch) -> BatchOut:
    """Verify many signatures, in the background"""
    entries = _entries(body.manifest)
    images = _in_order(entries, body.images)
    made = batches.accept(
        session(), product().vault, entries, images, actor=caller().key_id, counts_misses=counted() is not None
    )
    return BatchOut.model_validate(_shown(made))


@endpoint(blueprint, "GET", "/batches", scope="verify", query=Page, returns=BatchList)
def list_batches(query: Page) -> BatchList:
    """List one's own batches, newest first, and with the scope `review` those of others"""
    found = batches.list_batches(session(), position(query), query.limit + 1, _whose())
    items = [BatchOut.model_validate(_shown(batch)) for batch in found[: query.limit]]
    return BatchList(items=items, next_cursor=next_cursor(found, query.limit))


@endpoint(
    blueprint,
    "GET",
    "/batches/<batch_id>",
    scope="verify",
    query=Page,
    returns=BatchRowsOut,
    refusals=("batch_not_found",),
)
def get_batch(batch_id: str, query: Page) -> BatchRowsOut:
    """Show how far a batch is, and what came of its rows, in the order of the manifest"""
    batch = batches.get_batch(session(), batch_id, _whose())
    found = batches.list_results(session(), batch.id, position(query), query.limit + 1)
    items = [_show_row(row) for row in found[: query.limit]]
    return BatchRowsOut(**_shown(batch), items=items, next_cursor=next_cursor(found, query.limit))


def _whose() -> str | None:
    """Who verifies alone sees what was answered to themselves; who reviews sees all verifications anyway."""
    return None if "review" in caller().scopes else caller().key_id


def _entries(manifest: bytes) -> list[Entry]:
    try:
        return read_manifest(manifest, MOST_ROWS)
    except BrokenManifest as broken:
        raise _refused("manifest", broken.complaints) from broken


def _in_order(entries: Sequence[Entry], images: Sequence[NamedImage]) -> list[bytes]:
    """One image an entry. An image for several rows would be kept several times, and is a mistake as a rule."""
    by_name = {image.name: image.content for image in images}
    if len(by_name) < len(images):
        raise _refused("images", ["two images have the same file name"])
    complaints = [f"line {entry.line}: no such image was sent" for entry in entries if entry.image not in by_name]
    named: set[str] = set()
    for entry in entries:
        if entry.image in named:
            complaints.append(f"line {entry.line}: a row above names the same image")
        named.add(entry.image)
    if complaints:
        raise _refused("manifest", complaints[:20])
    if len(named) < len(by_name):
        raise _refused("images", [f"{len(by_name) - len(named)} images are named by no row"])
    return [by_name[entry.image] for entry in entries]


def _refused(field: str, problems: Sequence[str]) -> Refused:
    return Refused("invalid_field", errors=[{"field": field, "problem": problem} for problem in problems])


def _shown(batch: Batch) -> dict[str, object]:
    return {name: getattr(batch, name) for name in BatchOut.model_fields}


def _show_row(row: Result) -> RowOut:
    shown = {name: getattr(row, name) for name in RowOut.model_fields}
    return RowOut(**shown | {"score": shown_score(row.score, "review" in caller().scopes)})
