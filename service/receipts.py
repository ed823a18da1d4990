"""Receipts: what remains of a leaver. They name nobody, and are signed, so that they prove themselves anywhere."""

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import Refused
from service.models import Receipt
from service.signing import RECEIPT, PublicKeys, Signer, from_text, instant, to_text


def write_receipt(session: Session, signer: Signer, counts: dict[str, int]) -> Receipt:
    receipt = Receipt(
        receipt_id=f"rcp_{secrets.token_hex(12)}", erased_at=datetime.now(UTC), counts=counts, key_id=signer.key_id
    )
    receipt.signature = to_text(signer.sign(RECEIPT, _statement(receipt)))
    session.add(receipt)
    session.flush()
    return receipt


def get_receipt(session: Session, receipt_id: str) -> Receipt:
    """Raises `receipt_not_found`."""
    found = session.scalar(select(Receipt).where(Receipt.receipt_id == receipt_id))
    if found is None:
        raise Refused("receipt_not_found")
    return found


def show(receipt: Receipt) -> dict[str, Any]:
    """As it is handed out: all of it but the signature is what the signature signs."""
    return _statement(receipt) | {"signature": receipt.signature}


def is_genuine(shown: dict[str, Any], keys: PublicKeys) -> bool:
    """Whether a receipt is as one of these keys signed it. False without a signature, and for anything else."""
    statement = dict(shown)
    try:
        return keys.proves(RECEIPT, statement, from_text(statement.pop("signature", None)))
    except ValueError:
        return False


def _statement(receipt: Receipt) -> dict[str, Any]:
    return {
        "receipt_id": receipt.receipt_id,
        "erased_at": instant(receipt.erased_at),
        "counts": receipt.counts,
        "key_id": receipt.key_id,
    }
