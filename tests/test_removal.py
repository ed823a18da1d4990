import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from service.models import (
    Candidate,
    Customer,
    FoundSignature,
    IdempotentRequest,
    IdempotentSubject,
    Receipt,
    Signatory,
    Specimen,
    Template,
    TemplateChange,
)
from tests.support.images import signature
from tests.support.server import Server
from tests.support.world import World, parts


def test_a_removal_answers_with_a_receipt_of_what_went(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    with world.trusting():
        world.enrol(
            customer_id, signature("ada"), signature("ada", 1), accounts=[account], headers={"Idempotency-Key": "k1"}
        )
    world.verify(account, signature("ada"))

    answer = world.api.delete(f"/v1/customers/{customer_id}")

    assert answer.status_code == 200
    receipt = answer.json()
    assert receipt == {
        "receipt_id": receipt["receipt_id"],
        "erased_at": receipt["erased_at"],
        "counts": {
            "customers": 1,
            "specimens": 2,
            "images": 2,
            "templates": 2,
            "questioned_images": 1,
            "questioned_signatures": 1,
            "verifications": 1,
            "notes": 0,
            "signatory_entries": 1,
            "stored_answers": 1,
        },
        "signature": receipt["signature"],
        "key_id": receipt["key_id"],
    }
    assert receipt["signature"]
    assert receipt["key_id"]
    assert receipt["erased_at"].endswith("Z")
    with world.product.database.reading() as session:
        kept = session.scalars(select(Receipt).where(Receipt.receipt_id == receipt["receipt_id"])).one()
    assert kept.counts == receipt["counts"]


def test_nothing_of_a_leaver_is_left_in_any_row(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account], headers={"Idempotency-Key": world.new_id()})
    world.verify(account, signature("ada"))
    with world.product.database.reading() as session:
        person = session.scalars(select(Customer).order_by(Customer.id.desc())).first()
        assert person is not None
        specimens = session.scalars(select(Specimen.id).where(Specimen.customer_id == person.id)).all()
        vectors = session.scalars(select(Template.vector_id).where(Template.specimen_id.in_(specimens))).all()
    assert vectors
    assert set(vectors) <= world.product.index.vector_ids() | _announced(world)

    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    with world.product.database.reading() as session:
        assert session.get(Customer, person.id) is None
        assert not session.scalars(select(Specimen.id).where(Specimen.id.in_(specimens))).all()
        assert not session.scalars(select(Template.vector_id).where(Template.vector_id.in_(vectors))).all()
        for row in (Candidate, FoundSignature, Signatory):
            assert not session.scalars(select(row.id).where(row.customer_id == person.id)).all()
        for row in (Candidate, FoundSignature):
            assert not session.scalars(select(row.id).where(row.specimen_id.in_(specimens))).all()
        assert not session.scalars(select(IdempotentSubject).where(IdempotentSubject.owner == person.owner)).all()
    world.product.index.catch_up()
    assert not world.product.index.vector_ids() & set(vectors)


def test_a_removal_empties_the_stored_answers_that_name_the_leaver(world: World) -> None:
    customer_id, key = world.new_id(), {"Idempotency-Key": world.new_id()}
    image = signature("found and gone")
    world.enrol(customer_id, image, headers=key)
    searched = world.api.post("/v1/searches", files=parts("image", image), headers=key)
    assert customer_id in searched.text

    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    with world.product.database.reading() as session:
        stored = session.scalars(select(IdempotentRequest).order_by(IdempotentRequest.id.desc()).limit(2)).all()
    assert [(row.state, row.sealed, row.nonce) for row in stored] == [("erased", None, None)] * 2


def test_a_past_verification_keeps_its_outcome_without_the_person(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account])
    before = world.verify(account, signature("ada"))

    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    after = world.api.get(f"/v1/verifications/{before['verification_id']}").json()
    nobody = {"customer_id": None, "specimen_id": None, "score": before["score"]}
    assert after == before | {
        "signatures": [{"box": before["signatures"][0]["box"], **nobody}],
        "candidates": [nobody],
    }


def test_no_mandate_holds_a_leaver_back(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"))
    for group in ("A", "B"):  # the first version becomes history
        entry = {"customer_id": customer_id, "group": group}
        mandate = {"signatories": [entry], "always_refer": True}
        world.api.put(f"/v1/accounts/{account}", json=mandate).raise_for_status()

    answer = world.api.delete(f"/v1/customers/{customer_id}")

    assert answer.status_code == 200
    assert answer.json()["counts"]["signatory_entries"] == 2
    shown = world.api.get(f"/v1/accounts/{account}").json()
    assert (shown["signatories"], shown["always_refer"]) == ([], True)


def test_the_places_of_a_leaver_keep_one_pseudonym(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("ada"), accounts=[account, world.new_id()])
    with world.product.database.reading() as session:
        places = session.scalars(select(Signatory.id).order_by(Signatory.id.desc()).limit(2)).all()

    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    with world.product.database.reading() as session:
        pseudonyms = session.scalars(select(Signatory.pseudonym).where(Signatory.id.in_(places))).all()
    assert len(pseudonyms) == 2
    assert len(set(pseudonyms)) == 1
    assert None not in pseudonyms


def test_a_leaver_is_not_verified_found_or_shown(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    world.enrol(customer_id, signature("a leaver"), accounts=[account])

    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    verification = world.api.post(
        f"/v1/accounts/{account}/verifications", files=parts("image", signature("a leaver"))
    )
    assert (verification.status_code, verification.json()["code"]) == (409, "account_not_enrolled")
    assert customer_id not in world.found(signature("a leaver"))
    shown = world.api.get(f"/v1/customers/{customer_id}")
    assert (shown.status_code, shown.json()["code"]) == (404, "customer_not_found")


def test_the_others_on_the_account_stay(world: World) -> None:
    leaver, colleague, account = world.new_id(), world.new_id(), world.new_id()
    world.enrol(leaver, signature("ada"), accounts=[account])
    world.enrol(colleague, signature("bruno"), accounts=[account])

    world.api.delete(f"/v1/customers/{leaver}").raise_for_status()

    verification = world.verify(account, signature("bruno"))
    assert [candidate["customer_id"] for candidate in verification["candidates"]] == [colleague]


def test_the_id_of_a_leaver_is_free_again_and_begins_anew(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    first = world.enrol(customer_id, signature("ada"), accounts=[account])
    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    second = world.enrol(customer_id, signature("bruno"))

    assert second["account_ids"] == []
    assert second["specimens"][0]["specimen_id"] != first["specimens"][0]["specimen_id"]
    assert len(second["specimens"]) == 1


def test_of_two_removals_at_once_one_finds_the_customer(world: World) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: world.api.delete(f"/v1/customers/{customer_id}"), range(4)))

    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]


