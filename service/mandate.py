"""The mandate: who must sign for which amount, and whether the signatures that were found are enough.

Pure: it knows no database and no images. It accepts only what is certain and rejects only what is nobody's; whatever
lies between, or cannot be told, is for a person to look at.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from service.assignment import Match, Scores, assign
from service.dates import is_valid
from service.errors import Refused

ANYONE = "*"
"""Stands for every group; no group can be called so."""


class Rule(NamedTuple):
    """For amounts up to and including `up_to` in `currency`, each None where it makes no difference: each of `any_of`
    is enough, and asks for so many signatories of each group."""

    currency: str | None
    up_to: Decimal | None
    any_of: Sequence[Mapping[str, int]]


ONE_OF_ANYONE = Rule(None, None, ({ANYONE: 1},))


class Signer(NamedTuple):
    """A person's place in one version of a mandate. `key` is the row id of the customer, None once erased."""

    key: int | None
    group: str
    limit: Decimal | None = None
    valid_from: date | None = None
    valid_to: date | None = None


@dataclass(frozen=True)
class Mandate:
    """One version of it, with those who may sign under it."""

    rules: Sequence[Rule]
    signers: Sequence[Signer]
    always_refer: bool = False


class Cheque(NamedTuple):
    """What is written on it beside the signatures."""

    day: date
    amount: Decimal | None = None
    currency: str | None = None


class Ruling(NamedTuple):
    """`assignment` has an entry for each signature: whose it is, None where it is nobody's."""

    outcome: str
    reasons: list[str]
    assignment: list[int | None]


class Recognised(NamedTuple):
    """A signature that is somebody's; `signer` is None where the mandate does not name them."""

    match: Match
    signer: Signer | None


def read_rules(stored: Sequence[Mapping[str, Any]]) -> Sequence[Rule]:
    """From the form of the API and of the database; no rules at all mean one signature of anyone."""
    return [
        Rule(rule.get("currency"), None if rule.get("up_to") is None else Decimal(rule["up_to"]), rule["any_of"])
        for rule in stored
    ] or [ONE_OF_ANYONE]


