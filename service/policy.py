"""The decision policy as data: what it takes, by amount, that no person need look at a verification.

It is one JSON file that the setting `COUNTERSIGN_POLICY` names, read at the start; without it, the model's own
thresholds hold for every amount.
"""

import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from embeddings.bundle import Bundle, Thresholds
from embeddings.quality import DOUBTFUL
from service.errors import Refused
from service.settings import PREFIX, BadSetting

NEVER = math.nextafter(1, 2)  # no score reaches it


class Chances(NamedTuple):
    """How often a forger may try his luck at once: with so many references of so many people."""

    references: int
    people: int


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Band(_Data):
    """Amounts up to and including `up_to` in `currency`; without them, every further amount in every other one."""

    currency: str | None = Field(None, pattern=r"^[A-Z]{3}$")
    up_to: Decimal | None = Field(None, gt=0)
    target_far: float | None = Field(None, gt=0, lt=1)
    """Share of skilled forgeries that may be accepted."""
    target_frr: float | None = Field(None, gt=0, lt=1)
    """Share of genuine signatures that the machine may reject."""
    min_specimens: int = Field(1, ge=1, le=10)
    always_refer: bool = False


class Policy(_Data):
    bands: tuple[Band, ...] = (Band(),)
    refer_quality: tuple[str, ...] = DOUBTFUL
    """Doubts about the image that refer: keys of `embeddings.errors.CODES`."""
    specimen_max_age_days: int | None = Field(None, ge=1)
    stale_after_days: int = Field(183, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        bounds = [(band.currency, band.up_to) for band in self.bands]
        if len(set(bounds)) != len(bounds):
            raise ValueError("two bands have the same currency and up_to")
        for currency in {None, *(band.currency for band in self.bands)}:
            if (currency, None) not in bounds:
                raise ValueError(
                    f"no band covers every amount in {currency or 'any other currency'}: add one without up_to"
                )
        if unknown := set(self.refer_quality) - set(DOUBTFUL):
            raise ValueError(f"refer_quality knows {', '.join(DOUBTFUL)}, not {', '.join(sorted(unknown))}")
        return self

    def band_for(self, amount: Decimal | None, currency: str | None) -> Band:
        """An amount that nobody told may be any, so it counts as the largest."""
        known = {band.currency for band in self.bands}
        mine = [band for band in self.bands if band.currency == (currency if currency in known else None)]
        fitting = [band for band in mine if band.up_to is None or (amount is not None and amount <= band.up_to)]
        return min(fitting, key=lambda band: math.inf if band.up_to is None else band.up_to)

    def cautions_of_date(self, signed_on: date, today: date) -> list[str]:
        if signed_on > today:
            return ["post_dated"]
        return ["stale_dated"] if (today - signed_on).days > self.stale_after_days else []


def load_policy(path: Path | None) -> Policy:
    """Raises `BadSetting` that names the file and what is wrong in it."""
    if path is None:
        return Policy()
    try:
        return Policy.model_validate_json(path.read_bytes())
    except OSError as problem:
        raise BadSetting(f"{PREFIX}POLICY={path}: cannot be read ({problem.strerror})") from problem
    except ValidationError as problem:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'file'}: {error['msg']}" for error in problem.errors()
        )
        raise BadSetting(f"{PREFIX}POLICY={path}: {wrong}") from problem


def thresholds_for(
    bundle: Bundle, band: Band, chances: Chances, default_far: float | None, asked_far: float | None
) -> Thresholds:
    """A request may be stricter than the band and never laxer. Where so small a share of forgeries was never
    measured, a request for it is refused with `target_far_unavailable`, and a policy or setting accepts nothing."""
    reject = bundle.thresholds.reject
    if band.target_frr is not None:
        reject = bundle.error_rates.threshold_for_frr(band.target_frr, chances.references)
    far = asked_far if asked_far is not None else default_far
    if band.target_far is not None:
        far = min(band.target_far, asked_far if asked_far is not None else 1)
    if far is None:
        return Thresholds(max(bundle.thresholds.accept, reject), reject)
    accept = bundle.error_rates.threshold_for(far, *chances)
    if accept is None and far == asked_far:
        raise Refused("target_far_unavailable")
    return Thresholds(NEVER if accept is None else max(accept, reject), reject)
