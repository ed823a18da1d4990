"""Accounts and who may sign on them. Nothing is overwritten: a change supersedes rows and writes new ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, joinedload

from service.customers import lookup
from service.database import conflict_insert
from service.errors import Refused
from service.events import record
from service.mandate import Rule, Signer, write_rules
from service.mandate_check import check
from service.models import Account, Customer, Mandate, Signatory
from service.vault import Vault

ANYONE: Sequence[Rule] = ()
"""The mandate "one signature of any signatory": no rules."""

DEFAULT_GROUP = "A"


@dataclass(frozen=True)
class Place:
    """A person's place on an account."""

    customer_id: str
    group: str = DEFAULT_GROUP
    valid_from: date | None = None
    valid_to: date | None = None
    limit: Decimal | None = None


@dataclass(frozen=True)
class AccountState:
    account: Account
    mandate: Mandate
    signatories: Sequence[Signatory]


def put_account(
    session: Session,
    vault: Vault,
    account_id: str,
    places: Sequence[Place],
    rules: Sequence[Rule] = ANYONE,
    *,
    always_refer: bool,
    instructions: str | None,
    actor: str,
) -> tuple[AccountState, bool]:
    """Replaces who may sign and who must; whether the account is new. Raises `unknown_customer`, `mandate_empty` or
    `mandate_contradictory`."""
    check(rules, [Signer(None, place.group, place.limit, place.valid_from, place.valid_to) for place in places])
    customers = _find_customers(session, vault, [place.customer_id for place in places])
    account, is_new = _get_or_make(session, account_id)
    now = datetime.now(UTC)
    _supersede(session, account, now)
    session.add(
        Mandate(
            account_id=account.id,
            rules=write_rules(rules),
            always_refer=always_refer,
            instructions=instructions,
            recorded_at=now,
        )
    )
    for place in places:
        session.add(_signatory(account, customers[place.customer_id], place, now))
    session.flush()
    record(session, "mandate_changed", actor=actor, subject=account_id, signatories=len(places))
    return _state(session, account), is_new


def add_signatory(session: Session, account_id: str, customer: Customer, place: Place) -> None:
    """Puts a customer on an account, which is made where it is missing with the mandate "one of anyone"."""
    account, is_new = _get_or_make(session, account_id)
    now = datetime.now(UTC)
    if is_new:
        session.add(Mandate(account_id=account.id, rules=write_rules(ANYONE), always_refer=False, recorded_at=now))
    session.add(_signatory(account, customer, place, now))
    session.flush()


def get_account(session: Session, account_id: str) -> AccountState:
    """Raises `account_not_found`."""
    account = session.scalar(select(Account).where(Account.account_id == account_id))
    if account is None:
        raise Refused("account_not_found")
    return _state(session, account)


def list_instructions(session: Session, account_ids: Collection[str]) -> dict[str, str]:
    """What the mandates in force tell reviewers, by account; accounts without instructions are left out."""
    rows = session.execute(
        select(Account.account_id, Mandate.instructions)
        .join(Mandate, Mandate.account_id == Account.id)
        .where(
            Account.account_id.in_(account_ids),
            Mandate.superseded_at.is_(None),
            Mandate.instructions.is_not(None),
        )
    )
    return {account_id: instructions for account_id, instructions in rows if instructions}


def list_accounts(session: Session, after: int, limit: int) -> list[AccountState]:
    accounts = session.scalars(select(Account).where(Account.id > after).order_by(Account.id).limit(limit))
    return [_state(session, account) for account in accounts]


def delete_account(session: Session, account_id: str, *, actor: str) -> None:
    """Deletes the account with its mandates; its customers and past verifications stay.

    Raises `account_not_found`.
    """
    # Of two deletions at once one finds it, so looking first would not be enough.
    if session.scalar(delete(Account).where(Account.account_id == account_id).returning(Account.id)) is None:
        raise Refused("account_not_found")
    record(session, "account_deleted", actor=actor, subject=account_id)


def _state(session: Session, account: Account) -> AccountState:
    mandate = session.scalars(
        select(Mandate).where(Mandate.account_id == account.id, Mandate.superseded_at.is_(None))
    ).one()
    signatories = session.scalars(
        select(Signatory)
        .where(
            Signatory.account_id == account.id,
            Signatory.superseded_at.is_(None),
            Signatory.customer_id.is_not(None),
        )
        .order_by(Signatory.id)
        .options(joinedload(Signatory.customer))
    ).all()
    return AccountState(account, mandate, signatories)


def _find_customers(session: Session, vault: Vault, customer_ids: Sequence[str]) -> dict[str, Customer]:
    hashes = {lookup(vault, customer_id): customer_id for customer_id in customer_ids}
    # Locked, so that none of them is erased between here and the commit.
    found = session.scalars(
        select(Customer).where(Customer.lookup.in_(hashes)).order_by(Customer.id).with_for_update(read=True)
    )
    customers = {hashes[customer.lookup]: customer for customer in found}
    unknown = [index for index, customer_id in enumerate(customer_ids) if customer_id not in customers]
    if unknown:
        raise Refused(
            "unknown_customer",
            errors=[{"field": f"signatories.{index}.customer_id", "problem": "is not enrolled"} for index in unknown],
        )
    return customers


def _get_or_make(session: Session, account_id: str) -> tuple[Account, bool]:
    """Two requests that make the same account at once both get it: the database decides who made it."""
    while True:
        made = session.execute(
            conflict_insert(session, Account)
            .values(account_id=account_id, created_at=datetime.now(UTC))
            .on_conflict_do_nothing(index_elements=["account_id"])
            .returning(Account.id)
        ).one_or_none()
        account = session.scalar(select(Account).where(Account.account_id == account_id).with_for_update())
        if account is not None:  # None: somebody deleted it between the two statements
            return account, made is not None


def _supersede(session: Session, account: Account, now: datetime) -> None:
    for versioned in (Mandate, Signatory):
        session.execute(
            update(versioned)
            .where(versioned.account_id == account.id, versioned.superseded_at.is_(None))
            .values(superseded_at=now)
        )


def _signatory(account: Account, customer: Customer, place: Place, now: datetime) -> Signatory:
    return Signatory(
        account_id=account.id,
        customer_id=customer.id,
        group=place.group,
        valid_from=place.valid_from,
        valid_to=place.valid_to,
        amount_limit=place.limit,
        recorded_at=now,
    )
