"""Why an outcome is what it is: one stable code and one sentence each, for a clerk who sees no program.

Documentation and the picture of evidence use this table.
"""

REASONS: dict[str, str] = {
    "mandate_satisfied": "Everybody whom the mandate asks for has signed.",
    "mandate_short": "More people have to sign than were recognised here.",
    "mandate_unreachable": "The mandate asks for more people than are left on the account.",
    "mandate_changed_since": "The mandate has changed since the date on the cheque, and today's is not satisfied.",
    "signatory_not_allowed": "The person whose signature it is was not allowed to sign on that date.",
    "signatory_limit_exceeded": "The amount is higher than this person may sign for.",
    "signatory_erased": "Somebody who could sign on that date has been erased and can no longer be compared.",
    "signatory_not_compared": "Somebody who could sign on that date has no specimen to compare with.",
    "below_accept": "The signature is similar, but not similar enough to be accepted without a look.",
    "below_reject": "The signature is unlike every specimen of those who may sign.",
    "no_signature_found": "No signature was found on the image.",
    "poor_quality": "The image is too poor for a sure answer: cut off, or more than one signature.",
    "possible_copy": "The signature is nearly identical to a specimen or to an earlier one: it may be a copy.",
    "one_specimen_only": "There is only one specimen to compare with.",
    "too_few_specimens": "There are fewer specimens to compare with than this account asks for.",
    "specimen_expired": "Every specimen had expired, or did not count yet, on that date.",
    "specimen_stale": "The specimens are old: ask for a new one.",
    "always_refer": "On this account a person looks at every cheque.",
    "amount_not_covered": "No rule of the mandate covers this amount.",
    "currency_not_covered": "No rule of the mandate covers this currency.",
    "stale_dated": "The date on the cheque is too long ago.",
    "post_dated": "The date on the cheque is still to come.",
}


def sentence(code: str) -> str:
    """The code itself where a later version wrote one that this version does not know."""
    return REASONS.get(code, code)
