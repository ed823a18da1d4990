"""Referred verifications: what the machine leaves to a person."""

from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import select, update

from service.models import Review, Verification
from tests.support.world import Answer, World


@dataclass(frozen=True)
class Referral:
    verification_id: str
    customer_id: str
    account_id: str

    @property
    def path(self) -> str:
        return f"/v1/verifications/{self.verification_id}"


def refer(world: World, image: bytes, *, specimen: bytes | None = None, **mandate: Any) -> Referral:
    """A new customer on a new account of which a person sees everything, and one verification."""
    customer_id, account_id = world.new_id(), world.new_id("account")
    world.enrol(customer_id, specimen or image)
    entries = {"signatories": [{"customer_id": customer_id}], "always_refer": True, **mandate}
    world.api.put(f"/v1/accounts/{account_id}", json=entries).raise_for_status()
    return refer_again(world, Referral("", customer_id, account_id), image)


def refer_again(world: World, earlier: Referral, image: bytes, **fields: str) -> Referral:
    made = world.verify(earlier.account_id, image, **fields)
    assert (made["outcome"], made["state"]) == ("refer", "open")
    return Referral(made["verification_id"], earlier.customer_id, earlier.account_id)


def claim(person: httpx.Client, referral: Referral, **headers: str) -> httpx.Response:
    return person.post(f"{referral.path}/claim", headers=headers)


def decide(
    person: httpx.Client, referral: Referral, decision: str = "accept", note: str = "her hand", **headers: str
) -> httpx.Response:
    return person.post(f"{referral.path}/decision", json={"decision": decision, "note": note}, headers=headers)


def accept(world: World, referral: Referral, decision: str = "accept") -> Answer:
    claim(world.api, referral).raise_for_status()
    decided: Answer = decide(world.api, referral, decision).raise_for_status().json()
    return decided


def set_review(world: World, referral: Referral, **values: Any) -> None:
    of = select(Verification.id).where(Verification.verification_id == referral.verification_id).scalar_subquery()
    with world.product.database.writing() as session:
        session.execute(update(Review).where(Review.verification_id == of).values(**values))


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]
