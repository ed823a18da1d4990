"""Verifications: the judgement of a questioned signature against an account, kept and shown again."""

from typing import Any, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload

from service import copies, misses
from service.comparing import Best
from service.database import Overtaken, direct_insert, insert_rows, pipelined
from service.errors import Refused
from service.events import record
from service.judgement import Judgement, Signature, judge
from service.models import Candidate, FoundSignature, QuestionedImage, Review, Verification
from service.product import Product
from service.question import Question
from service.vault import SealedValue, Vault

IMAGE = "question"
"""What the seal of a kept image is for; its owner is the verification, for it may show several people's hands."""


def verify(
    session: Session,
    product: Product,
    account_id: str,
    question: Question,
    *,
    actor: str,
    counts_misses: bool = False,
) -> Judgement:
    """Judges a question against an account and keeps the answer in the session's transaction.

    The judging comes before that transaction begins. Whoever is removed in between cannot be kept as a match, for
    the rows refer to the person; then this raises `Overtaken`, and judging again no longer finds the person.
    Raises what `judge` does, and `account_locked_out` where misses count and there have been too many.
    """
    with product.database.asking() as connection:
        judgement = judge(connection, product, account_id, question)
    kept = _seal(product, question, judgement)
    accepts = product.models.encoder_of(question.model_version).bundle.thresholds.accept
    if counts_misses and product.settings.account_misses and misses.is_miss(judgement, accepts):
        misses.count(session, product.settings, actor, account_id)
    try:
        with pipelined(session):
            _keep(session, judgement, kept)
            record(
                session,
                f"{judgement.kind}_verified",
                actor=actor,
                subject=judgement.verification_id,
                outcome=judgement.outcome,
            )
    except IntegrityError as problem:
        raise Overtaken from problem
    return judgement


def get_verification(session: Session, verification_id: str) -> Verification:
    """Raises `verification_not_found`."""
    found = session.scalar(select(Verification).where(Verification.verification_id == verification_id))
    if found is None:
        raise Refused("verification_not_found")
    return found


def list_verifications(
    session: Session,
    behind: int | None,
    limit: int,
    *,
    oldest_first: bool = False,
    claimed_by: str | None = None,
    **filters: str | None,
) -> list[Verification]:
    """Newest first or oldest first, beginning behind the internal id `behind`; `claimed_by` is the id of an API key,
    further filters are outcome, state and account_id."""
    order = Verification.id.asc() if oldest_first else Verification.id.desc()
    query = select(Verification).order_by(order).limit(limit).options(*_WHOLE)
    if behind is not None:
        query = query.where(Verification.id > behind if oldest_first else Verification.id < behind)
    if claimed_by is not None:
        mine = select(Review.verification_id).where(Review.claimed_by == claimed_by)
        query = query.where(Verification.id.in_(mine), Verification.state != "open")  # open again: it ran out
    return list(session.scalars(query.filter_by(**{name: value for name, value in filters.items() if value})))


def questioned_image(session: Session, vault: Vault, verification: Verification) -> bytes:
    """As it was sent. Raises `evidence_not_found` where it was not kept, or went with somebody erased."""
    kept = session.get(QuestionedImage, verification.id)
    if kept is None:
        raise Refused("evidence_not_found")
    return vault.open(verification.verification_id, IMAGE, SealedValue(kept.key_id, kept.nonce, kept.sealed))


class _Kept(NamedTuple):
    """What is kept sealed of a question: the image, where the settings say so, and the ink of each signature that is
    somebody's."""

    image: SealedValue | None
    inks: list[SealedValue | None]


def _seal(product: Product, question: Question, judgement: Judgement) -> _Kept:
    """Before the transaction: others wait for their turn to write."""
    vault, keeps = product.vault, product.settings.evidence
    keeps_image = keeps == "all" or (keeps == "referred" and judgement.outcome == "refer")
    return _Kept(
        vault.seal(judgement.verification_id, IMAGE, question.asked.image) if keeps_image else None,
        [
            copies.seal(vault, found.customer.owner, seen.reading.canvas) if found.customer else None
            for seen, found in zip(question.seen, judgement.signatures, strict=True)
        ],
    )


def _keep(session: Session, judgement: Judgement, kept: _Kept) -> None:
    """Inserts the rows themselves. This is the busiest write of all, and a unit of work costs more than its rows."""
    connection = session.connection()
    insert_rows(connection, _INSERT_VERIFICATION, [{name: getattr(judgement, name) for name in _COLUMNS}])
    signatures = [
        {"position": position, "box": found.box, **_match(judgement, found), **(ink._asdict() if ink else _NO_INK)}
        for position, (found, ink) in enumerate(zip(judgement.signatures, kept.inks, strict=True))
    ]
    insert_rows(connection, _INSERT_SIGNATURE, signatures)
    insert_rows(connection, _INSERT_CANDIDATE, [_match(judgement, best) for best in judgement.candidates])
    if kept.image:
        insert_rows(connection, _INSERT_IMAGE, [{"of": judgement.verification_id, **kept.image._asdict()}])


def _match(judgement: Judgement, match: Signature | Best) -> dict[str, Any]:
    return {
        "of": judgement.verification_id,
        "customer_id": match.customer.id if match.customer else None,
        "specimen_id": match.specimen.id if match.specimen else None,
        "score": match.score,
    }


_WHOLE = (
    selectinload(Verification.review),
    *(
        selectinload(matches).options(joinedload(match.customer), joinedload(match.specimen))
        for matches, match in ((Verification.signatures, FoundSignature), (Verification.candidates, Candidate))
    ),
)
_COLUMNS = [column.name for column in Verification.__table__.columns if column.name != "id"]
_OF = select(Verification.id).where(Verification.verification_id == bindparam("of")).scalar_subquery()
_INSERT_VERIFICATION = direct_insert(Verification)
_INSERT_SIGNATURE = direct_insert(FoundSignature).values(verification_id=_OF)
_INSERT_CANDIDATE = direct_insert(Candidate).values(verification_id=_OF)
_INSERT_IMAGE = direct_insert(QuestionedImage).values(verification_id=_OF)
_NO_INK = dict.fromkeys(SealedValue._fields)
