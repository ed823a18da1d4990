from datetime import date, datetime
from typing import Annotated

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from service import customers, enrolment, receipts, removal
from service.active_model import read_active
from service.api.body import Image
from service.api.endpoint import caller, endpoint, names, product, session
from service.api.paging import Page, next_cursor, position
from service.customers import Identity
from service.enrolment import Validity, read_specimens
from service.fields import Dates, Identifier, Line
from service.models import Customer, Receipt, Specimen

blueprint = APIBlueprint("customers", __name__, tag="Customers")

IMAGE_REFUSALS = (
    "image_empty",
    "image_format",
    "no_ink",
    "tower_unavailable",
)  # the documentation lists all image codes


class NewSpecimens(Dates):
    specimens: list[Image] = Field(min_length=1, max_length=10, description="Images of the signature.")

    def validity(self) -> Validity:
        return Validity(self.valid_from, self.valid_to)


class NewCustomer(NewSpecimens):
    customer_id: Identifier = Field(description="Your own id of this person.")
    account_ids: list[Identifier] = Field(default=[], max_length=100, description="Accounts this person may sign on.")
    name: Annotated[Line, Field(max_length=200)] | None = None


class Quality(BaseModel):
    ok: bool
    codes: list[str] = Field(
        description="What is doubtful about it; `needs_reenrolment` where the active model version has no template "
        "of it and its image is gone or unreadable: it does not count."
    )


class SpecimenOut(BaseModel):
    specimen_id: str
    status: str = Field(description="`active`, `pending` or `retired`")
    valid_from: date | None
    valid_to: date | None
    quality: Quality
    model_version: str = Field(description="The version that read it at enrolment.")
    created_at: datetime


class CustomerOut(BaseModel):
    customer_id: str
    account_ids: list[str]
    status: str
    created_at: datetime
    specimens: list[SpecimenOut]


class CustomerPage(BaseModel):
    items: list[CustomerOut]
    next_cursor: str | None


class SpecimenList(BaseModel):
    items: list[SpecimenOut]


class ReceiptOut(BaseModel):
    receipt_id: str
    erased_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    counts: dict[str, int]
    signature: str | None
    key_id: str | None


@endpoint(
    blueprint,
    "POST",
    "/customers",
    scope="enrol",
    body=NewCustomer,
    returns=CustomerOut,
    status=201,
    refusals=("customer_exists", *IMAGE_REFUSALS),
)
def enrol_customer(body: NewCustomer) -> CustomerOut:
    """Enrol a customer with one to ten specimen signatures"""
    drawn = read_specimens(product().encoder, body.specimens)
    customer = enrolment.enrol_customer(
        session(),
        product(),
        Identity(body.customer_id, body.name),
        body.account_ids,
        drawn,
        body.validity(),
        actor=caller().key_id,
    )
    names(customer.owner, *(specimen.specimen_id for specimen in customer.specimens))
    return show_customer(customer)


@endpoint(blueprint, "GET", "/customers", scope="enrol", query=Page, returns=CustomerPage)
def list_customers(query: Page) -> CustomerPage:
    """List customers in the order of their enrolment"""
    found = customers.list_customers(session(), position(query) or 0, query.limit + 1)
    items = [show_customer(customer) for customer in found[: query.limit]]
    return CustomerPage(items=items, next_cursor=next_cursor(found, query.limit))


@endpoint(
    blueprint,
    "GET",
    "/customers/<customer_id>",
    scope="enrol",
    returns=CustomerOut,
    refusals=("customer_not_found",),
)
def get_customer(customer_id: str) -> CustomerOut:
    """Show one customer"""
    return show_customer(customers.get_customer(session(), product().vault, customer_id))


@endpoint(
    blueprint,
    "DELETE",
    "/customers/<customer_id>",
    scope="enrol",
    returns=ReceiptOut,
    refusals=("customer_not_found",),
)
def remove_customer(customer_id: str) -> ReceiptOut:
    """Remove a leaver with everything that is kept of the person"""
    return show_receipt(removal.remove_customer(session(), product().vault, customer_id, actor=caller().key_id))


@endpoint(
    blueprint,
    "POST",
    "/customers/<customer_id>/specimens",
    scope="enrol",
    body=NewSpecimens,
    returns=SpecimenList,
    status=201,
    refusals=("customer_not_found", *IMAGE_REFUSALS),
)
def add_specimens(customer_id: str, body: NewSpecimens) -> SpecimenList:
    """Add specimens to a customer

    A specimen that does not look like the person's others, or looks more like somebody else's, stays `pending`
    with `specimen_inconsistent` or `matches_other_customer` among its quality codes, and does not count until
    confirmed.
    """
    drawn = read_specimens(product().encoder, body.specimens)
    specimens = enrolment.add_specimens(
        session(), product(), customer_id, drawn, body.validity(), actor=caller().key_id
    )
    names(specimens[0].customer.owner, *(specimen.specimen_id for specimen in specimens))
    return SpecimenList(items=[show_specimen(specimen) for specimen in specimens])


@endpoint(
    blueprint,
    "DELETE",
    "/customers/<customer_id>/specimens/<specimen_id>",
    scope="enrol",
    returns=ReceiptOut,
    refusals=("customer_not_found", "specimen_not_found"),
)
def remove_specimen(customer_id: str, specimen_id: str) -> ReceiptOut:
    """Remove one specimen"""
    return show_receipt(
        removal.remove_specimen(session(), product().vault, customer_id, specimen_id, actor=caller().key_id)
    )


@endpoint(
    blueprint,
    "POST",
    "/customers/<customer_id>/specimens/<specimen_id>/confirmation",
    scope="admin",
    returns=SpecimenOut,
    refusals=("customer_not_found", "specimen_not_found", "specimen_not_pending"),
)
def confirm_specimen(customer_id: str, specimen_id: str) -> SpecimenOut:
    """Confirm a pending specimen after a person has looked at it"""
    specimen = enrolment.confirm_specimen(session(), product().vault, customer_id, specimen_id, actor=caller().key_id)
    names(specimen.customer.owner, specimen_id)
    return show_specimen(specimen)


def show_customer(customer: Customer) -> CustomerOut:
    return CustomerOut(
        customer_id=customers.open_identity(product().vault, customer).customer_id,
        account_ids=customers.account_ids(customer),
        status=customer.status,
        created_at=customer.created_at,
        specimens=[show_specimen(specimen) for specimen in customer.specimens],
    )


def show_specimen(specimen: Specimen) -> SpecimenOut:
    codes = list(specimen.quality_codes)
    if _needs_reenrolment(specimen):
        codes.append("needs_reenrolment")
    quality = Quality(ok=not codes, codes=codes)
    return SpecimenOut(
        specimen_id=specimen.specimen_id,
        status=specimen.status,
        valid_from=specimen.valid_from,
        valid_to=specimen.valid_to,
        quality=quality,
        model_version=specimen.model_version,
        created_at=specimen.created_at,
    )


def _needs_reenrolment(specimen: Specimen) -> bool:
    marked = specimen.needs_reenrolment  # hardly ever, so that nobody else pays for the question
    return marked is not None and marked == read_active(session(), product().models.default_version)


def show_receipt(receipt: Receipt) -> ReceiptOut:
    return ReceiptOut(**receipts.show(receipt))
