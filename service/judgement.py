"""Judging 1:1: does a questioned signature belong to someone who may sign on this account?

The account's templates are read from the database, not from the index: they are few, and always current. Nothing is
written here, so no lock is held while it runs.
"""

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, String, bindparam, func, select

from embeddings.bundle import Bundle, Thresholds
from embeddings.encoder import Encoder, Reading
from embeddings.head import distances
from service.active_model import active_version
from service.dates import covers
from service.errors import Refused
from service.models import Account, Customer, Mandate, Signatory, Specimen, Template
from service.product import Product
from service.question import Question
from service.templates import open_vector
from service.vault import Vault

NEVER = math.nextafter(1, 2)  # no score reaches it

Found = Row[*tuple[Any, ...]]


class Person(NamedTuple):
    """A customer as far as an answer needs one: the row's id, the owner and the sealed identity."""

    id: int
    owner: str
    key_id: str
    nonce: bytes
    sealed: bytes


class Reference(NamedTuple):
    """A specimen as far as an answer needs one."""

    id: int
    specimen_id: str


class Best(NamedTuple):
    """The score of one signatory and the specimen that is nearest."""

    customer: Person
    specimen: Reference
    score: float


class Verdict(NamedTuple):
    outcome: str
    reasons: list[str]


class Chances(NamedTuple):
    """How often a forger may try his luck at once: with so many references of so many people."""

    references: int
    people: int


class Terms(NamedTuple):
    """What a verification is judged by."""

    thresholds: Thresholds
    chances: Chances


class Signature(NamedTuple):
    """A signature on the questioned image and the signatory whose it looks most like, if there is any."""

    box: list[int]
    customer: Person | None = None
    specimen: Reference | None = None
    score: float | None = None


@dataclass(frozen=True)
class Judgement:
    """The answer to one question, with the names and types of the row of `verifications` that will keep it."""

    verification_id: str
    account_id: str
    kind: str
    state: str
    outcome: str
    score: float | None
    accept_at: float
    reject_at: float
    reasons: list[str]
    error_rates: dict[str, Any]
    model_version: str
    signed_on: date
    amount: Decimal | None
    currency: str | None
    reference: str | None
    timings_ms: dict[str, float]
    created_at: datetime
    signatures: list[Signature]
    candidates: list[Best]


def judge(
    connection: Connection, product: Product, account_id: str, question: Question, version: str | None = None
) -> Judgement:
    """By the active model version, or by `version`. Raises `account_not_found`, `account_not_enrolled` where no
    signatory has a specimen that counts, and `Overtaken` where the image was read under another version."""
    started = perf_counter()
    enrolled = _enrolled_on(connection, account_id, version, product.models.default_version)
    product.models.check(enrolled[0].model_version, question.model_version)
    encoder = product.models.encoder_of(question.model_version)
    asked = question.asked
    usable, obstacle = _usable_on(enrolled, asked.signed_on)
    ranking = _rank(product.vault, encoder, usable, question.seen[0].reading)
    cautions = _cautions(question, obstacle, always_refer=enrolled[0].always_refer)
    target_far = product.settings.target_far if asked.target_far is None else asked.target_far
    terms = _terms(encoder.bundle, target_far, _chances(usable), asked=asked.target_far is not None)
    verdict = decide(ranking[0].score if ranking else None, terms.thresholds, cautions)
    steps = {**question.timings_ms, "match": (perf_counter() - started) * 1000}
    timings = {**steps, "total": sum(steps.values())}
    return _answer(encoder.bundle, account_id, question, terms, verdict, ranking, timings)


def decide(score: float | None, thresholds: Thresholds, cautions: Sequence[str]) -> Verdict:
    """The policy. A caution never turns into an accept, and never hides a reject. What is no number is rejected."""
    if score is None:
        return Verdict("refer", list(cautions))
    if not score >= thresholds.reject:
        return Verdict("reject", ["below_reject", *cautions])
    if not score >= thresholds.accept:
        return Verdict("refer", ["below_accept", *cautions])
    return Verdict("refer", list(cautions)) if cautions else Verdict("accept", ["mandate_satisfied"])


def _enrolled_on(
    connection: Connection, account_id: str, version: str | None, default_version: str
) -> Sequence[Found]:
    """Every template that counts, with its specimen, its signatory and the mandate. Which version is active is seen
    in the same moment as its templates, by the same statement."""
    values = {"account_id": account_id, "version": version, "default_version": default_version}
    found = connection.execute(_ENROLLED, values).all()
    if not found:
        is_account = connection.scalar(select(Account.id).where(Account.account_id == account_id)) is not None
        raise Refused("account_not_enrolled" if is_account else "account_not_found")
    return found


