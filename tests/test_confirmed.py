"""A signature that a person has accepted becomes a further specimen when somebody asks for it, with every doubt."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import select

from service.models import Event, Specimen
from service.vault import SealedValue
from tests.support.images import on_a_page, signature
from tests.support.referrals import Referral, accept, code, decide, refer, refer_again
from tests.support.world import Answer, World

QUESTIONED = signature("ada", 1)


@pytest.fixture
def accepted(world: World) -> Referral:
    referral = refer(world, QUESTIONED, specimen=signature("ada"))
    accept(world, referral)
    return referral


def test_an_accepted_signature_becomes_a_specimen_and_counts(world: World, accepted: Referral) -> None:
    with world.trusting():
        answer = _enrol(world, accepted, valid_to="2090-12-31")

    assert answer.status_code == 201
    specimen = answer.json()
    assert _specimens(world, accepted)[1:] == [specimen]
    assert (specimen["status"], specimen["valid_to"]) == ("active", "2090-12-31")
    assert _image(world, specimen) == QUESTIONED
    (signed,) = world.verify(accepted.account_id, QUESTIONED)["signatures"]
    assert signed["specimen_id"] == specimen["specimen_id"]


def test_no_decision_makes_a_specimen_by_itself(world: World, accepted: Referral) -> None:
    assert len(_specimens(world, accepted)) == 1


def test_one_that_looks_like_somebody_elses_stays_pending(world: World) -> None:
    referral = refer(world, signature("bruno"), specimen=signature("ada"))
    accept(world, referral)

    with world.thresholds_between(signature("ada"), signature("bruno")):
        specimen = _enrol(world, referral).json()

    assert (specimen["status"], specimen["quality"]["ok"]) == ("pending", False)
    assert "specimen_inconsistent" in specimen["quality"]["codes"]


def test_of_a_larger_image_what_lies_in_the_box_is_enrolled(world: World) -> None:
    page, box = on_a_page(QUESTIONED, left=311, top=420)
    first = refer(world, signature("ada"))
    referral = refer_again(world, first, page, box=",".join(map(str, box)))
    accept(world, referral)

    with world.trusting():
        specimen = _enrol(world, referral).json()

    cut = world.product.encoder.read(_image(world, specimen))
    assert cut.size == box[2:]
    assert cut.vector == pytest.approx(world.product.encoder.read(QUESTIONED).vector)


def test_only_what_a_person_has_accepted_is_enrolled(world: World) -> None:
    account = world.new_id()
    world.enrol(world.new_id(), signature("ada"), accounts=[account])
    by_machine = Referral(world.verify(account, signature("ada"))["verification_id"], "", account)
    undecided = refer(world, signature("ada"))
    rejected = refer_again(world, undecided, signature("ada"))
    accept(world, rejected, "reject")

    for one in (by_machine, undecided, rejected):
        assert code(_enrol(world, one)) == (409, "verification_not_accepted")
    assert code(_enrol(world, Referral("ver_0", "", ""))) == (404, "verification_not_found")


def test_without_the_image_there_is_nothing_to_enrol(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.product, "settings", world.settings.model_copy(update={"evidence": "none"}))
    referral = refer(world, signature("ada"))
    accept(world, referral)

    assert code(_enrol(world, referral)) == (404, "evidence_not_found")


@pytest.mark.parametrize("position", [1, -1, "first"])
def test_a_position_without_a_signature_is_refused(world: World, accepted: Referral, position: object) -> None:
    answer = _enrol(world, accepted, position=position)

    assert code(answer) == (422, "invalid_field")
    assert [error["field"] for error in answer.json()["errors"]] == ["position"]


def test_the_signature_of_somebody_erased_is_not_enrolled(world: World, accepted: Referral) -> None:
    world.api.delete(f"/v1/customers/{accepted.customer_id}").raise_for_status()
    world.enrol(accepted.customer_id, signature("the id is another's now"))

    assert code(_enrol(world, accepted)) == (409, "signature_not_assigned")


def test_an_erasure_between_reading_and_writing_leaves_no_specimen(
    world: World, accepted: Referral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id may even be somebody else's by then."""
    read = world.product.encoder.read

    def erase_first(image: bytes) -> object:
        monkeypatch.undo()
        world.api.delete(f"/v1/customers/{accepted.customer_id}").raise_for_status()
        world.enrol(accepted.customer_id, signature("the id is another's now"))
        return read(image)

    monkeypatch.setattr(world.product.encoder, "read", erase_first)

    assert code(_enrol(world, accepted)) == (404, "customer_not_found")
    assert len(_specimens(world, accepted)) == 1


def test_a_signature_is_enrolled_once_unless_its_specimen_was_removed(world: World, accepted: Referral) -> None:
    with world.trusting():
        specimen = _enrol(world, accepted).json()
        assert code(_enrol(world, accepted)) == (409, "signature_enrolled")
        assert len(_specimens(world, accepted)) == 2

        path = f"/v1/customers/{accepted.customer_id}/specimens/{specimen['specimen_id']}"
        world.api.delete(path).raise_for_status()
        assert _enrol(world, accepted).status_code == 201


def test_of_two_requests_at_once_one_enrols_it(world: World, accepted: Referral) -> None:
    with world.trusting(), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _enrol(world, accepted), range(4)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len(_specimens(world, accepted)) == 2


def test_a_repeated_request_is_replayed_until_the_person_is_erased(world: World, accepted: Referral) -> None:
    key = world.new_id()

    with world.trusting():
        first, second = (_enrol(world, accepted, key=key) for _ in range(2))
    world.api.delete(f"/v1/customers/{accepted.customer_id}").raise_for_status()

    assert (first.status_code, second.status_code, first.text) == (201, 201, second.text)
    assert code(_enrol(world, accepted, key=key)) == (410, "erased")


def test_it_is_an_event_that_names_the_specimen_and_nobody(world: World, accepted: Referral) -> None:
    with world.client("enrol") as person:
        answer = person.post(f"{accepted.path}/specimens", json={})

    with world.product.database.reading() as session:
        (event,) = session.scalars(
            select(Event).where(Event.subject == accepted.verification_id, Event.kind == "signature_enrolled")
        )
    assert event.details == {"position": 0, "specimen": answer.json()["specimen_id"]}


def test_reviewing_alone_does_not_allow_enrolling(world: World, accepted: Referral) -> None:
    with world.client("review") as person:
        assert code(decide(person, accepted)) == (409, "verification_closed")
        assert code(person.post(f"{accepted.path}/specimens", json={})) == (403, "missing_scope")


def _enrol(world: World, referral: Referral, *, key: str | None = None, **fields: object) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return world.api.post(f"{referral.path}/specimens", json=fields, headers=headers)


def _specimens(world: World, referral: Referral) -> list[Answer]:
    shown: list[Answer] = world.api.get(f"/v1/customers/{referral.customer_id}").json()["specimens"]
    return shown


def _image(world: World, specimen: Answer) -> bytes:
    with world.product.database.reading() as session:
        row = session.scalars(select(Specimen).where(Specimen.specimen_id == specimen["specimen_id"])).one()
        value = SealedValue(row.key_id, row.nonce, row.sealed)
        return world.product.vault.open(row.customer.owner, "specimen", value)
