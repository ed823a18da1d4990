"""Fields that several calls share."""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from service.currencies import currencies

# Ids travel in paths, so they carry no separator of a URL; a leading letter or digit keeps `.` and `..` out.
Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*$")
]

# PostgreSQL stores no NUL, and a line has no control characters.
Line = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


def _iso_date(value: object) -> object:
    """Left to itself pydantic takes a number for seconds since 1970."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return value
    raise ValueError("must be a date: YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(_iso_date)]


def _known(currency: str) -> str:
    if currency in currencies():
        return currency
    raise ValueError("is not a currency of ISO 4217")


Amount = Annotated[Decimal, Field(max_digits=16, decimal_places=2)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_known)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Dates(Strict):
    valid_from: Day | None = Field(None, description="First day on which it counts.")
    valid_to: Day | None = Field(None, description="Last day on which it counts.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("valid_to lies before valid_from")
        return self
