from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Literal

from apiflask import APIBlueprint
from flask import Response, after_this_request
from pydantic import BaseModel, Field

from service import accounts, evidence, metrics, misses, question, review, verification
from service.api.body import Image
from service.api.endpoint import PNG, caller, counted, endpoint, names, product, session
from service.api.paging import Page, next_cursor, position
from service.comparing import Best
from service.customers import open_identity, owners
from service.fields import Line
from service.judgement import Judgement, Signature
from service.models import Match, Verification
from service.question import Asked
from service.question_fields import QuestionFields
from service.shadowing import score_in_shadow

blueprint = APIBlueprint("verifications", __name__, tag="Verifications")

Shown = Match | Signature | Best


class NewVerification(QuestionFields):
    image: Image = Field(description="The questioned signature.")


class Thresholds(BaseModel):
    accept: float
    reject: float


class Rate(BaseModel):
    value: float
    low: float
    high: float


class ErrorRates(BaseModel):
    skilled_far: Rate
    random_far: Rate
    frr: Rate


class SignatureOut(BaseModel):
    box: list[int]
    score: float | None
    customer_id: str | None
    specimen_id: str | None


class CandidateOut(BaseModel):
    customer_id: str | None
    specimen_id: str | None
    score: float | None


class ReviewOut(BaseModel):
    claimed_by: str = Field(description="Id of an API key.")
    claimed_at: datetime
    claimed_until: datetime | None = Field(description="Then another may claim it; null once it is decided.")
    decision: str | None
    decided_at: datetime | None
    note: str | None = Field(description="Null also where somebody whom the verification named is erased.")


class VerificationOut(BaseModel):
    verification_id: str
    account_id: str
    kind: str
    state: str
    outcome: str
    score: float | None
    thresholds: Thresholds
    reasons: list[str]
    signatures: list[SignatureOut]
    candidates: list[CandidateOut] = Field(description="Only for callers with the scope `review`.")
    review: ReviewOut | None = Field(description="What a person made of it; only for callers with `review`.")
    instructions: str | None = Field(
        description="The account's, while a decision is awaited; only for callers with `review`."
    )
    error_rates: ErrorRates
    model_version: str
    signed_on: date
    amount: str | None
    currency: str | None
    reference: str | None
    created_at: datetime
    timings_ms: dict[str, float]


class VerificationPage(BaseModel):
    items: list[VerificationOut]
    next_cursor: str | None


class Filter(Page):
    outcome: Literal["accept", "refer", "reject"] | None = None
    state: Literal["open", "claimed", "closed"] | None = None
    account_id: Line | None = Field(None, max_length=128)
    claimed_by: Literal["me"] | None = Field(None, description="What this API key has claimed or decided.")
    order: Literal["newest", "oldest"] = Field("newest", description="A queue is worked off from the oldest.")


@endpoint(
    blueprint,
    "POST",
    "/accounts/<account_id>/verifications",
    scope="verify",
    body=NewVerification,
    returns=VerificationOut,
    status=201,
    refusals=(
        "account_not_found",
        "account_not_enrolled",
        "target_far_unavailable",
        "account_locked_out",
        "no_ink",
        "tower_unavailable",
    ),
)
def verify(account_id: str, body: NewVerification) -> VerificationOut:
    """Verify a signature against an account"""
    asked = body.asked(body.image)
    misses.require_room(product(), account_id, counted())
    read = question.read(product().encoder, asked)
    made = verification.verify(
        session(), product(), account_id, read, actor=caller().key_id, counts_misses=counted() is not None
    )
    metrics.verifications.labels(made.outcome).inc()
    _score_in_shadow(account_id, asked, made)
    return show_verification(made)


@endpoint(blueprint, "GET", "/verifications", scope="review", query=Filter, returns=VerificationPage)
def list_verifications(query: Filter) -> VerificationPage:
    """List verifications, newest first unless asked otherwise"""
    filters = query.model_dump(include={"outcome", "state", "account_id"})
    found = verification.list_verifications(
        session(),
        position(query),
        query.limit + 1,
        oldest_first=query.order == "oldest",
        claimed_by=caller().key_id if query.claimed_by else None,
        **filters,
    )
    items = show_verifications(found[: query.limit])
    return VerificationPage(items=items, next_cursor=next_cursor(found, query.limit))


