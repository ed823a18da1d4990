"""`/v1/batches`, with the worker's part done in this process."""

import base64
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from service import batch_worker, batches
from service.batches import Row, RowTaken
from service.errors import Refused
from service.models import Batch, BatchRow, Event, Job
from service.product import Product
from service.settings import Settings
from tests.support import images
from tests.support.images import signature
from tests.support.world import World, wait_until

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)

Named = dict[str, bytes]


def manifest(*rows: Sequence[str], columns: str = "account_id,image") -> bytes:
    return "\n".join([columns, *(",".join(row) for row in rows), ""]).encode()


def form(csv: bytes, named: Named) -> list[tuple[str, Any]]:
    sent = [("image", (name, image, "image/png")) for name, image in named.items()]
    return [("manifest", ("monday.csv", csv, "text/csv")), *sent]


def send(api: httpx.Client, csv: bytes, named: Named, **headers: str) -> dict[str, Any]:
    answer = api.post("/v1/batches", files=form(csv, named), headers=headers)
    assert answer.status_code == 202, answer.text
    batch: dict[str, Any] = answer.json()
    return batch


def problems(world: World, csv: bytes, named: Named) -> list[tuple[str, str]]:
    before = world.counts()
    answer = world.api.post("/v1/batches", files=form(csv, named))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert world.counts() == before
    return [(error["field"], error["problem"]) for error in answer.json()["errors"]]


def work(product: Product, worker: str = "tester") -> int:
    return batch_worker.advance(product, worker, threading.Event())