def write_rules(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """The form that `read_rules` reads."""
    return [
        {
            "currency": rule.currency,
            "up_to": None if rule.up_to is None else f"{rule.up_to:.2f}",
            "any_of": [dict(alternative) for alternative in rule.any_of],
        }
        for rule in rules
    ]


def require(cheque: Cheque, *mandates: Mandate) -> None:
    """Raises `amount_missing` or `currency_missing` where one of the mandates cannot do without."""
    for mandate in mandates:
        if cheque.amount is None and needs_amount(mandate.rules, mandate.signers):
            raise Refused("amount_missing", errors=[{"field": "amount", "problem": "is needed by the mandate"}])
        if cheque.currency is None and needs_currency(mandate.rules):
            raise Refused("currency_missing", errors=[{"field": "currency", "problem": "is needed by the mandate"}])


def needs_amount(rules: Sequence[Rule], signers: Sequence[Signer]) -> bool:
    return any(rule.up_to is not None for rule in rules) or any(signer.limit is not None for signer in signers)


def needs_currency(rules: Sequence[Rule]) -> bool:
    return any(rule.currency is not None for rule in rules)


def rule_since(
    then: Mandate, now: Mandate, cheque: Cheque, today: date, found: Sequence[Scores], cautions: Sequence[str] = ()
) -> Ruling:
    """By the mandate of the day on the cheque. But whoever wrote the cheque wrote that day too, so what the mandate
    in force would not accept today is not accepted: `mandate_changed_since`, with the reasons of today."""
    ruling = rule(then, cheque, found, cautions)
    if ruling.outcome != "accept":
        return ruling
    current = rule(now, cheque._replace(day=today), found, cautions)
    if current.outcome == "accept":
        return ruling
    return Ruling("refer", ["mandate_changed_since", *current.reasons], ruling.assignment)


def rule(mandate: Mandate, cheque: Cheque, found: Sequence[Scores], cautions: Sequence[str] = ()) -> Ruling:
    """`found` has the scores of each signature on the cheque, with whoever has a specimen to compare. A caution
    never turns into an accept, and never hides a reject."""
    assignment = assign(found)
    signers = {signer.key: signer for signer in mandate.signers}
    recognised = [
        Recognised(scores[key], signers.get(key))
        for scores, key in zip(found, assignment, strict=True)
        if key is not None
    ]
    cautions = [*cautions, "always_refer"] if mandate.always_refer else cautions
    outcome, reasons = _rule(mandate, cheque, found, recognised, is_doubted=bool(cautions))
    told = dict.fromkeys([*reasons, *cautions])
    if "specimen_expired" in told:  # says the same more exactly
        told.pop("signatory_not_compared", None)
    return Ruling(outcome, list(told), assignment)


def is_met(rule: Rule, signers: Iterable[Signer]) -> bool:
    groups = Counter(signer.group for signer in signers)
    groups[ANYONE] = groups.total()
    return any(groups >= Counter(alternative) for alternative in rule.any_of)


def _rule(
    mandate: Mandate,
    cheque: Cheque,
    found: Sequence[Scores],
    recognised: Sequence[Recognised],
    *,
    is_doubted: bool,
) -> tuple[str, list[str]]:
    if not found:
        return "refer", ["no_signature_found"]
    if not any(found):
        return "refer", _unseen(mandate, cheque, found) or ["signatory_not_compared"]
    chosen, obstacles = _choose(mandate.rules, cheque)
    counting = _counting(recognised, cheque)
    if chosen and counting and is_met(chosen, counting):
        return ("refer", []) if is_doubted else ("accept", ["mandate_satisfied"])
    facts = _facts(found, recognised, cheque)
    if chosen:
        obstacles = _shortfall(chosen, mandate, recognised, cheque)
    if recognised or obstacles != ["mandate_short"]:
        return "refer", [*facts, *obstacles, *([] if recognised else _unseen(mandate, cheque, found))]
    # The mandate could have been met, and what was found is nobody's: unless it is of somebody who cannot be seen.
    unseen = _unseen(mandate, cheque, found)
    return "refer" if unseen else "reject", [*facts, *unseen]


def _choose(rules: Sequence[Rule], cheque: Cheque) -> tuple[Rule | None, list[str]]:
    """The rule with the smallest amounts that reach this one, one for its very currency before one for all; if there
    is none, why."""
    of_currency = [rule for rule in rules if rule.currency in (None, cheque.currency)]
    if not of_currency:
        return None, ["currency_not_covered"]
    covering = [rule for rule in of_currency if _reaches(rule.up_to, cheque.amount)]
    if not covering:
        return None, ["amount_not_covered"]
    return min(covering, key=lambda rule: (rule.currency is None, rule.up_to is None, rule.up_to)), []


def _reaches(bound: Decimal | None, amount: Decimal | None) -> bool:
    return bound is None or (amount is not None and amount <= bound)


def _hindrance(signer: Signer | None, cheque: Cheque) -> str | None:
    if signer is None or not is_valid(signer, cheque.day):
        return "signatory_not_allowed"
    return None if _reaches(signer.limit, cheque.amount) else "signatory_limit_exceeded"


def _counting(recognised: Sequence[Recognised], cheque: Cheque) -> list[Signer]:
    return [
        signer
        for match, signer in recognised
        if signer is not None and match.is_accepted and _hindrance(signer, cheque) is None
    ]


def _facts(found: Sequence[Scores], recognised: Sequence[Recognised], cheque: Cheque) -> list[str]:
    """What a person should know of the signatures that do not count."""
    hindrances = {_hindrance(signer, cheque) for _, signer in recognised}
    facts = {
        "below_reject": any(not any(match.is_likely for match in scores.values()) for scores in found),
        "below_accept": any(not match.is_accepted for match, _ in recognised),
        "signatory_not_allowed": "signatory_not_allowed" in hindrances,
        "signatory_limit_exceeded": "signatory_limit_exceeded" in hindrances,
    }
    return [code for code, is_so in facts.items() if is_so]


def _shortfall(rule: Rule, mandate: Mandate, recognised: Sequence[Recognised], cheque: Cheque) -> list[str]:
    """Nothing where everybody whose signature is there would be enough: then the facts about them say it all."""
    if is_met(rule, [signer for _, signer in recognised if signer is not None]):
        return []
    may_sign = [signer for signer in mandate.signers if signer.key is not None and _hindrance(signer, cheque) is None]
    return ["mandate_short"] if is_met(rule, may_sign) else ["mandate_unreachable"]


def _unseen(mandate: Mandate, cheque: Cheque, found: Sequence[Scores]) -> list[str]:
    """Whose signature it may be all the same: people of that day who have nothing to compare with."""
    compared = set().union(*found)
    unseen = [signer for signer in mandate.signers if signer.key not in compared and is_valid(signer, cheque.day)]
    codes = {
        "signatory_erased": any(signer.key is None for signer in unseen),
        "signatory_not_compared": any(signer.key is not None for signer in unseen),
    }
    return [code for code, is_so in codes.items() if is_so]
