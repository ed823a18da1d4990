from typing import Annotated, Any, Literal

from apiflask import APIBlueprint
from pydantic import AwareDatetime, BaseModel, Field

from service import audit, receipts
from service.api.customers import ReceiptOut
from service.api.endpoint import endpoint, session
from service.api.paging import Page, cursor_at, position
from service.audit import Sought
from service.audit_chain import show_record
from service.fields import Line

blueprint = APIBlueprint("audit", __name__, tag="Audit")

Word = Annotated[Line, Field(max_length=128)]


class RecordOut(BaseModel):
    seq: int = Field(description="Its place in the trail, counted from 1 without gaps.")
    event_id: int
    at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    kind: str
    actor: str = Field(description="Id of the API key, `operator` or `worker`.")
    subject: str | None = Field(description="What it happened to: an id without meaning, or an account's id.")
    details: dict[str, Any]
    hash: str = Field(description="SHA-256 over the hash of the record before and this record; docs/audit.md.")


class RecordPage(BaseModel):
    items: list[RecordOut]
    next_cursor: str | None


class Filter(Page):
    kind: Word | None = None
    subject: Word | None = None
    actor: Word | None = None
    since: AwareDatetime | None = Field(None, alias="from", description="Not before this time.")
    until: AwareDatetime | None = Field(None, alias="to", description="Before this time.")
    order: Literal["newest", "oldest"] = "newest"

    def sought(self) -> Sought:
        return Sought(self.kind, self.subject, self.actor, self.since, self.until)


@endpoint(blueprint, "GET", "/audit", scope="audit", query=Filter, returns=RecordPage)
def list_records(query: Filter) -> RecordPage:
    """Page the audit trail, newest first unless asked otherwise

    An event is there about a second after it happened, once it has its place in the chain. Whoever pages from the
    oldest on and asks again later behind the last record misses nothing.
    """
    oldest_first = query.order == "oldest"
    found = audit.list_records(session(), query.sought(), position(query), query.limit + 1, oldest_first=oldest_first)
    items = [RecordOut(**show_record(row.seq, row), hash=row.hash.hex()) for row in found[: query.limit]]
    more = len(found) > query.limit
    return RecordPage(items=items, next_cursor=cursor_at(items[-1].seq) if more else None)


@endpoint(
    blueprint,
    "GET",
    "/erasures/<receipt_id>",
    scope="audit",
    returns=ReceiptOut,
    refusals=("receipt_not_found",),
)
def get_receipt(receipt_id: str) -> ReceiptOut:
    """Show the receipt of an erasure"""
    return ReceiptOut(**receipts.show(receipts.get_receipt(session(), receipt_id)))
