"""Verification 1:1: does a questioned signature belong to someone who may sign on this account?

The account's templates are read from the database, not from the index: they are few, and always current.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from embeddings.bundle import Thresholds
from embeddings.encoder import Reading
from embeddings.head import distances
from service.database import direct_insert
from service.dates import is_valid, today
from service.errors import Refused
from service.events import record
from service.models import (
    Account,
    Base,
    Candidate,
    Customer,
    FoundSignature,
    Mandate,
    Signatory,
    Specimen,
    Template,
    Verification,
)
from service.product import Product
from service.templates import open_vector

Found = Row[*tuple[Any, ...]]


@dataclass(frozen=True)
class Question:
    """A questioned signature, read, and what the caller says of it."""

    reading: Reading
    box: tuple[int, int, int, int]
    signed_on: date = field(default_factory=today)
    amount: Decimal | None = None
    currency: str | None = None
    reference: str | None = None


class Best(NamedTuple):
    """The best score of one signatory and the specimen that gave it."""

    customer: Customer
    specimen: Specimen
    score: float


class Verdict(NamedTuple):
    outcome: str
    reasons: list[str]


def verify_signature(
    session: Session, product: Product, account_id: str, question: Question, *, actor: str
) -> Verification:
    """Judges one signature against an account and keeps the answer.

    Raises `account_not_found`, and `account_not_enrolled` where no signatory has a specimen that counts.
    """
    started = perf_counter()
    enrolled = _enrolled_on(session, account_id, product.encoder.model_version)
    usable, obstacle = _usable_on(enrolled, question.signed_on)
    ranking = _rank(product, usable, question.reading)
    cautions = _cautions(question, obstacle, always_refer=enrolled[0].always_refer)
    verdict = decide(ranking[0].score if ranking else None, product.encoder.bundle.thresholds, cautions)
    verification = _new_verification(product, account_id, question, verdict, ranking)
    match_ms = (perf_counter() - started) * 1000
    steps = {**question.reading.timings_ms, "locate": 0.0, "match": match_ms}
    verification.timings_ms = {**steps, "total": sum(steps.values())}
    _keep(session, verification)
    record(
        session,
        "signature_verified",
        actor=actor,
        subject=verification.verification_id,
        outcome=verdict.outcome,
    )
    return verification


def decide(score: float | None, thresholds: Thresholds, cautions: Sequence[str]) -> Verdict:
    """The policy. A caution never turns into an accept, and never hides a reject."""
    if score is None:
        return Verdict("refer", list(cautions))
    if score < thresholds.reject:
        return Verdict("reject", ["below_reject", *cautions])
    if score < thresholds.accept:
        return Verdict("refer", ["below_accept", *cautions])
    return Verdict("refer", list(cautions)) if cautions else Verdict("accept", ["mandate_satisfied"])


def get_verification(session: Session, verification_id: str) -> Verification:
    """Raises `verification_not_found`."""
    found = session.scalar(select(Verification).where(Verification.verification_id == verification_id))
    if found is None:
        raise Refused("verification_not_found")
    return found


def list_verifications(session: Session, before: int | None, limit: int, **filters: str | None) -> list[Verification]:
    """Newest first, beginning before the internal id `before`; filters are outcome, state and account_id."""
    query = select(Verification).order_by(Verification.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Verification.id < before)
    return list(session.scalars(query.filter_by(**{name: value for name, value in filters.items() if value})))


def _enrolled_on(session: Session, account_id: str, model_version: str) -> Sequence[Found]:
    """Every template that counts, with its specimen, its signatory and the mandate.

    Customers and specimens stay locked against erasure until the answer is committed: nobody is matched after being
    removed, and the answer never refers to a specimen that went in between.
    """
    found = session.execute(_ENROLLED, {"account_id": account_id, "model_version": model_version}).all()
    if not found:
        is_account = session.scalar(select(Account.id).where(Account.account_id == account_id)) is not None
        raise Refused("account_not_enrolled" if is_account else "account_not_found")
    return found


# Built once: putting this statement together costs more than running it.
_ENROLLED = (
    select(
        Mandate.always_refer,
        Signatory.valid_from,
        Signatory.valid_to,
        Customer,
        Specimen,
        Template.key_id,
        Template.nonce,
        Template.sealed,
    )
    .select_from(Account)
    .join(Mandate, Mandate.account_id == Account.id)
    .join(Signatory, Signatory.account_id == Account.id)
    .join(Customer, Customer.id == Signatory.customer_id)
    .join(Specimen, Specimen.customer_id == Customer.id)
    .join(Template, Template.specimen_id == Specimen.id)
    .where(
        Account.account_id == bindparam("account_id"),
        Mandate.superseded_at.is_(None),
        Signatory.superseded_at.is_(None),
        Specimen.status == "active",
        Template.model_version == bindparam("model_version"),
    )
    .with_for_update(read=True, key_share=True, of=(Customer, Specimen))
)


def _usable_on(enrolled: Sequence[Found], day: date) -> tuple[list[Found], str | None]:
    """The templates that count on a day; if there are none, why."""
    allowed = [row for row in enrolled if is_valid(row, day)]  # the row's own dates are the signatory's
    if not allowed:
        return [], "signatory_not_allowed"
    usable = [row for row in allowed if is_valid(row.Specimen, day)]
    return usable, None if usable else "specimen_expired"


def _rank(product: Product, usable: Sequence[Found], reading: Reading) -> list[Best]:
    """Each signatory's best score, best first."""
    if not usable:
        return []
    vectors = np.stack([open_vector(product.vault, row.Customer.owner, row) for row in usable])
    best: dict[int, Best] = {}
    for row, distance in zip(usable, distances(vectors, reading.vector), strict=True):
        score = product.encoder.bundle.head.score(float(distance))
        if row.Customer.id not in best or score > best[row.Customer.id].score:
            best[row.Customer.id] = Best(row.Customer, row.Specimen, score)
    return sorted(best.values(), key=lambda entry: -entry.score)