@endpoint(
    blueprint,
    "GET",
    "/verifications/<verification_id>",
    scope="review",
    returns=VerificationOut,
    refusals=("verification_not_found",),
)
def get_verification(verification_id: str) -> VerificationOut:
    """Show one verification"""
    return show_verification(verification.get_verification(session(), verification_id))


@endpoint(
    blueprint,
    "GET",
    "/verifications/<verification_id>/evidence.png",
    scope="review",
    returns=PNG,
    refusals=("verification_not_found", "evidence_not_found"),
)
def get_evidence(verification_id: str) -> bytes:
    """Show what was questioned beside what it was compared with, as a picture"""
    return evidence.picture(session(), product(), verification_id)


def _score_in_shadow(account_id: str, asked: Asked, made: Judgement) -> None:
    """Once the answer has gone: the caller does not wait for it."""
    opened = product()
    if opened.models.shadow is None:
        return
    score = partial(score_in_shadow, opened, account_id, asked, made.verification_id)

    @after_this_request
    def score_afterwards(response: Response) -> Response:
        response.call_on_close(score)
        return response


def show_verification(row: Verification | Judgement) -> VerificationOut:
    return show_verifications([row])[0]


def show_verifications(rows: Sequence[Verification | Judgement]) -> list[VerificationOut]:
    reviews = "review" in caller().scopes
    awaited = {row.account_id for row in rows if row.state != "closed"} if reviews else set()
    instructions = accounts.list_instructions(session(), awaited) if awaited else {}
    return [_show(row, instructions, reviews) for row in rows]


def _show(row: Verification | Judgement, instructions: Mapping[str, str], reviews: bool) -> VerificationOut:
    """Scores are rounded for callers who do not review: whoever sees a score exactly can climb it."""
    candidates = row.candidates if reviews else []
    matches: list[Shown] = [*row.signatures, *candidates]
    names(*owners(match.customer for match in matches))
    return VerificationOut(
        verification_id=row.verification_id,
        account_id=row.account_id,
        kind=row.kind,
        state=row.state,
        outcome=row.outcome,
        score=shown_score(row.score, reviews),
        thresholds=Thresholds(accept=row.accept_at, reject=row.reject_at),
        reasons=row.reasons,
        signatures=[SignatureOut(box=found.box, **_shown_match(found, reviews)) for found in row.signatures],
        candidates=[CandidateOut(**_shown_match(match, reviews)) for match in candidates],
        review=_show_review(row) if reviews and isinstance(row, Verification) else None,
        instructions=None if row.state == "closed" else instructions.get(row.account_id),
        error_rates=ErrorRates.model_validate(row.error_rates),
        model_version=row.model_version,
        signed_on=row.signed_on,
        amount=None if row.amount is None else f"{row.amount:.2f}",
        currency=row.currency,
        reference=row.reference,
        created_at=row.created_at,
        timings_ms={step: round(ms, 3) for step, ms in row.timings_ms.items()},
    )


def _show_review(row: Verification) -> ReviewOut | None:
    found = row.review
    if found is None or row.state == "open":
        return None
    ends_at = found.claimed_at + timedelta(minutes=product().settings.claim_minutes)
    return ReviewOut(
        claimed_by=found.claimed_by,
        claimed_at=found.claimed_at,
        claimed_until=ends_at if row.state == "claimed" else None,
        decision=found.decision,
        decided_at=found.decided_at,
        note=review.open_note(product().vault, row),
    )


def _shown_match(match: Shown, reviews: bool) -> dict[str, object]:
    customer, specimen = match.customer, match.specimen
    return {
        "customer_id": open_identity(product().vault, customer).customer_id if customer else None,
        "specimen_id": specimen.specimen_id if specimen else None,
        "score": shown_score(match.score, reviews),
    }


def shown_score(score: float | None, reviews: bool) -> float | None:
    return score if score is None or reviews else round(score, 2)
