"""Shadow scores: what a model version that is not active would have answered, beside what was answered.

They are kept apart and are in no answer. Scoring happens after the answer has gone, in the process that still has the
image: what is kept of it is sealed, and perhaps nothing is.
"""

from typing import NamedTuple

import structlog
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from service.errors import Refused
from service.held_models import Shadow
from service.judgement import Judgement, judge
from service.models import Activation, ShadowResult, Verification
from service.product import Product
from service.question import Asked, read

log = structlog.get_logger()

NOT_ENROLLED = "not_enrolled"
"""Nobody on the account has a template of the shadow's version: they need re-enrolment."""


class Change(NamedTuple):
    """How many verifications with one outcome would have had another, or the same."""

    active: str
    shadow: str
    verifications: int


def score_in_shadow(product: Product, account_id: str, asked: Asked, verification_id: str) -> None:
    """Does nothing while no version scores in the shadow. Whatever goes wrong is logged: the answer is given."""
    shadow = product.models.shadow
    if shadow is None:
        return
    try:
        answer = _judge(product, shadow, account_id, asked, verification_id)
        _keep(product, shadow, verification_id, answer)
    except Exception as problem:
        log.warning("shadow_failed", model_version=shadow.model_version, problem=type(problem).__name__)


def list_changes(session: Session, activation: Activation) -> list[Change]:
    """Outcome by outcome, the most frequent change first."""
    count = func.count()
    rows = session.execute(
        select(Verification.outcome, ShadowResult.outcome, count)
        .join(Verification, Verification.id == ShadowResult.verification_id)
        .where(ShadowResult.activation_id == activation.id)
        .group_by(Verification.outcome, ShadowResult.outcome)
        .order_by(count.desc(), Verification.outcome, ShadowResult.outcome)
    )
    return [Change(*row) for row in rows]


def _judge(product: Product, shadow: Shadow, account_id: str, asked: Asked, verification_id: str) -> Judgement | None:
    question = read(product.models.encoder_of(shadow.model_version), asked)
    with product.database.asking() as connection:
        try:
            return judge(connection, product, account_id, question, shadow.model_version, apart_from=verification_id)
        except Refused as refused:
            if refused.code == "account_not_enrolled":
                return None
            raise


def _keep(product: Product, shadow: Shadow, verification_id: str, judgement: Judgement | None) -> None:
    best = judgement.candidates[0] if judgement and judgement.candidates else None
    with product.database.writing() as session:
        session.execute(
            insert(ShadowResult).values(
                activation_id=shadow.activation,
                verification_id=select(Verification.id)
                .where(Verification.verification_id == verification_id)
                .scalar_subquery(),
                customer_id=best.customer.id if best else None,
                outcome=judgement.outcome if judgement else NOT_ENROLLED,
                score=best.score if best else None,
            )
        )
