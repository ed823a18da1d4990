import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Self

from apiflask import APIBlueprint
from pydantic import (
    BaseModel,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from service import accounts
from service.accounts import DEFAULT_GROUP, AccountState, Place
from service.api.endpoint import caller, endpoint, product, session
from service.api.paging import Page, next_cursor, position
from service.customers import open_identity
from service.errors import Refused
from service.fields import Amount, Currency, Dates, Identifier, Strict, Text
from service.mandate import Rule
from service.models import Signatory

blueprint = APIBlueprint("accounts", __name__, tag="Accounts")


GROUP = r"[A-Za-z0-9_-]{1,32}"
MOST_GROUPS = 20


def _alternative(value: object) -> dict[str, int]:
    """In one piece, for an error of a single entry would repeat the name that was sent."""
    if isinstance(value, dict) and len(value) <= MOST_GROUPS:
        names = all(isinstance(group, str) and re.fullmatch(GROUP, group) for group in value)
        if names and all(type(count) is int for count in value.values()):
            return value
    raise ValueError('must be groups, each with its number of signatures: {"A": 1, "B": 2}')


Alternative = Annotated[
    dict[str, int],
    PlainValidator(_alternative),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}),
]


class SignatoryIn(Dates):
    customer_id: Identifier
    group: Annotated[str, StringConstraints(pattern=f"^{GROUP}$")] = DEFAULT_GROUP
    limit: Annotated[Amount, Field(gt=0)] | None = Field(
        None, description="Up to which amount this signature counts, in whatever currency the cheque is."
    )


class RuleIn(Strict):
    currency: Currency | None = Field(None, description="ISO 4217; by default any currency.")
    up_to: Annotated[Amount, Field(gt=0)] | None = Field(
        None, description="The largest amount it is for; by default any amount."
    )
    any_of: list[Alternative] = Field(
        max_length=20, description="Each is enough: so many signatures of each of these groups."
    )


class AccountIn(Strict):
    signatories: list[SignatoryIn] = Field(default=[], max_length=100)
    rules: list[RuleIn] = Field(
        default=[],
        max_length=50,
        description="The one with the smallest amounts that reach the cheque's counts, one of its very currency "
        "first. Empty: one signature of any signatory.",
    )
    always_refer: bool = Field(False, description="A person looks at every verification that would be accepted.")
    instructions: Annotated[Text, Field(max_length=2000)] | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        customer_ids = [signatory.customer_id for signatory in self.signatories]
        if len(set(customer_ids)) != len(customer_ids):
            raise ValueError("a customer is a signatory twice")
        return self


class SignatoryOut(BaseModel):
    customer_id: str
    group: str
    valid_from: date | None
    valid_to: date | None
    limit: str | None


class RuleOut(BaseModel):
    currency: str | None
    up_to: str | None
    any_of: list[dict[str, int]]


class AccountOut(BaseModel):
    account_id: str
    signatories: list[SignatoryOut]
    rules: list[RuleOut]
    always_refer: bool
    instructions: str | None


class AccountPage(BaseModel):
    items: list[AccountOut]
    next_cursor: str | None


class Deleted(BaseModel):
    account_id: str


@endpoint(blueprint, "GET", "/accounts", scope="admin", query=Page, returns=AccountPage)
def list_accounts(query: Page) -> AccountPage:
    """List accounts"""
    found = accounts.list_accounts(session(), position(query) or 0, query.limit + 1)
    cursor = next_cursor([state.account for state in found], query.limit)
    return AccountPage(items=[show_account(state) for state in found[: query.limit]], next_cursor=cursor)


@endpoint(
    blueprint,
    "PUT",
    "/accounts/<account_id>",
    scope="admin",
    body=AccountIn,
    returns=AccountOut,
    refusals=("unknown_customer", "mandate_empty", "mandate_contradictory"),
)
def put_account(account_id: str, body: AccountIn) -> tuple[AccountOut, int]:
    """Make an account or replace who may sign on it and who must"""
    _check_identifier(account_id)
    places = [
        Place(entry.customer_id, entry.group, entry.valid_from, entry.valid_to, entry.limit)
        for entry in body.signatories
    ]
    state, is_new = accounts.put_account(
        session(),
        product().vault,
        account_id,
        places,
        [Rule(rule.currency, rule.up_to, rule.any_of) for rule in body.rules],
        always_refer=body.always_refer,
        instructions=body.instructions,
        actor=caller().key_id,
    )
    return show_account(state), 201 if is_new else 200


@endpoint(
    blueprint,
    "GET",
    "/accounts/<account_id>",
    scope="admin",
    returns=AccountOut,
    refusals=("account_not_found",),
)
def get_account(account_id: str) -> AccountOut:
    """Show who may sign on an account"""
    return show_account(accounts.get_account(session(), account_id))


@endpoint(
    blueprint,
    "DELETE",
    "/accounts/<account_id>",
    scope="admin",
    returns=Deleted,
    refusals=("account_not_found",),
)
def delete_account(account_id: str) -> Deleted:
    """Delete an account; its customers and past verifications stay"""
    accounts.delete_account(session(), account_id, actor=caller().key_id)
    return Deleted(account_id=account_id)


def show_account(state: AccountState) -> AccountOut:
    return AccountOut(
        account_id=state.account.account_id,
        signatories=_show_signatories(state.signatories),
        rules=[RuleOut(**rule) for rule in state.mandate.rules],
        always_refer=state.mandate.always_refer,
        instructions=state.mandate.instructions,
    )


def _show_signatories(signatories: Sequence[Signatory]) -> list[SignatoryOut]:
    return [
        SignatoryOut(
            customer_id=open_identity(product().vault, entry.customer).customer_id,
            group=entry.group,
            valid_from=entry.valid_from,
            valid_to=entry.valid_to,
            limit=None if entry.amount_limit is None else f"{entry.amount_limit:.2f}",
        )
        for entry in signatories
        if entry.customer is not None
    ]


def _check_identifier(account_id: str) -> None:
    try:
        TypeAdapter(Identifier).validate_python(account_id)
    except ValidationError as problem:
        raise Refused("invalid_field", errors=[{"field": "account_id", "problem": "is not an id"}]) from problem
