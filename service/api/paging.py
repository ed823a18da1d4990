"""Lists by cursor: stable while rows come and go, and as fast on the last page as on the first."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.errors import Refused


class Page(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200, description="Most items in one answer.")
    cursor: str | None = Field(None, max_length=64, description="`next_cursor` of the answer before.")


def position(page: Page) -> int | None:
    """The internal id that the cursor stands for."""
    if page.cursor is None:
        return None
    try:
        place = int(base64.urlsafe_b64decode(page.cursor.encode()).decode("ascii"))
    except (ValueError, binascii.Error) as problem:
        raise Refused(
            "invalid_field", errors=[{"field": "cursor", "problem": "is not a cursor of this list"}]
        ) from problem
    if not 0 <= place < 2**63:
        raise Refused("invalid_field", errors=[{"field": "cursor", "problem": "is not a cursor of this list"}])
    return place


def next_cursor(rows: Sequence[Any], limit: int) -> str | None:
    """For a page whose query asked for one row more than the limit."""
    return cursor_at(rows[limit - 1].id) if len(rows) > limit else None


def cursor_at(place: int) -> str:
    return base64.urlsafe_b64encode(str(place).encode()).decode()
