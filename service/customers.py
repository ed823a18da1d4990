"""Finding customers, and saying who they are: the caller's identifiers exist only as a keyed hash and a seal."""

import json
import secrets
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from service.errors import Refused
from service.models import Customer, Signatory, Specimen
from service.vault import SealedValue, Vault

KIND = "identity"


class Identity(NamedTuple):
    customer_id: str
    name: str | None


def new_owner() -> str:
    """A random internal id: what keys, events and stored answers say instead of the person's own id."""
    return secrets.token_hex(16)


def lookup(vault: Vault, customer_id: str) -> bytes:
    return vault.lookup("customer", customer_id)


def seal_identity(vault: Vault, owner: str, identity: Identity) -> SealedValue:
    return vault.seal(owner, KIND, json.dumps(identity).encode())


class Sealed(Protocol):
    """A person whose identity only the vault can open: a row of `customers`, or the part of one that was read."""

    @property
    def owner(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def nonce(self) -> bytes: ...
    @property
    def sealed(self) -> bytes: ...


def open_identity(vault: Vault, customer: Sealed) -> Identity:
    value = SealedValue(customer.key_id, customer.nonce, customer.sealed)
    return Identity(*json.loads(vault.open(customer.owner, KIND, value)))


def get_customer(session: Session, vault: Vault, customer_id: str, *, for_change: bool = False) -> Customer:
    """Raises `customer_not_found`. `for_change` makes changes to one person take turns."""
    query = select(Customer).where(Customer.lookup == lookup(vault, customer_id))
    query = query.with_for_update() if for_change else query.options(*_WHOLE)
    customer = session.scalar(query)
    if customer is None:
        raise Refused("customer_not_found")
    return customer


def list_customers(session: Session, after: int, limit: int) -> list[Customer]:
    """In order of enrolment, beginning behind the internal id `after`."""
    query = select(Customer).where(Customer.id > after).order_by(Customer.id).limit(limit).options(*_WHOLE)
    return list(session.scalars(query))


def get_specimen(customer: Customer, specimen_id: str) -> Specimen:
    """Raises `specimen_not_found`."""
    for specimen in customer.specimens:
        if specimen.specimen_id == specimen_id:
            return specimen
    raise Refused("specimen_not_found")


def account_ids(customer: Customer) -> list[str]:
    return sorted(entry.account.account_id for entry in customer.signatory_of)


def owners(customers: Iterable[Sealed | None]) -> set[str]:
    return {customer.owner for customer in customers if customer is not None}


_WHOLE = (
    selectinload(Customer.specimens),
    selectinload(Customer.signatory_of).joinedload(Signatory.account),
)
