"""Reviews: a referred verification is claimed with an API key, looked at by a person, and decided.

The decision stands beside what the machine said and never changes it: only so can both be compared.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, Select, select, update
from sqlalchemy.orm import Session

from service.errors import Refused
from service.events import record
from service.models import Candidate, Customer, FoundSignature, Review, Verification
from service.settings import Settings
from service.vault import SealedValue, Vault

Decision = Literal["accept", "reject"]

NOTE = "note"

AT_A_TIME = 500


def claim(session: Session, verification_id: str, lasting: timedelta, *, actor: str) -> Verification:
    """So long nobody else can claim it; claiming one's own again begins that time anew.

    Raises `verification_not_found`, `verification_closed` and `verification_claimed`.
    """
    verification = _take(session, verification_id)
    review, now = verification.review, datetime.now(UTC)
    if review is None:
        verification.review = Review(claimed_by=actor, claimed_at=now)
    elif verification.state == "claimed" and review.claimed_by != actor and now < review.claimed_at + lasting:
        raise Refused("verification_claimed")
    else:
        review.claimed_by, review.claimed_at = actor, now
    verification.state = "claimed"
    session.flush()
    record(session, "verification_claimed", actor=actor, subject=verification_id)
    return verification


def give_back(session: Session, verification_id: str, *, actor: str) -> Verification:
    """Raises what `decide` does."""
    verification = _take(session, verification_id)
    _own_review(verification, actor)
    verification.review = None
    verification.state = "open"
    session.flush()
    record(session, "claim_given_back", actor=actor, subject=verification_id)
    return verification


def decide(
    session: Session, vault: Vault, verification_id: str, decision: Decision, note: str, *, actor: str
) -> Verification:
    """A claim that ran out still holds for this, as long as nobody else has claimed it since. The note is not kept
    where somebody whom the verification named has been erased already: no later erasure would find it.

    Raises `verification_not_found`, `verification_closed`, `verification_claimed` and `verification_not_claimed`.
    """
    verification = _take(session, verification_id)
    review = _own_review(verification, actor)
    if not _names_somebody_erased(session, verification):
        review.key_id, review.nonce, review.sealed = vault.seal(verification_id, NOTE, note.encode())
    review.decision, review.decided_by, review.decided_at = decision, actor, datetime.now(UTC)
    verification.state = "closed"
    session.flush()
    record(session, "verification_decided", actor=actor, subject=verification_id, decision=decision)
    return verification


def open_note(vault: Vault, verification: Verification) -> str | None:
    """None also where it went with somebody whom the verification named."""
    review = verification.review
    if review is None or review.sealed is None:
        return None
    value = SealedValue(str(review.key_id), review.nonce or b"", review.sealed)
    return vault.open(verification.verification_id, NOTE, value).decode()


def forget_notes(session: Session, verifications: Select[Any]) -> int:
    """Empties the notes about these verifications (internal ids); how many there were."""
    rows = session.scalars(select(Review).where(Review.verification_id.in_(verifications)).with_for_update())
    notes = [review for review in rows if review.sealed is not None]
    for review in notes:
        review.key_id = review.nonce = review.sealed = None
    session.flush()
    return len(notes)


def return_expired(session: Session, settings: Settings) -> str:
    """Puts verifications whose claim ran out back into the queue. They are held first and looked at again: a claim
    that was renewed in between counts."""
    ran_out = Review.claimed_at <= datetime.now(UTC) - timedelta(minutes=settings.claim_minutes)
    claimed = (
        select(Verification.id)
        .join(Review, Review.verification_id == Verification.id)
        .where(Verification.state == "claimed", ran_out)
        .limit(AT_A_TIME)
        .with_for_update(of=Verification, skip_locked=True)
    )
    held = session.scalars(claimed).all()
    returned = session.execute(
        update(Verification)
        .where(
            Verification.id.in_(held),
            Verification.state == "claimed",
            Verification.id.in_(select(Review.verification_id).where(ran_out)),
        )
        .values(state="open")
        .execution_options(synchronize_session=False)
    )
    return f"{cast('CursorResult[object]', returned).rowcount} returned"


def _take(session: Session, verification_id: str) -> Verification:
    """Until the commit nobody else claims or decides it. Whom it names is held before its review is written, in the
    order in which a removal takes them: otherwise each could wait for the other. For the same reason the verification
    is held without its key, which PostgreSQL looks up for a removal that changes one of its signatures twice."""
    verification = session.scalar(
        select(Verification).where(Verification.verification_id == verification_id).with_for_update(key_share=True)
    )
    if verification is None:
        raise Refused("verification_not_found")
    if verification.state == "closed":
        raise Refused("verification_closed")
    candidates, signatures = (
        select(match.customer_id).where(match.verification_id == verification.id)
        for match in (Candidate, FoundSignature)
    )
    named = select(Customer.id).where(Customer.id.in_(candidates.union(signatures))).order_by(Customer.id)
    session.execute(named.with_for_update(read=True, key_share=True))
    return verification


def _names_somebody_erased(session: Session, verification: Verification) -> bool:
    """A candidate is a person when it is written, and nobody only once that person went."""
    gone = select(Candidate.id).where(Candidate.verification_id == verification.id, Candidate.customer_id.is_(None))
    return session.scalar(gone.limit(1)) is not None


def _own_review(verification: Verification, actor: str) -> Review:
    review = verification.review
    if review is not None and review.claimed_by == actor:
        return review
    raise Refused("verification_claimed" if verification.state == "claimed" else "verification_not_claimed")
