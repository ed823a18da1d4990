"""What is kept of a questioned image, the picture made of it, and that both go with a leaver."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import cv2
import numpy as np
import pytest
from sqlalchemy import select

from embeddings.decode import decode
from service import drawing
from service.evidence import question_ink
from service.evidence_picture import WIDTH, Compared, Evidence, draw
from service.models import QuestionedImage, Verification
from service.reasons import REASONS
from service.vault import SealedValue
from service.verification import IMAGE
from tests.support.images import on_a_page, signature
from tests.support.world import Answer, World

EXPIRED, AFTERWARDS = (str(date.today() - timedelta(days)) for days in (30, 29))  # noqa: DTZ011 (any recent days)


def _enrolled(world: World, *images: bytes) -> tuple[str, str]:
    customer_id, account = world.new_id(), world.new_id()
    with world.trusting():
        world.enrol(customer_id, *images, accounts=[account])
    return customer_id, account


def _evidence(world: World, verification: Answer) -> np.ndarray:
    answer = world.api.get(f"/v1/verifications/{verification['verification_id']}/evidence.png")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png"), answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


def _refusal(world: World, verification_id: str) -> tuple[int, str]:
    answer = world.api.get(f"/v1/verifications/{verification_id}/evidence.png")
    return answer.status_code, answer.json()["code"]


def _kept(world: World, verification: Answer) -> tuple[QuestionedImage | None, list[bytes | None]]:
    """The image's row, and the seal of each signature's ink."""
    with world.product.database.reading() as session:
        row = session.scalars(
            select(Verification).where(Verification.verification_id == verification["verification_id"])
        ).one()
        return session.get(QuestionedImage, row.id), [found.sealed for found in row.signatures]


@pytest.fixture
def keeping(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    def keep(which: str) -> None:
        monkeypatch.setattr(world.product, "settings", world.settings.model_copy(update={"evidence": which}))

    return keep


def test_the_questioned_image_is_kept_as_it_was_sent_and_sealed(world: World) -> None:
    _, account = _enrolled(world, signature("ada"))

    verification = world.verify(account, signature("ada", 1))

    kept, _ = _kept(world, verification)
    assert kept is not None
    assert signature("ada", 1)[40:80] not in kept.sealed
    sealed = SealedValue(kept.key_id, kept.nonce, kept.sealed)
    assert world.product.vault.open(verification["verification_id"], IMAGE, sealed) == signature("ada", 1)


@pytest.mark.parametrize(
    ("which", "accepted", "referred"), [("all", True, True), ("referred", False, True), ("none", False, False)]
)
def test_a_setting_says_for_which_verifications(
    world: World,
    keeping,
    which: str,
    accepted: bool,
    referred: bool,  # type: ignore[no-untyped-def]
) -> None:
    keeping(which)
    _, account = _enrolled(world, signature("ada"))

    first, again = (world.verify(account, signature("ada", 1)) for _ in range(2))

    assert (first["outcome"], again["outcome"]) == ("accept", "refer")
    assert [_kept(world, one)[0] is not None for one in (first, again)] == [accepted, referred]
    if not accepted:
        assert _refusal(world, first["verification_id"]) == (404, "evidence_not_found")


def test_whoever_reviews_sees_a_picture_of_a_verification(world: World) -> None:
    _, account = _enrolled(world, signature("ada"), signature("ada", 1))

    picture = _evidence(world, world.verify(account, signature("ada", 2)))

    assert picture.shape[1] == WIDTH


def test_the_picture_shows_the_ink_of_both_signatures_and_where_they_agree(world: World) -> None:
    _, account = _enrolled(world, signature("ada"))

    same, other = (_evidence(world, world.verify(account, image)) for image in (signature("ada"), signature("bruno")))

    assert _agreement(same) > 2 * _agreement(other)


def test_a_verification_with_nobody_to_compare_has_a_picture(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account], valid_to=EXPIRED)

    verification = world.verify(account, signature("ada"), signed_on=AFTERWARDS)

    assert "specimen_expired" in verification["reasons"]
    assert _evidence(world, verification).shape[1] == WIDTH


@pytest.mark.parametrize("valid_to", [None, EXPIRED], ids=["compared", "with nobody to compare"])
def test_a_cheque_has_a_picture_with_a_box_around_its_signature(world: World, valid_to: str | None) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account], **({"valid_to": valid_to} if valid_to else {}))
    page, (left, top, width, height) = on_a_page(signature("ada", 1), left=700, top=420)

    verification = world.verify(account, page, kind="cheque", box=f"{left},{top},{width},{height}")

    assert verification["signatures"][0]["box"] == [left, top, width, height]
    picture = _evidence(world, verification)
    blue = (np.abs(picture.astype(int) - drawing.QUESTION).max(axis=2) < 10).sum(axis=1)
    assert blue.max() > WIDTH // 10  # an edge of the box


def test_a_removed_specimen_leaves_a_picture_without_it(world: World) -> None:
    customer_id, account = _enrolled(world, signature("ada"))
    verification = world.verify(account, signature("ada", 1))
    before = _evidence(world, verification)

    specimen_id = verification["signatures"][0]["specimen_id"]
    world.api.delete(f"/v1/customers/{customer_id}/specimens/{specimen_id}").raise_for_status()

    after = _evidence(world, verification)
    assert after.shape == before.shape
    assert _agreement(after) == 0


def test_an_unknown_verification_has_no_evidence(world: World) -> None:
    assert _refusal(world, "ver_0") == (404, "verification_not_found")


@pytest.mark.parametrize("leaver", [0, 1], ids=["who was recognised", "who was only compared"])
def test_with_a_leaver_go_image_and_ink_of_every_verification_that_compared_them(world: World, leaver: int) -> None:
    account, people = world.new_id(), [world.new_id(), world.new_id()]
    for person, name in zip(people, ("ada", "bruno"), strict=True):
        world.enrol(person, signature(name), accounts=[account])
    verification = world.verify(account, signature("ada", 1))
    kept, inks = _kept(world, verification)
    assert kept is not None
    assert None not in inks

    receipt = world.api.delete(f"/v1/customers/{people[leaver]}").json()

    assert _kept(world, verification) == (None, [None])
    assert _refusal(world, verification["verification_id"]) == (404, "evidence_not_found")
    counts = receipt["counts"]
    assert (counts["questioned_images"], counts["questioned_signatures"], counts["verifications"]) == (1, 1, 1)


def test_with_a_leaver_go_images_on_which_nobody_was_compared(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account], valid_to=EXPIRED)
    verification = world.verify(account, signature("ada", 1), signed_on=AFTERWARDS)

    receipt = world.api.delete(f"/v1/customers/{customer_id}").json()

    assert _kept(world, verification)[0] is None
    assert (receipt["counts"]["questioned_images"], receipt["counts"]["verifications"]) == (1, 0)


def test_what_was_kept_of_others_stays(world: World) -> None:
    leaver, _ = _enrolled(world, signature("ada"))
    _, account = _enrolled(world, signature("ada"))
    verification = world.verify(account, signature("ada", 1))

    world.api.delete(f"/v1/customers/{leaver}").raise_for_status()

    kept, inks = _kept(world, verification)
    assert kept is not None
    assert None not in inks


def test_somebody_enrolled_again_is_not_taken_for_a_copy_of_who_left(world: World) -> None:
    customer_id, account = _enrolled(world, signature("ada"))
    world.verify(account, signature("ada", 1))
    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()
    world.enrol(customer_id, signature("ada"), accounts=[account])

    assert world.verify(account, signature("ada", 1))["outcome"] == "accept"


def test_ink_is_kept_only_of_signatures_that_are_somebodys(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account], valid_to=EXPIRED)

    verification = world.verify(account, signature("ada"), signed_on=AFTERWARDS)

    assert _kept(world, verification)[1] == [None]


SIZES = {"a cheque": (900, 2000), "huge": (5000, 7000), "tiny": (24, 30), "very wide": (20, 9000), "high": (9000, 20)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("found", [0, 1, 3])
def test_every_image_gives_a_picture_of_one_width(size: tuple[int, int], found: int) -> None:
    image = np.full(size, 250, np.uint8)
    specimen = decode(signature("ada"))
    height, width = size
    boxes = [(at * width // 3, 0, max(width // 4, 1), max(height // 2, 1)) for at in range(found)]
    compared = [
        Compared(box, image[:5, :5], question_ink(specimen, (0, 0, 600, 240)), "is Ada's", score, specimen)
        for box, score in zip(boxes, (0.0, None, 1.0), strict=False)
    ]

    picture = _drawn(image=image, signatures=compared)

    assert picture.shape[1] == WIDTH
    assert len(picture) < 2500


def test_a_reason_more_is_a_line_more_and_nothing_is_cut_off() -> None:
    heights = [len(_drawn(reasons=list(REASONS)[:number])) for number in range(1, len(REASONS) + 1)]

    steps = {later - earlier for earlier, later in pairwise(heights)}
    assert len(steps) == 1
    assert steps.pop() > 20


def test_texts_of_any_length_and_alphabet_stay_within_the_picture() -> None:
    odd = "Ж中é\t\n" * 60
    image = decode(signature("ada"))
    compared = Compared((0, 0, 600, 240), image, question_ink(image, (0, 0, 600, 240)), odd, 0.5)

    picture = _drawn(account_id=odd, asked=odd, image=image, signatures=[compared])

    assert (picture[80:, -20:] == 255).all()  # the margin under the band stays empty


def test_thresholds_that_accept_nothing_or_everything_are_drawn() -> None:
    for accept_at, reject_at in [(1.0000001, 0.05), (0.06, 0.05), (0.0, 0.0), (1.0, 1.0)]:
        assert _drawn(accept_at=accept_at, reject_at=reject_at).shape[1] == WIDTH


def _drawn(**changed: object) -> np.ndarray:
    image = decode(signature("ada"))
    compared = Compared((0, 0, 600, 240), image, question_ink(image, (0, 0, 600, 240)), "is Ada's", 0.5)
    plain: dict[str, object] = {
        "verification_id": "ver_0123456789abcdef01234567",
        "account_id": "4711",
        "outcome": "refer",
        "reasons": ["below_accept"],
        "accept_at": 0.74,
        "reject_at": 0.04,
        "passing": 0.05,
        "failing": 0.33,
        "model_version": "1.2.0",
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "asked": "signed on 2026-11-22",
        "image": image,
        "signatures": [compared],
    }
    made = draw(Evidence(**(plain | changed)))  # type: ignore[arg-type]
    return cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_COLOR)


def _agreement(picture: np.ndarray) -> float:
    """Share of the ink laid over the other that is dark, in the tile where that is drawn."""
    tile = picture[:, -424:-24][150:360].astype(int)
    inked = tile.min(axis=2) < 128
    dark = tile.max(axis=2) < 80
    return float((inked & dark).sum() / max(inked.sum(), 1))