def _cautions(question: Question, obstacle: str | None, *, always_refer: bool) -> list[str]:
    cautions = [obstacle] if obstacle else []
    if not question.reading.quality.ok:
        cautions.append("poor_quality")
    if always_refer:
        cautions.append("always_refer")
    return cautions


def _new_verification(
    product: Product, account_id: str, question: Question, verdict: Verdict, ranking: Sequence[Best]
) -> Verification:
    bundle = product.encoder.bundle
    best = ranking[0] if ranking else None
    found = FoundSignature(position=0, box=list(question.box), **(_match(best) if best else {}))
    return Verification(
        verification_id=f"ver_{secrets.token_hex(12)}",
        account_id=account_id,
        kind="signature",
        state="open" if verdict.outcome == "refer" else "closed",
        outcome=verdict.outcome,
        score=best.score if best else None,
        accept_at=bundle.thresholds.accept,
        reject_at=bundle.thresholds.reject,
        reasons=verdict.reasons,
        error_rates=asdict(bundle.error_rates["reject" if verdict.outcome == "reject" else "accept"]),
        model_version=bundle.model_version,
        signed_on=question.signed_on,
        amount=question.amount,
        currency=question.currency,
        reference=question.reference,
        created_at=datetime.now(UTC),
        signatures=[found],
        candidates=[Candidate(**_match(entry)) for entry in ranking],
    )


def _match(best: Best) -> dict[str, Any]:
    return {
        "customer": best.customer,
        "customer_id": best.customer.id,
        "specimen": best.specimen,
        "specimen_id": best.specimen.id,
        "score": best.score,
    }


def _keep(session: Session, verification: Verification) -> None:
    """Inserts the rows themselves. This is the busiest write of all, and a unit of work costs more than its rows;
    the object stays outside of the session and only shows what was kept."""
    key = session.scalar(_INSERT_VERIFICATION, _columns(verification))
    for statement, matches in (
        (_INSERT_SIGNATURE, verification.signatures),
        (_INSERT_CANDIDATE, verification.candidates),
    ):
        if matches:
            session.execute(statement, [_columns(match) | {"verification_id": key} for match in matches])


def _columns(row: Base) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name in row.__table__.columns}


_INSERT_VERIFICATION = direct_insert(Verification).returning(Verification.id)
_INSERT_SIGNATURE = direct_insert(FoundSignature)
_INSERT_CANDIDATE = direct_insert(Candidate)
