"""Removal: leavers go, with everything kept of them, in one transaction that ends in a receipt.

No mandate holds a leaver back: a rule that the removal makes unreachable refers cheques, it does not keep the person.
"""

import secrets
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Delete, Select, Update, delete, func, select, update
from sqlalchemy.orm import Session

from service import idempotency, review, templates
from service.customers import get_customer, get_specimen
from service.events import record
from service.models import (
    Account,
    Candidate,
    Customer,
    FoundSignature,
    QuestionedImage,
    Receipt,
    Signatory,
    Specimen,
    Verification,
)
from service.receipts import write_receipt
from service.vault import Vault


def remove_customer(session: Session, vault: Vault, customer_id: str, *, actor: str) -> Receipt:
    """Raises `customer_not_found`."""
    customer = get_customer(session, vault, customer_id, for_change=True)
    specimens = customer.specimens
    notes = review.forget_notes(session, _naming(customer))  # as long as they do
    counts = {
        "customers": 1,
        "specimens": len(specimens),
        "images": len(specimens),
        "templates": templates.remove(session, specimens),
        **_forget_evidence(session, customer),
        "verifications": _forget_matches(session, customer),
        "notes": notes,
        "signatory_entries": _take_off_accounts(session, customer),
        "stored_answers": idempotency.forget(session, customer.owner),
    }
    session.execute(delete(Specimen).where(Specimen.customer_id == customer.id))
    session.execute(delete(Customer).where(Customer.id == customer.id))
    # The event names the receipt, not the person: the random owner id has no meaning left either way.
    receipt = write_receipt(session, vault.signer, counts)
    record(session, "customer_removed", actor=actor, subject=receipt.receipt_id)
    return receipt


def remove_specimen(session: Session, vault: Vault, customer_id: str, specimen_id: str, *, actor: str) -> Receipt:
    """Raises `customer_not_found` or `specimen_not_found`. A customer may be left without specimens."""
    customer = get_customer(session, vault, customer_id, for_change=True)
    specimen = get_specimen(customer, specimen_id)
    counts = {"specimens": 1, "images": 1, "templates": templates.remove(session, [specimen])}
    session.execute(delete(Specimen).where(Specimen.id == specimen.id))
    counts["stored_answers"] = idempotency.forget(session, specimen_id)
    receipt = write_receipt(session, vault.signer, counts)
    record(session, "specimen_removed", actor=actor, subject=receipt.receipt_id)
    return receipt


def _forget_evidence(session: Session, customer: Customer) -> dict[str, int]:
    """What was kept of questioned signatures goes wherever the person was compared, whoever's they were taken for.
    So it does where nobody was compared, as with expired specimens, and the person could have signed."""
    accounts = select(Account.account_id).join(Signatory).where(Signatory.customer_id == customer.id)
    nobody = ~select(Candidate.id).where(Candidate.verification_id == Verification.id).exists()
    unnamed = select(Verification.id).where(Verification.account_id.in_(accounts), nobody)
    about = _naming(customer).union(unnamed)
    kept = FoundSignature.sealed.is_not(None)
    emptied = update(FoundSignature).where(FoundSignature.verification_id.in_(about), kept)
    return {
        "questioned_images": _count(
            session, delete(QuestionedImage).where(QuestionedImage.verification_id.in_(about))
        ),
        "questioned_signatures": _count(session, emptied.values(key_id=None, nonce=None, sealed=None)),
    }


def _naming(customer: Customer) -> Select[Any]:
    """The verifications (internal ids) that name a person."""
    candidates, signatures = (
        select(match.verification_id).where(match.customer_id == customer.id) for match in (Candidate, FoundSignature)
    )
    return select(candidates.union(signatures).subquery().c.verification_id)


def _forget_matches(session: Session, customer: Customer) -> int:
    """Past answers stay, without the person; in how many of them the person was."""
    verifications = session.scalar(select(func.count()).select_from(_naming(customer).subquery())) or 0
    for match in (Candidate, FoundSignature):
        session.execute(
            update(match).where(match.customer_id == customer.id).values(customer_id=None, specimen_id=None)
        )
    return verifications


def _take_off_accounts(session: Session, customer: Customer) -> int:
    """Every version of every mandate keeps its structure: the place stays, under a random pseudonym."""
    now = datetime.now(UTC)
    mine = Signatory.customer_id == customer.id
    session.execute(update(Signatory).where(mine, Signatory.superseded_at.is_(None)).values(superseded_at=now))
    return _count(session, update(Signatory).where(mine).values(customer_id=None, pseudonym=secrets.token_hex(16)))


def _count(session: Session, statement: Update | Delete) -> int:
    return cast("CursorResult[object]", session.execute(statement)).rowcount
