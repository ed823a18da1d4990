from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self

from apiflask import APIBlueprint
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from service import accounts
from service.accounts import DEFAULT_GROUP, AccountState, Place
from service.api.endpoint import caller, endpoint, product, session
from service.api.paging import Page, next_cursor, position
from service.customers import open_identity
from service.errors import Refused
from service.fields import Dates, Identifier, Strict, Text
from service.models import Signatory

blueprint = APIBlueprint("accounts", __name__, tag="Accounts")


class SignatoryIn(Dates):
    customer_id: Identifier
    group: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = DEFAULT_GROUP
    limit: Decimal | None = None


class AccountIn(Strict):
    signatories: list[SignatoryIn] = Field(default=[], max_length=100)
    rules: list[Any] = Field(default=[], description="Empty: one signature of any signatory.")
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


class AccountOut(BaseModel):
    account_id: str
    signatories: list[SignatoryOut]
    rules: list[Any]
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
    refusals=("unknown_customer", "rules_not_supported", "limits_not_supported"),
)
def put_account(account_id: str, body: AccountIn) -> tuple[AccountOut, int]:
    """Make an account or replace who may sign on it"""
    if body.rules:
        raise Refused("rules_not_supported")
    if any(signatory.limit is not None for signatory in body.signatories):
        raise Refused("limits_not_supported")
    _check_identifier(account_id)
    places = [Place(entry.customer_id, entry.group, entry.valid_from, entry.valid_to) for entry in body.signatories]
    state, is_new = accounts.put_account(
        session(),
        product().vault,
        account_id,
        places,
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
        rules=state.mandate.rules,
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
            limit=None if entry.amount_limit is None else str(entry.amount_limit),
        )
        for entry in signatories
        if entry.customer is not None
    ]


def _check_identifier(account_id: str) -> None:
    try:
        TypeAdapter(Identifier).validate_python(account_id)
    except ValidationError as problem:
        raise Refused("invalid_field", errors=[{"field": "account_id", "problem": "is not an id"}]) from problem