def test_removing_a_specimen_takes_its_image_and_vectors_and_leaves_the_rest(world: World) -> None:
    customer_id, account = world.new_id(), world.new_id()
    with world.trusting():
        customer = world.enrol(customer_id, signature("ada"), signature("ada", 1), accounts=[account])
    gone, kept = (specimen["specimen_id"] for specimen in customer["specimens"])
    before = world.verify(account, signature("ada"))

    answer = world.api.delete(f"/v1/customers/{customer_id}/specimens/{gone}")

    assert answer.status_code == 200
    assert answer.json()["counts"] == {"specimens": 1, "images": 1, "templates": 1, "stored_answers": 0}
    shown = world.api.get(f"/v1/customers/{customer_id}").json()
    assert [specimen["specimen_id"] for specimen in shown["specimens"]] == [kept]
    assert world.verify(account, signature("ada"))["signatures"][0]["specimen_id"] == kept
    past = world.api.get(f"/v1/verifications/{before['verification_id']}").json()
    assert (past["signatures"][0]["specimen_id"], past["signatures"][0]["customer_id"]) == (None, customer_id)


def test_a_removal_that_fails_halfway_removes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    customer_id, account = world.new_id(), world.new_id()
    customer = world.enrol(customer_id, signature("ada"), accounts=[account])
    before = world.counts()

    def broken(*_given: object, **_named: object) -> None:
        raise RuntimeError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr("service.removal.record", broken)
        answer = world.api.delete(f"/v1/customers/{customer_id}")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert world.counts() == before
    assert world.api.get(f"/v1/customers/{customer_id}").json() == customer
    assert customer_id in world.found(signature("ada"))


def test_an_id_and_a_name_are_never_in_clear_in_a_file_or_a_log(server_of_one_megabyte: Server) -> None:
    customer_id, name, account = "findable-7f3a", "Findable Person", "account-1"
    with server_of_one_megabyte.client() as api:
        customer = api.post(
            "/v1/customers",
            data={"customer_id": customer_id, "name": name, "account_id": account},
            files=parts("specimen", signature("ada")),
            headers={"Idempotency-Key": f"enrol-{customer_id}"},
        )
        assert customer.status_code == 201
        specimen_id = customer.json()["specimens"][0]["specimen_id"]
        for method, path in [
            ("GET", f"/v1/customers/{customer_id}"),
            ("PATCH", f"/v1/customers/{customer_id}"),
            ("GET", f"/v1/customers/{customer_id}/nothing"),
            ("DELETE", f"/v1/customers/{customer_id}/specimens/none"),
            ("POST", f"/v1/customers/{customer_id}/specimens/{specimen_id}/confirmation"),
        ]:
            api.request(method, path)
        api.put(f"/v1/accounts/{account}", json={"signatories": [{"customer_id": customer_id}]}).raise_for_status()
        api.post(f"/v1/accounts/{account}/verifications", files=parts("image", signature("ada"))).raise_for_status()
        api.post("/v1/searches", files=parts("image", signature("ada"))).raise_for_status()
        assert not _clear(server_of_one_megabyte.folder, customer_id, name, signature("ada"))

        api.delete(f"/v1/customers/{customer_id}", headers={"Idempotency-Key": "k"}).raise_for_status()

        assert not _clear(server_of_one_megabyte.folder, customer_id, name, signature("ada"))
    searched = {path.name for path in _files(server_of_one_megabyte.folder)}
    assert {"countersign.db", "countersign.db-wal", "server.log"} <= searched
    assert re.search(r'"route": "/v1/customers/<customer_id>", "status": 200', server_of_one_megabyte.log())


def _clear(folder: Path, *secrets: str | bytes) -> list[tuple[str, str | bytes]]:
    """Which file holds which of the secrets."""
    needles = [(secret, secret.encode() if isinstance(secret, str) else secret[40:80]) for secret in secrets]
    return [
        (path.name, secret) for path in _files(folder) for secret, needle in needles if needle in path.read_bytes()
    ]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _announced(world: World) -> set[int]:
    with world.product.database.reading() as session:
        return set(session.scalars(select(TemplateChange.vector_id).where(TemplateChange.op == "add")))
