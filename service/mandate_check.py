"""Mandates that nobody can mean are refused when they are put, not when the first cheque comes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from service.errors import Refused
from service.mandate import Rule, Signer

Problem = tuple[str, str]


def check(rules: Sequence[Rule], signers: Sequence[Signer]) -> None:
    """Raises `mandate_empty` or `mandate_contradictory`, naming each field and what is wrong with it. Who may sign is
    counted without their dates: the last day of a signatory must be possible to write down."""
    for code, problems in {
        "mandate_empty": _empty(rules),
        "mandate_contradictory": _contradictions(rules, signers),
    }.items():
        errors = [{"field": field, "problem": problem} for field, problem in problems]
        if errors:
            raise Refused(code, errors=errors)


def _empty(rules: Sequence[Rule]) -> Iterator[Problem]:
    for place, rule in enumerate(rules):
        if not rule.any_of:
            yield f"rules.{place}.any_of", "has no alternative"
        for at, alternative in enumerate(rule.any_of):
            if not alternative:
                yield f"rules.{place}.any_of.{at}", "asks for nobody"


def _contradictions(rules: Sequence[Rule], signers: Sequence[Signer]) -> Iterator[Problem]:
    for place, rule in enumerate(rules):
        yield from _against_other_rules(place, rules)
        able = Counter(signer.group for signer in signers if _may_ever_sign(signer, rule, rules))
        for at in range(len(rule.any_of)):
            problem = _of_alternative(at, rule.any_of, able)
            if problem:
                yield f"rules.{place}.any_of.{at}", problem


def _against_other_rules(place: int, rules: Sequence[Rule]) -> Iterator[Problem]:
    rule = rules[place]
    for other_place, other in enumerate(rules):
        if other_place < place and (other.currency, other.up_to) == (rule.currency, rule.up_to):
            yield f"rules.{place}", f"is for the same currency and amounts as rules.{other_place}"
        elif rule.currency in (None, other.currency) and _is_below(other, rule) and _is_stricter(other, rule):
            yield f"rules.{place}", f"asks for less than rules.{other_place} does for smaller amounts"


def _of_alternative(at: int, any_of: Sequence[Mapping[str, int]], able: Mapping[str, int]) -> str | None:
    asked = any_of[at]
    if any(count < 1 for count in asked.values()):
        return "asks for less than one signature of a group"
    if any(count > able.get(group, 0) for group, count in asked.items()):
        return "asks for more signatures of a group than it has signatories for such amounts"
    for other_at, other in enumerate(any_of):
        if _implies(asked, other) and (asked != other or other_at < at):
            return f"adds nothing: whoever meets it meets any_of.{other_at}"
    return None


def _may_ever_sign(signer: Signer, rule: Rule, rules: Sequence[Rule]) -> bool:
    """Whether the limit leaves them any of the rule's amounts."""
    smaller = [other.up_to for other in rules if other.currency == rule.currency and _is_below(other, rule)]
    floor = max((up_to for up_to in smaller if up_to is not None), default=Decimal(0))
    return signer.limit is None or signer.limit > floor


def _is_below(rule: Rule, other: Rule) -> bool:
    return rule.up_to is not None and (other.up_to is None or rule.up_to < other.up_to)


def _is_stricter(rule: Rule, other: Rule) -> bool:
    """Whoever meets `rule` meets `other`, and not the other way round."""
    return _all_imply(rule, other) and not _all_imply(other, rule)


def _all_imply(rule: Rule, other: Rule) -> bool:
    return all(any(_implies(asked, less) for less in other.any_of) for asked in rule.any_of)


def _implies(asked: Mapping[str, int], less: Mapping[str, int]) -> bool:
    return all(asked.get(group, 0) >= count for group, count in less.items())
