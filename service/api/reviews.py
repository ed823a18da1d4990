from datetime import datetime, timedelta
from typing import Annotated, Self

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field, model_validator

from service import confirmed, metrics, review, review_figures
from service.api.customers import SpecimenOut, show_specimen
from service.api.endpoint import caller, endpoint, names, product, session
from service.api.verifications import Rate, VerificationOut, show_verification
from service.enrolment import Validity
from service.fields import Dates, Day, Line, Strict, Text
from service.review import Decision
from service.review_figures import BANDS, Figure, Period

blueprint = APIBlueprint("reviews", __name__, tag="Reviews")

NOT_MINE = ("verification_not_found", "verification_closed", "verification_claimed", "verification_not_claimed")


class NewDecision(Strict):
    decision: Decision = Field(description="What the person says; `outcome` stays what the machine said.")
    note: Annotated[Text, Field(min_length=1, max_length=2000)] = Field(
        description="Why. Kept sealed, and only as long as everybody whom the verification named is enrolled."
    )


class ConfirmedSignature(Dates):
    position: Annotated[int, Field(ge=0)] = Field(0, description="Which of `signatures`, counted from 0.")


class FigureOut(BaseModel):
    decided: int
    accepted: int
    share_accepted: Rate = Field(description="Share that people accepted, with its 95 % interval (Wilson).")
    mean_score: float | None = Field(description="What the model said of the same; null where it gave no score.")


class BandFigure(FigureOut):
    low: float | None = Field(description="Of the score; null for referrals without one.")
    high: float | None


class ReasonFigure(FigureOut):
    reason: str


class WaitingOut(BaseModel):
    open: int
    claimed: int
    oldest_at: datetime | None
    oldest_seconds: float


class FiguresOut(BaseModel):
    every: FigureOut | None
    bands: list[BandFigure] = Field(description="By tenths of the score; a band without decisions is left out.")
    reasons: list[ReasonFigure] = Field(description="A referral counts under each of its reasons.")
    median_seconds_to_decision: float | None = Field(description="From the answer to the decision.")
    waiting: WaitingOut = Field(description="Referrals that nobody has decided yet, now.")


class FigureQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    decided_from: Day | None = Field(None, description="First day of decisions that count, in UTC.")
    decided_to: Day | None = Field(None, description="Last day of decisions that count, in UTC.")
    model_version: Annotated[Line, Field(max_length=64)] | None = Field(
        None, description="Only what this version judged; thresholds belong to a version."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.decided_from and self.decided_to and self.decided_to < self.decided_from:
            raise ValueError("decided_to lies before decided_from")
        return self


@endpoint(
    blueprint,
    "POST",
    "/verifications/<verification_id>/claim",
    scope="review",
    returns=VerificationOut,
    refusals=("verification_not_found", "verification_closed", "verification_claimed"),
)
def claim(verification_id: str) -> VerificationOut:
    """Claim a referred verification, so that nobody else decides it meanwhile

    A claim ends after some time, 30 minutes unless a setting says otherwise; claiming again begins that time anew.
    """
    lasting = timedelta(minutes=product().settings.claim_minutes)
    return show_verification(review.claim(session(), verification_id, lasting, actor=caller().key_id))


@endpoint(
    blueprint,
    "DELETE",
    "/verifications/<verification_id>/claim",
    scope="review",
    returns=VerificationOut,
    refusals=NOT_MINE,
)
def give_back(verification_id: str) -> VerificationOut:
    """Give a claimed verification back to the queue"""
    return show_verification(review.give_back(session(), verification_id, actor=caller().key_id))


@endpoint(
    blueprint,
    "POST",
    "/verifications/<verification_id>/decision",
    scope="review",
    body=NewDecision,
    returns=VerificationOut,
    refusals=NOT_MINE,
)
def decide(verification_id: str, body: NewDecision) -> VerificationOut:
    """Decide a verification that this API key has claimed"""
    decided = review.decide(
        session(), product().vault, verification_id, body.decision, body.note, actor=caller().key_id
    )
    metrics.decisions.labels(body.decision).inc()
    return show_verification(decided)


@endpoint(
    blueprint,
    "POST",
    "/verifications/<verification_id>/specimens",
    scope="enrol",
    body=ConfirmedSignature,
    returns=SpecimenOut,
    status=201,
    refusals=(
        "verification_not_found",
        "evidence_not_found",
        "customer_not_found",
        "verification_not_accepted",
        "signature_not_assigned",
        "signature_enrolled",
        "no_ink",
        "tower_unavailable",
    ),
)
def enrol_confirmed(verification_id: str, body: ConfirmedSignature) -> SpecimenOut:
    """Enrol a signature that a person has accepted as a further specimen of its customer

    It may stay `pending`, like any specimen that does not look like the person's others.
    """
    validity = Validity(body.valid_from, body.valid_to)
    specimen = confirmed.enrol_confirmed(
        session(), product(), verification_id, body.position, validity, actor=caller().key_id
    )
    names(specimen.customer.owner, specimen.specimen_id)
    return show_specimen(specimen)


@endpoint(blueprint, "GET", "/reviews/figures", scope="review", query=FigureQuery, returns=FiguresOut)
def get_figures(query: FigureQuery) -> FiguresOut:
    """Count where people and the model agree, by score and by reason"""
    period = Period(query.decided_from, query.decided_to)
    figures = review_figures.read_figures(session(), period, query.model_version)
    waiting = figures.waiting
    return FiguresOut(
        every=FigureOut(**_show(figures.every)) if figures.every else None,
        bands=[BandFigure(**_edges(band), **_show(figure)) for band, figure in figures.bands.items()],
        reasons=[ReasonFigure(reason=reason, **_show(figure)) for reason, figure in figures.reasons.items()],
        median_seconds_to_decision=figures.median_seconds,
        waiting=WaitingOut(**waiting._asdict(), oldest_seconds=waiting.oldest_seconds),
    )


def _show(figure: Figure) -> dict[str, object]:
    return figure._asdict() | {"share_accepted": Rate(**figure.share_accepted._asdict())}


def _edges(band: int | None) -> dict[str, float | None]:
    return {"low": None, "high": None} if band is None else {"low": band / BANDS, "high": (band + 1) / BANDS}