# Built once: putting this statement together costs more than running it. Plain columns: entities cost half a
# millisecond more.
_ENROLLED = (
    select(
        Mandate.always_refer,
        Signatory.valid_from,
        Signatory.valid_to,
        Customer.id.label("customer"),
        Customer.owner,
        Customer.key_id.label("identity_key_id"),
        Customer.nonce.label("identity_nonce"),
        Customer.sealed.label("identity_sealed"),
        Specimen.id.label("specimen"),
        Specimen.specimen_id,
        Specimen.valid_from.label("specimen_from"),
        Specimen.valid_to.label("specimen_to"),
        Template.model_version,
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
        Template.model_version
        == func.coalesce(
            bindparam("version", type_=String), active_version(bindparam("default_version", type_=String))
        ),
    )
)


def _usable_on(enrolled: Sequence[Found], day: date) -> tuple[list[Found], str | None]:
    """The templates that count on a day; if there are none, why."""
    allowed = [row for row in enrolled if covers(row.valid_from, row.valid_to, day)]  # the signatory's own dates
    if not allowed:
        return [], "signatory_not_allowed"
    usable = [row for row in allowed if covers(row.specimen_from, row.specimen_to, day)]
    return usable, None if usable else "specimen_expired"


def _rank(vault: Vault, encoder: Encoder, usable: Sequence[Found], reading: Reading) -> list[Best]:
    """Each signatory's score and the specimen that is nearest, best first."""
    by_person: dict[int, list[Found]] = {}
    for row in usable:
        by_person.setdefault(row.customer, []).append(row)
    scored = [_best(vault, encoder, rows, reading) for rows in by_person.values()]
    return sorted(scored, key=lambda best: -best.score)


def _best(vault: Vault, encoder: Encoder, rows: Sequence[Found], reading: Reading) -> Best:
    vectors = np.stack([open_vector(vault, row.owner, row) for row in rows])
    row = rows[int(distances(vectors, reading.vector).argmin())]
    return Best(
        Person(row.customer, row.owner, row.identity_key_id, row.identity_nonce, row.identity_sealed),
        Reference(row.specimen, row.specimen_id),
        encoder.score(vectors, reading.vector),
    )


def _chances(usable: Sequence[Found]) -> Chances:
    """Whoever has most specimens decides for all: more references let more through."""
    specimens = Counter(customer for customer, _ in {(row.customer, row.specimen) for row in usable})
    return Chances(max(specimens.values(), default=1), max(len(specimens), 1))


def _terms(bundle: Bundle, target_far: float | None, chances: Chances, *, asked: bool) -> Terms:
    """The bundle's thresholds, or an accept threshold for the share of forgeries that may pass. Where such a share
    was never measured, a request for it is refused with `target_far_unavailable`, and a setting accepts nothing."""
    if target_far is None:
        return Terms(bundle.thresholds, chances)
    accept = bundle.error_rates.threshold_for(target_far, *chances)
    if accept is None and asked:
        raise Refused("target_far_unavailable")
    accept = NEVER if accept is None else max(accept, bundle.thresholds.reject)
    return Terms(Thresholds(accept, bundle.thresholds.reject), chances)


def _cautions(question: Question, obstacle: str | None, *, always_refer: bool) -> list[str]:
    cautions = [obstacle] if obstacle else []
    if not all(seen.reading.quality.ok for seen in question.seen):
        cautions.append("poor_quality")
    if always_refer:
        cautions.append("always_refer")
    return cautions


def _answer(
    bundle: Bundle,
    account_id: str,
    question: Question,
    terms: Terms,
    verdict: Verdict,
    ranking: list[Best],
    timings_ms: dict[str, float],
) -> Judgement:
    best = ranking[0] if ranking else None
    accept, reject = terms.thresholds.accept, terms.thresholds.reject
    rates = bundle.error_rates.at(reject if verdict.outcome == "reject" else accept, *terms.chances)
    return Judgement(
        verification_id=f"ver_{secrets.token_hex(12)}",
        account_id=account_id,
        kind=question.asked.kind,
        state="open" if verdict.outcome == "refer" else "closed",
        outcome=verdict.outcome,
        score=best.score if best else None,
        accept_at=accept,
        reject_at=reject,
        reasons=verdict.reasons,
        error_rates=asdict(rates),
        model_version=bundle.model_version,
        signed_on=question.asked.signed_on,
        amount=question.asked.amount,
        currency=question.asked.currency,
        reference=question.asked.reference,
        timings_ms=timings_ms,
        created_at=datetime.now(UTC),
        signatures=[Signature(list(question.seen[0].box), *(best or ()))],
        candidates=ranking,
    )
