"""What a caller may say about a questioned image: one set of fields, whether one is asked about or many."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from service.dates import today
from service.fields import Amount, Currency, Day, Line, Strict
from service.question import Asked


def _box_numbers(value: object) -> object:
    """`left,top,width,height`, as a form can write it."""
    return value.split(",") if isinstance(value, str) else value


Corner = Annotated[int, Field(ge=0, le=20_000)]
Side = Annotated[int, Field(ge=1, le=20_000)]
BoxIn = Annotated[
    tuple[Corner, Corner, Side, Side],
    BeforeValidator(_box_numbers),
    WithJsonSchema({"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}),
]


class QuestionFields(Strict):
    kind: Literal["signature", "cheque"] = "signature"
    amount: Amount | None = Field(None, ge=0, description="Decimal string.")
    currency: Currency | None = Field(None, description="ISO 4217.")
    signed_on: Day | None = Field(None, description="The day whose validity dates count; by default today.")
    reference: Annotated[Line, Field(max_length=128)] | None = None
    target_far: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Share of skilled forgeries that may pass on this account; the answer says at which score.",
    )
    box: BoxIn | None = Field(None, description="`left,top,width,height` of the signature in pixels.")

    def asked(self, image: bytes) -> Asked:
        return Asked(
            image=image,
            kind=self.kind,
            box=self.box,
            signed_on=self.signed_on or today(),
            amount=self.amount,
            currency=self.currency,
            reference=self.reference,
            target_far=self.target_far,
        )
