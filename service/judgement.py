"""Judging a question: do the signatures on an image satisfy the mandate of an account?

The templates are read from the database, not from the index: they are few, and always current. Nothing is written
here, so no lock is held while it runs.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from embeddings.bundle import Bundle, Thresholds
from service import copies
from service.assignment import Match, Scores, assign
from service.comparing import Best, Enrolled, Person, Reference, on_day, read_templates
from service.dates import today
from service.errors import Refused
from service.mandate import Cheque, Mandate, Ruling, require, rule_since
from service.mandates import mandates_on
from service.policy import Band, Chances, Policy, thresholds_for
from service.product import Product
from service.question import Question, Seen


class Terms(NamedTuple):
    """What a verification is judged by."""

    band: Band
    thresholds: Thresholds
    chances: Chances


class Signature(NamedTuple):
    """A signature on the questioned image and whose it looks most like, if there is anybody left."""

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
    connection: Connection,
    product: Product,
    account_id: str,
    question: Question,
    version: str | None = None,
    apart_from: str | None = None,
) -> Judgement:
    """By the active model version, or by `version`. `apart_from` is the verification that answered the same question
    already, if one did: a signature is no copy of itself. Raises `account_not_found`, `account_not_enrolled` where
    nobody on the account has a specimen, `amount_missing` and `currency_missing` where the mandate needs them, and
    `Overtaken` where the image was read under another version."""
    started = perf_counter()
    asked = question.asked
    cheque = Cheque(asked.signed_on, asked.amount, asked.currency)
    then, now = mandates_on(connection, account_id, cheque.day)
    require(cheque, then, now)
    templates = read_templates(connection, _keys(then, now), version, product.models.default_version)
    if not templates:
        raise Refused("account_not_enrolled")
    product.models.check(templates[0].model_version, question.model_version)
    encoder = product.models.encoder_of(question.model_version)
    enrolled = on_day(product.vault, templates, cheque.day)
    terms = _terms(product, encoder.bundle, question, enrolled)
    compared = [{key: one.compare(encoder, seen.reading) for key, one in enrolled.items()} for seen in question.seen]
    found = [_scores(matches, terms.thresholds) for matches in compared]
    assignment = assign(found)
    cautions = _cautions(product.policy, question, terms.band, enrolled, assignment)
    for seen, key in zip(question.seen, assignment, strict=True):
        if key is not None and copies.is_copy(connection, product, enrolled[key], seen.reading, apart_from):
            cautions.append("possible_copy")
            break
    ruling = rule_since(then, now, cheque, today(), found, cautions)
    steps = {**question.timings_ms, "match": (perf_counter() - started) * 1000}
    timings = {**steps, "total": sum(steps.values())}
    return _answer(encoder.bundle, account_id, question, terms, ruling, compared, timings)


def _keys(*mandates: Mandate) -> set[int]:
    return {signer.key for mandate in mandates for signer in mandate.signers if signer.key is not None}


def _terms(product: Product, bundle: Bundle, question: Question, enrolled: Mapping[int, Enrolled]) -> Terms:
    """Whoever has most specimens decides for all: more references let more through."""
    asked = question.asked
    band = product.policy.band_for(asked.amount, asked.currency)
    most = max((len(_specimens(one)) for one in enrolled.values()), default=1)
    chances = Chances(most, max(len(enrolled), 1))
    thresholds = thresholds_for(bundle, band, chances, product.settings.target_far, asked.target_far)
    return Terms(band, thresholds, chances)


def _specimens(enrolled: Enrolled) -> set[int]:
    return {specimen.id for specimen in enrolled.specimens}


def _scores(matches: Mapping[int, Best], thresholds: Thresholds) -> Scores:
    return {key: Match(best.score, thresholds.accept, thresholds.reject) for key, best in matches.items()}


def _cautions(
    policy: Policy,
    question: Question,
    band: Band,
    enrolled: Mapping[int, Enrolled],
    assignment: Sequence[int | None],
) -> list[str]:
    """Why no machine alone should accept this, however alike the signatures are."""
    signers = [enrolled[key] for key in assignment if key is not None]
    counts = [len(_specimens(signer)) for signer in signers]
    found = {
        "specimen_expired": not enrolled,
        "poor_quality": any(_is_poor(policy, seen) for seen in question.seen),
        "one_specimen_only": any(count == 1 < band.min_specimens for count in counts),
        "too_few_specimens": any(1 < count < band.min_specimens for count in counts),
        "specimen_stale": any(_is_stale(policy, signer) for signer in signers),
        "always_refer": band.always_refer,
    }
    dates = policy.cautions_of_date(question.asked.signed_on, today())
    return [*dates, *(code for code, is_so in found.items() if is_so)]


def _is_poor(policy: Policy, seen: Seen) -> bool:
    return not set(policy.refer_quality).isdisjoint(seen.reading.quality.codes)


def _is_stale(policy: Policy, signer: Enrolled) -> bool:
    if policy.specimen_max_age_days is None:
        return False
    return signer.newest < datetime.now(UTC) - timedelta(days=policy.specimen_max_age_days)


def _answer(
    bundle: Bundle,
    account_id: str,
    question: Question,
    terms: Terms,
    ruling: Ruling,
    compared: Sequence[Mapping[int, Best]],
    timings_ms: dict[str, float],
) -> Judgement:
    asked = question.asked
    accept, reject = terms.thresholds.accept, terms.thresholds.reject
    rates = bundle.error_rates.at(reject if ruling.outcome == "reject" else accept, *terms.chances)
    candidates = _candidates(compared)
    recognised = [
        matches[key].score for matches, key in zip(compared, ruling.assignment, strict=True) if key is not None
    ]
    return Judgement(
        verification_id=f"ver_{secrets.token_hex(12)}",
        account_id=account_id,
        kind=asked.kind,
        state="open" if ruling.outcome == "refer" else "closed",
        outcome=ruling.outcome,
        score=min(recognised, default=candidates[0].score if candidates else None),
        accept_at=accept,
        reject_at=reject,
        reasons=ruling.reasons,
        error_rates=asdict(rates),
        model_version=bundle.model_version,
        signed_on=asked.signed_on,
        amount=asked.amount,
        currency=asked.currency,
        reference=asked.reference,
        timings_ms=timings_ms,
        created_at=datetime.now(UTC),
        signatures=_signatures(question.seen, compared, ruling.assignment),
        candidates=candidates,
    )


def _candidates(compared: Sequence[Mapping[int, Best]]) -> list[Best]:
    """Everybody who was compared with the signature that looks most like theirs, best first."""
    best: dict[int, Best] = {}
    for matches in compared:
        for key, match in matches.items():
            if key not in best or match.score > best[key].score:
                best[key] = match
    return sorted(best.values(), key=lambda match: -match.score)


def _signatures(
    seen: Sequence[Seen], compared: Sequence[Mapping[int, Best]], assignment: Sequence[int | None]
) -> list[Signature]:
    """A signature that is nobody's shows whom it looks most like of those whose none is."""
    shown = []
    for one, matches, key in zip(seen, compared, assignment, strict=True):
        left = [match for other, match in matches.items() if other not in assignment]
        match = matches[key] if key is not None else max(left, key=lambda match: match.score, default=None)
        shown.append(Signature(list(one.box), *(match or ())))
    return shown
