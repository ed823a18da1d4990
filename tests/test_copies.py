"""A questioned signature that is nearly identical to a specimen, or to one that was questioned before."""

from pathlib import Path

import cv2
import pytest
from sqlalchemy import func, select, update

from embeddings.decode import decode
from service import copies
from service.judgement import judge
from service.models import Specimen, Verification
from service.question import Asked, read
from tests.support.images import signature
from tests.support.world import Answer, World


def _account(world: World, *images: bytes) -> str:
    account = world.new_id()
    with world.trusting():
        world.enrol(world.new_id(), *images, accounts=[account])
    return account


def _answer(verification: Answer) -> tuple[str, list[str]]:
    return verification["outcome"], verification["reasons"]


def _photocopied(image: bytes) -> bytes:
    """At another size, paler, as JPEG."""
    shown = cv2.resize(decode(image), None, fx=1.4, fy=1.4, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", shown // 2 + 110, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()


def test_the_very_image_of_an_earlier_verification_is_referred(world: World) -> None:
    account = _account(world, signature("ada"))

    first, again = (world.verify(account, signature("ada", 1)) for _ in range(2))

    assert _answer(first) == ("accept", ["mandate_satisfied"])
    assert _answer(again) == ("refer", ["possible_copy"])
    assert again["state"] == "open"


def test_a_photocopy_of_an_earlier_signature_is_referred(world: World) -> None:
    account = _account(world, signature("ada"))
    world.verify(account, signature("ada", 1))

    assert _answer(world.verify(account, _photocopied(signature("ada", 1)))) == ("refer", ["possible_copy"])


@pytest.mark.parametrize("place", [0, 2])
def test_a_specimen_itself_is_referred(world: World, place: int) -> None:
    specimens = [signature("ada", variant) for variant in (0, 1, 2)]

    verification = world.verify(_account(world, *specimens), specimens[place])

    assert _answer(verification) == ("refer", ["possible_copy"])


def test_other_genuine_signatures_are_no_copies(world: World) -> None:
    account = _account(world, signature("ada"), signature("ada", 1))

    answers = [_answer(world.verify(account, signature("ada", variant))) for variant in range(2, 8)]

    assert answers == [("accept", ["mandate_satisfied"])] * 6


def test_drawn_samples_are_no_copies_of_each_other(world: World, samples: Path) -> None:
    for person in sorted(path.parent for path in samples.glob("*/genuine_1.png")):
        images = {path.stem: path.read_bytes() for path in sorted(person.glob("*.png"))}
        account = _account(world, images.pop("genuine_1"), images.pop("genuine_2"))
        reasons = [reason for image in images.values() for reason in world.verify(account, image)["reasons"]]
        assert "possible_copy" not in reasons


@pytest.mark.data
def test_real_signatures_of_one_person_are_no_copies_of_each_other(world: World, cedar: Path) -> None:
    images = [(cedar / "full_org" / f"original_12_{number}.png").read_bytes() for number in range(1, 13)]
    account = _account(world, *images[:2])

    reasons = [reason for image in images[2:] for reason in world.verify(account, image)["reasons"]]

    assert "possible_copy" not in reasons


def test_a_copy_does_not_hide_a_reject(world: World) -> None:
    account = _account(world, signature("ada"))
    with world.thresholds_between(signature("ada"), signature("bruno")):
        answers = [_answer(world.verify(account, signature("bruno"))) for _ in range(2)]

    assert answers == [("reject", ["below_reject"]), ("reject", ["below_reject"])]


def test_the_same_signature_on_another_account_of_the_person_is_a_copy_too(world: World) -> None:
    customer, accounts = world.new_id(), [world.new_id(), world.new_id()]
    world.enrol(customer, signature("ada"), accounts=accounts)

    answers = [_answer(world.verify(account, signature("ada", 1))) for account in accounts]

    assert answers == [("accept", ["mandate_satisfied"]), ("refer", ["possible_copy"])]


def test_what_somebody_else_signed_makes_no_copy(world: World) -> None:
    one, other = _account(world, signature("ada")), _account(world, signature("ada"))

    answers = [_answer(world.verify(account, signature("ada", 1))) for account in (one, other)]

    assert answers == [("accept", ["mandate_satisfied"])] * 2


def test_only_so_many_earlier_signatures_are_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_EARLIER", copies._EARLIER.limit(2))
    account = _account(world, signature("ada"))
    for variant in (1, 2, 3):
        world.verify(account, signature("ada", variant))

    assert _answer(world.verify(account, signature("ada", 1))) == ("accept", ["mandate_satisfied"])
    assert _answer(world.verify(account, signature("ada", 3))) == ("refer", ["possible_copy"])


def test_a_signature_is_no_copy_of_itself_where_it_is_judged_once_more(world: World) -> None:
    """As a model version in the shadow judges it, after the answer was kept."""
    account = _account(world, signature("ada"))
    kept = world.verify(account, signature("ada", 1))["verification_id"]
    question = read(world.product.encoder, Asked(signature("ada", 1)))

    with world.product.database.asking() as connection:
        again, shadow = (judge(connection, world.product, account, question, None, of) for of in (None, kept))

    assert (again.outcome, again.reasons) == ("refer", ["possible_copy"])
    assert (shadow.outcome, shadow.reasons) == ("accept", ["mandate_satisfied"])


def test_a_switch_of_the_model_forgets_no_earlier_signature(world: World) -> None:
    account = _account(world, signature("ada"))
    verification_id = world.verify(account, signature("ada", 1))["verification_id"]
    with world.product.database.writing() as session:
        of = Verification.verification_id == verification_id
        session.execute(update(Verification).where(of).values(model_version="the one before"))

    assert _answer(world.verify(account, signature("ada", 1))) == ("refer", ["possible_copy"])


def test_a_specimen_whose_image_a_policy_deleted_stops_no_verification(world: World) -> None:
    account = _account(world, signature("ada"))
    with world.product.database.writing() as session:
        latest = session.scalar(select(func.max(Specimen.id)))
        session.execute(update(Specimen).where(Specimen.id == latest).values(sealed=b""))

    assert _answer(world.verify(account, signature("ada"))) == ("accept", ["mandate_satisfied"])