def shown(api: httpx.Client, batch: dict[str, Any], **query: Any) -> dict[str, Any]:
    answer = api.get(f"/v1/batches/{batch['batch_id']}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def account(world: World) -> str:
    """Two people may sign on it; nobody leaves it."""
    return new_account(world)


def new_account(world: World) -> str:
    """One like the other, for other people with the same specimens: what was asked on one is no copy on the other."""
    account = world.new_id()
    with world.trusting():
        world.enrol(world.new_id("ada"), signature("ada"), signature("ada", 1), accounts=[account])
        world.enrol(world.new_id("ben"), signature("ben"), accounts=[account])
    return account


def answered(verification: dict[str, Any]) -> dict[str, Any]:
    """Without what differs between two accounts that are alike."""
    varies = {"verification_id", "account_id", "created_at", "timings_ms", "signatures", "candidates"}
    found = {key: value for key, value in verification.items() if key not in varies}
    signatures = [(seen["box"], seen["score"]) for seen in verification["signatures"]]
    return found | {"signatures": signatures, "scores": [one["score"] for one in verification["candidates"]]}


def rows_of(world: World, batch: dict[str, Any]) -> list[BatchRow]:
    with world.product.database.reading() as session:
        mine = select(BatchRow).join(Batch).where(Batch.batch_id == batch["batch_id"]).order_by(BatchRow.position)
        return list(session.scalars(mine))


def test_a_batch_answers_what_each_question_alone_is_answered(world: World) -> None:
    account, twin = new_account(world), new_account(world)
    asked = [
        ("own.png", signature("ada", 2), {}),
        ("other.png", signature("zoe"), {"amount": "12.50", "currency": "EUR", "reference": "chq 7"}),
        ("strict.png", signature("ben", 1), {"target_far": "0.05", "signed_on": "2026-01-31"}),
        ("blank.png", images.blank_page(), {}),
        ("text.png", images.text(), {}),
        ("boxed.png", signature("ada", 3), {"box": "0,0,300,200"}),
        ("odd.png", signature("ada", 4), {"amount": "1,50", "currency": "euro"}),
    ]
    columns = ["amount", "currency", "signed_on", "reference", "target_far", "box"]
    lines = [[account, name, *(f'"{fields.get(column, "")}"' for column in columns)] for name, _, fields in asked]
    alone = [
        world.api.post(
            f"/v1/accounts/{twin}/verifications", data=fields, files=[("image", ("a.png", image, "image/png"))]
        ).json()
        for _, image, fields in asked
    ]

    batch = send(
        world.api,
        manifest(*lines, columns=",".join(["account_id", "image", *columns])),
        {name: image for name, image, _ in asked},
    )
    assert (batch["state"], batch["total"], batch["done"], batch["failed"]) == ("running", 7, 0, 1)
    work(world.product)

    found = shown(world.api, batch)
    assert [row["problem"] for row in found["items"]] == [answer.get("code") for answer in alone]
    assert found["items"][6]["at_fault"] == ["amount", "currency"]
    assert [row["at_fault"] for row in found["items"][:6]] == [[]] * 6
    done = [row for row in found["items"] if row["state"] == "done"]
    failed = [row for row in found["items"] if row["state"] == "failed"]
    assert (found["state"], found["done"], found["failed"]) == ("done", len(done), len(failed))
    assert len(done) >= 3
    for row in done:
        made = world.api.get(f"/v1/verifications/{row['verification_id']}").json()
        own = alone[row["position"] - 1]
        assert answered(made) == answered(own)
        assert (row["outcome"], row["score"], row["reasons"]) == (own["outcome"], own["score"], own["reasons"])
        assert (row["account_id"], row["reference"]) == (account, own["reference"])


def test_a_form_and_json_are_the_same_request(world: World, account: str) -> None:
    csv, named = manifest([account, "a.png"]), {"a.png": signature("ada", 2)}
    key = world.new_id("key")

    first = send(world.api, csv, named, **{"Idempotency-Key": key})
    again = world.api.post(
        "/v1/batches",
        json={
            "manifest": base64.b64encode(csv).decode(),
            "images": [{"name": "a.png", "content": base64.b64encode(named["a.png"]).decode()}],
        },
        headers={"Idempotency-Key": key},
    )
    other = world.api.post(
        "/v1/batches", files=form(csv, {"a.png": signature("ben")}), headers={"Idempotency-Key": key}
    )

    assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (202, first, "true")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    assert len(rows_of(world, first)) == 1


def test_images_are_sealed_while_they_wait_and_gone_when_they_are_done(world: World, account: str) -> None:
    image = signature("ada", 2)
    batch = send(world.api, manifest([account, "a.png"], ["nobody", "b.png"]), {"a.png": image, "b.png": image})

    with world.product.database.asking() as connection:
        sealed = connection.scalars(select(BatchRow.sealed).join(Batch).where(Batch.batch_id == batch["batch_id"]))
        assert [value is not None and image not in value for value in sealed] == [True, True]
    work(world.product)

    with world.product.database.asking() as connection:
        left = select(BatchRow.key_id, BatchRow.nonce, BatchRow.sealed).join(Batch)
        found = connection.execute(left.where(Batch.batch_id == batch["batch_id"])).all()
    assert [tuple(row) for row in found] == [(None, None, None)] * 2


def test_rows_of_who_left_meanwhile_have_a_problem_and_the_others_an_answer(world: World, account: str) -> None:
    leaver, alone, closed = world.new_id(), world.new_id(), world.new_id()
    world.enrol(leaver, signature("cyd"), accounts=[alone])
    world.enrol(world.new_id(), signature("dee"), accounts=[closed])
    named = {f"{name}.png": signature("cyd", 1) for name in "abcd"}
    batch = send(
        world.api,
        manifest([account, "a.png"], [alone, "b.png"], [closed, "c.png"], [world.new_id(), "d.png"]),
        named,
    )

    assert world.api.delete(f"/v1/customers/{leaver}").status_code == 200
    assert world.api.delete(f"/v1/accounts/{closed}").status_code in {200, 204}
    work(world.product)

    assert [row["problem"] for row in shown(world.api, batch)["items"]] == [
        None,
        "account_not_enrolled",
        "account_not_found",
        "account_not_found",
    ]


def test_workers_that_come_at_once_answer_each_row_once(world: World, account: str) -> None:
    named = {f"{number}.png": signature("ada", number) for number in range(6)}
    made = [
        send(
            world.api, manifest(*([account, name] for name in list(named)[start:])), dict(list(named.items())[start:])
        )
        for start in range(3)
    ]
    before = world.counts()["verifications"]
    together = threading.Barrier(3)

    def together_work(worker: str) -> int:
        together.wait(20)
        return sum(work(world.product, worker) for _ in range(5))

    with ThreadPoolExecutor(3) as pool:
        answered = sum(pool.map(together_work, ["one", "two", "three"]))

    assert answered == 6 + 5 + 4 == world.counts()["verifications"] - before
    assert [shown(world.api, batch)["state"] for batch in made] == ["done"] * 3
    with world.product.database.reading() as session:
        assert session.scalars(select(Job.name).where(Job.name.like("batch-%"))).all() == []


def test_a_row_that_two_have_taken_is_kept_by_the_first_alone(world: World, account: str) -> None:
    image = signature("ada", 2)
    batch = send(world.api, manifest([account, "a.png"]), {"a.png": image})
    (kept,) = rows_of(world, batch)
    row = Row(kept.id, kept.batch_id, "tester", False, kept.fields)
    batches.answer(world.product, row, lambda: image)
    before = world.counts()

    with pytest.raises(RowTaken):
        batches.answer(world.product, row, lambda: image)

    assert world.counts() == before
    assert (shown(world.api, batch)["done"], shown(world.api, batch)["state"]) == (1, "done")


def test_another_worker_leaves_a_leased_batch_alone_until_the_lease_ends(world: World, account: str) -> None:
    batch = send(world.api, manifest([account, "a.png"]), {"a.png": signature("ada", 2)})
    job = f"batch-{rows_of(world, batch)[0].batch_id}"
    assert batch_worker.jobs.lease(world.product.database, job, "dead", batch_worker.LEASE)

    assert work(world.product) == 0
    with world.product.database.writing() as session:
        session.execute(
            update(Job).where(Job.name == job).values(leased_until=datetime.now(UTC) - timedelta(seconds=1))
        )
    assert shown(world.api, batch)["done"] == 0
    assert work(world.product) == 1


def test_rows_wait_while_the_model_gives_no_answer(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = send(world.api, manifest([account, "a.png"]), {"a.png": signature("ada", 2)})

    def away(*_: object) -> None:
        raise Refused("tower_unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(batches.question, "read", away)
        assert work(world.product) == 0
    assert shown(world.api, batch)["items"][0]["state"] == "waiting"
    work(world.product)
    assert shown(world.api, batch)["items"][0]["state"] == "done"


def test_a_row_that_breaks_does_not_hold_up_the_others(
    world: World, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"a.png": signature("ada", 2), "b.png": signature("ada", 3)}
    batch = send(world.api, manifest([account, "a.png"], [account, "b.png"]), named)
    read = batches.question.read

    def breaks_on_the_first(encoder: Any, asked: Any) -> Any:
        if asked.image == named["a.png"]:
            raise ZeroDivisionError
        return read(encoder, asked)

    monkeypatch.setattr(batches.question, "read", breaks_on_the_first)
    work(world.product)

    assert [row["problem"] for row in shown(world.api, batch)["items"]] == ["internal_error", None]


def test_a_batch_of_rows_that_cannot_be_asked_is_done_at_once(world: World, account: str) -> None:
    csv = manifest([account, "a.png", "many"], columns="account_id,image,amount")

    batch = send(world.api, csv, {"a.png": signature("ada")})

    assert (batch["state"], batch["failed"]) == ("done", 1)
    assert batch["finished_at"] is not None
    assert rows_of(world, batch)[0].key_id is None


@ON_SQLITE
@pytest.mark.parametrize(
    ("csv", "named", "problem"),
    [
        (b"account_id,image\n1,../a.png\n", "a.png", ("manifest", "line 2: no such image was sent")),
        (b"account_id,image\n1,a.png\n2,b.png\n", "a.png", ("manifest", "line 3: no such image was sent")),
        (b"account_id,image\n1,a.png\n2,a.png\n", "a.png", ("manifest", "line 3: a row above names the same image")),
        (b"account_id,image\n1,a.png\n", "a.png b.png", ("images", "1 images are named by no row")),
        (b"account_id,image\n", "a.png", ("manifest", "there are no rows below the header")),
        (b"image\na.png\n", "a.png", ("manifest", "line 1: the column account_id is missing")),
        (b"", "a.png", ("manifest", "the file is empty; its first line names the columns: ")),
    ],
)
def test_a_manifest_that_does_not_fit_its_images_is_refused_as_a_whole(
    world: World, csv: bytes, named: str, problem: tuple[str, str]
) -> None:
    (found,) = problems(world, csv, dict.fromkeys(named.split(), signature("ada")))

    assert found[0] == problem[0]
    assert found[1].startswith(problem[1])


@ON_SQLITE
def test_two_images_of_one_name_are_refused(world: World) -> None:
    twice = [*form(manifest(["1", "a.png"]), {"a.png": signature("ada")}), ("image", ("a.png", b"x", "image/png"))]

    answer = world.api.post("/v1/batches", files=twice)

    assert answer.json()["errors"] == [{"field": "images", "problem": "two images have the same file name"}]


@ON_SQLITE
def test_a_batch_may_have_more_images_than_other_forms_have_parts(world: World) -> None:
    names = [f"{number}.png" for number in range(150)]

    batch = send(world.api, manifest(*(["nobody", name] for name in names)), dict.fromkeys(names, b"x"))

    assert batch["total"] == 150
    while work(world.product):
        pass
    assert shown(world.api, batch)["failed"] == 150


def test_who_verifies_sees_own_batches_and_who_reviews_all(world: World, account: str) -> None:
    with world.client("verify") as one, world.client("verify") as two, world.client("verify", "review") as reviewer:
        own = send(one, manifest([account, "a.png"]), {"a.png": signature("ada", 2)})
        work(world.product)

        assert [batch["batch_id"] for batch in one.get("/v1/batches").json()["items"]] == [own["batch_id"]]
        assert two.get("/v1/batches").json()["items"] == []
        assert own["batch_id"] in {batch["batch_id"] for batch in reviewer.get("/v1/batches").json()["items"]}
        refused = two.get(f"/v1/batches/{own['batch_id']}")
        assert (refused.status_code, refused.json()["code"]) == (404, "batch_not_found")
        (rounded,), (exact,) = shown(one, own)["items"], shown(reviewer, own)["items"]

    assert rounded["score"] == round(exact["score"], 2) != exact["score"]
    assert {**rounded, "score": None} == {**exact, "score": None}


def test_batches_and_their_rows_come_in_pages(world: World) -> None:
    with world.client("verify") as api:
        names = [f"{number}.png" for number in range(5)]
        made = [
            send(api, manifest(*(["nobody", name] for name in names)), dict.fromkeys(names, b"x"))["batch_id"]
            for _ in range(3)
        ]

        first = api.get("/v1/batches", params={"limit": 2}).json()
        second = api.get("/v1/batches", params={"limit": 2, "cursor": first["next_cursor"]}).json()
        assert [batch["batch_id"] for batch in first["items"] + second["items"]] == made[::-1]
        assert second["next_cursor"] is None

        positions, cursor = [], None
        while True:
            page = shown(api, {"batch_id": made[0]}, limit=2, **({"cursor": cursor} if cursor else {}))
            positions += [row["position"] for row in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert positions == [1, 2, 3, 4, 5]


def test_a_batch_leaves_events_of_who_asked_for_it(world: World, account: str) -> None:
    batch = send(world.api, manifest([account, "a.png"]), {"a.png": signature("ada", 2)})
    work(world.product)

    with world.product.database.reading() as session:
        mine = session.scalars(select(Event).where(Event.subject == batch["batch_id"]).order_by(Event.id)).all()
        (row,) = shown(world.api, batch)["items"]
        verified = session.scalars(select(Event).where(Event.subject == row["verification_id"])).one()
    assert [(event.kind, event.details) for event in mine] == [
        ("batch_created", {"rows": 1}),
        ("batch_done", {"done": 1, "failed": 0}),
    ]
    assert {event.actor for event in mine} == {verified.actor}


def test_a_worker_works_on_batches_until_it_is_stopped(
    settings: Settings, product: Product, api: httpx.Client
) -> None:
    stopped = threading.Event()
    thread = batch_worker.Batches(settings, "tester", stopped)
    thread.start()
    try:
        batch = send(api, manifest(["nobody", "a.png"]), {"a.png": signature("ada")})
        wait_until(lambda: shown(api, batch)["state"] == "done")
    finally:
        stopped.set()
        thread.join(20)

    assert not thread.is_alive()
