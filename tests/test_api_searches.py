import base64

import httpx
import pytest

from tests.support.images import signature
from tests.support.world import World, parts


def test_a_search_finds_the_customer_it_was_just_enrolled_under(world: World) -> None:
    customer = world.enrol(world.new_id(), signature("searched"))

    answer = world.api.post("/v1/searches", files=parts("image", signature("searched")))

    assert answer.status_code == 200
    assert answer.json()["model_version"] == world.product.encoder.model_version
    assert {
        "customer_id": customer["customer_id"],
        "specimen_id": customer["specimens"][0]["specimen_id"],
        "score": pytest.approx(world.score(signature("searched"), signature("searched")), abs=1e-5),
    } in answer.json()["items"]


def test_each_customer_is_one_row_with_the_best_specimen_best_first(api: httpx.Client) -> None:
    for writer in ("ada", "bruno", "clara"):
        images = parts("specimen", signature(writer, 1), signature(writer))
        api.post("/v1/customers", data={"customer_id": writer}, files=images).raise_for_status()
    for item in api.get("/v1/customers").json()["items"]:
        for specimen in item["specimens"]:
            if specimen["status"] == "pending":
                path = f"/v1/customers/{item['customer_id']}/specimens/{specimen['specimen_id']}/confirmation"
                api.post(path).raise_for_status()

    hits = api.post("/v1/searches", files=parts("image", signature("bruno"))).json()["items"]

    scores = [hit["score"] for hit in hits]
    assert {hit["customer_id"] for hit in hits} == {"ada", "bruno", "clara"}
    assert len(hits) == 3
    assert scores == sorted(scores, reverse=True)
    best = api.get("/v1/customers/bruno").json()["specimens"][1]["specimen_id"]
    assert (hits[0]["customer_id"], hits[0]["specimen_id"]) == ("bruno", best)


def test_a_search_answers_at_most_as_many_as_asked(api: httpx.Client) -> None:
    for number in range(12):
        api.post(
            "/v1/customers", data={"customer_id": f"c{number}"}, files=parts("specimen", signature(number))
        ).raise_for_status()

    def found(**fields: str) -> list[str]:
        answer = api.post("/v1/searches", data=fields, files=parts("image", signature(3)))
        return [hit["customer_id"] for hit in answer.json()["items"]]

    assert len(found()) == 10
    assert len(found(limit="12")) == len(found(limit="100")) == 12
    assert found(limit="1") == ["c3"]


def test_a_search_among_nobody_finds_nobody(api: httpx.Client) -> None:
    assert api.post("/v1/searches", files=parts("image", signature("ada"))).json()["items"] == []


def test_json_with_base64_searches_the_same_as_a_form(world: World) -> None:
    world.enrol(world.new_id(), signature("searched"))
    encoded = base64.b64encode(signature("searched")).decode()

    by_json = world.api.post("/v1/searches", json={"image": encoded, "limit": 100})

    assert by_json.json()["items"] == world.search(signature("searched"), limit=100)


def test_a_removed_customer_is_never_found_again(world: World) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("leaver"))
    assert customer_id in world.found(signature("leaver"))

    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    assert customer_id not in world.found(signature("leaver"))


def test_a_removed_specimen_is_never_found_again(world: World) -> None:
    customer = world.enrol(world.new_id(), signature("withdrawn"))
    path = f"/v1/customers/{customer['customer_id']}/specimens/{customer['specimens'][0]['specimen_id']}"

    world.api.delete(path).raise_for_status()

    assert customer["customer_id"] not in world.found(signature("withdrawn"))


@pytest.mark.parametrize("dates", [{"valid_to": "2020-01-01"}, {"valid_from": "2999-01-01"}])
def test_a_specimen_that_is_not_valid_today_is_not_found(world: World, dates: dict[str, str]) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("expired"), **dates)

    assert customer_id not in world.found(signature("expired"))


def test_a_customer_is_found_by_the_specimen_that_is_valid_today(world: World) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("renewed"), valid_to="2020-01-01")
    with world.trusting():
        (valid,) = world.add(customer_id, signature("renewed", 1))

    hits = {hit["customer_id"]: hit["specimen_id"] for hit in world.search(signature("renewed"))}

    assert hits[customer_id] == valid["specimen_id"]


def test_a_search_stores_nothing(world: World) -> None:
    before = world.counts()

    world.search(signature("ada"))

    assert world.counts() == before
