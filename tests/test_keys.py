"""API keys end, are replaced without their holder's noticing, and tell when they were used last."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import event, select, update

from service import access
from service.access import identify, rotate_key
from service.models import ApiKey
from tests.support.images import signature
from tests.support.world import World, parts
from tests.test_cli import Operator, operator  # noqa: F401 (a fixture)

HOUR = timedelta(hours=1)


@pytest.fixture
def key(world: World) -> str:
    return world.key("enrol", "verify")


def kept(world: World, key: str) -> ApiKey:
    with world.product.database.reading() as session:
        return session.scalars(select(ApiKey).where(ApiKey.key_id == key.split("_")[1])).one()


def change(world: World, key: str, **values: object) -> None:
    with world.product.database.writing() as session:
        session.execute(update(ApiKey).where(ApiKey.key_id == key.split("_")[1]).values(**values))


def caller(world: World, key: str) -> access.Caller | None:
    with world.product.database.asking() as connection:
        return identify(connection, key)


def rotate(world: World, key: str, overlap: timedelta = HOUR, lasting: timedelta | None = None) -> str | None:
    with world.product.database.writing() as session:
        return rotate_key(session, key.split("_")[1], overlap, lasting)


def status(world: World, key: str) -> int:
    with world.client() as anybody:
        return anybody.get("/v1/customers", headers={"Authorization": f"Bearer {key}"}).status_code


def test_a_key_is_good_until_it_ends_and_unauthenticated_after(world: World, key: str) -> None:
    change(world, key, expires_at=datetime.now(UTC) + HOUR)
    before = status(world, key)

    change(world, key, expires_at=datetime.now(UTC))

    assert (before, status(world, key)) == (200, 401)


def test_after_a_rotation_both_keys_work_until_the_overlap_is_over(world: World, key: str) -> None:
    change(world, key, name="branch 7")

    new = rotate(world, key)

    assert new is not None
    assert (status(world, key), status(world, new)) == (200, 200)
    assert (kept(world, new).scopes, kept(world, new).name) == (["enrol", "verify"], "branch 7")
    assert kept(world, new).expires_at is None
    ends_at = kept(world, key).expires_at
    assert ends_at is not None
    assert abs(ends_at - datetime.now(UTC) - HOUR) < timedelta(minutes=1)
    change(world, key, expires_at=datetime.now(UTC))
    assert (status(world, key), status(world, new)) == (401, 200)


def test_a_rotation_without_overlap_ends_the_old_key_at_once(world: World, key: str) -> None:
    rotate(world, key, timedelta(0))

    assert status(world, key) == 401


def test_a_rotation_never_lengthens_the_old_key(world: World, key: str) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    change(world, key, expires_at=soon)

    rotate(world, key, HOUR)

    assert kept(world, key).expires_at == soon


@pytest.mark.parametrize(("told", "expected"), [(None, timedelta(days=90)), (HOUR, HOUR)])
def test_the_new_key_lasts_as_long_as_the_old_one_was_to(
    world: World, key: str, told: timedelta | None, expected: timedelta
) -> None:
    made = kept(world, key).created_at
    change(world, key, created_at=made - timedelta(days=80), expires_at=made + timedelta(days=10))

    new = rotate(world, key, lasting=told)

    assert new is not None
    expires_at = kept(world, new).expires_at
    assert expires_at is not None
    assert abs(expires_at - datetime.now(UTC) - expected) < timedelta(minutes=1)


@pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
def test_a_key_that_has_ended_is_not_rotated(world: World, key: str, end: str) -> None:
    change(world, key, **{end: datetime.now(UTC)})

    assert rotate(world, key) is None


def test_whoever_rotates_twice_is_still_the_same_caller(world: World, key: str) -> None:
    second = rotate(world, key)
    assert second is not None
    third = rotate(world, second)
    assert third is not None

    callers = [caller(world, one) for one in (key, second, third)]

    assert {one.key_id for one in callers if one} == {key.split("_")[1]}
    assert [one.used for one in callers if one] == [one.split("_")[1] for one in (key, second, third)]


def test_a_repeated_request_is_answered_from_what_was_kept_whichever_key_repeats_it(world: World, key: str) -> None:
    new = rotate(world, key)
    account = world.new_id()
    world.enrol(world.new_id(), signature("ada"), accounts=[account])

    answers = [
        _verify(world, account, {"Authorization": f"Bearer {one}", "Idempotency-Key": account}) for one in (key, new)
    ]

    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"


def test_the_last_use_is_noted_at_most_once_a_minute_and_never_by_a_request(
    world: World, key: str, statements: list[str]
) -> None:
    assert status(world, key) == 200
    assert not [statement for statement in statements if "UPDATE api_keys" in statement]
    assert kept(world, key).last_used_at is None

    world.product.key_uses.catch_up()
    first = kept(world, key).last_used_at
    status(world, key)
    world.product.key_uses.catch_up()
    second = kept(world, key).last_used_at
    assert first is not None
    change(world, key, last_used_at=first - access.USE)
    status(world, key)
    world.product.key_uses.catch_up()
    third = kept(world, key).last_used_at

    assert first == second
    assert third is not None
    assert third > first


def test_nothing_is_written_where_no_key_was_used(world: World, statements: list[str]) -> None:
    world.product.key_uses.catch_up()
    statements.clear()

    world.product.key_uses.catch_up()

    assert statements == []


def test_an_operator_sees_which_keys_there_are_and_no_secret(
    operator: Operator,  # noqa: F811
) -> None:
    key = operator.run("create-key", "--scopes", "enrol,verify", "--name", "branch 7", "--expires", "90d")[1].strip()
    status_, new, _ = operator.run("rotate-key", key.split("_")[1], "--overlap", "12h")
    assert status_ == 0
    assert operator.run("revoke-key", key.split("_")[1])[0] == 0

    shown = operator.run("keys")[1]

    old_line, new_line = (next(line for line in shown.splitlines() if part in line) for part in (" revoked", " live"))
    assert key.split("_")[1] in old_line
    assert new.split("_")[1] in new_line
    assert key.split("_")[1] in new_line  # the same caller as
    assert "branch 7" in new_line
    assert f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%d}" in new_line
    assert not [secret for secret in (key, new.strip()) if secret.split("_", 2)[2] in shown]


@pytest.mark.parametrize("span", ["", "90", "d", "-1d", "1.5h", "forever", "1w"])
def test_a_span_that_cannot_be_read_makes_no_key(operator: Operator, span: str) -> None:  # noqa: F811
    status_, printed, complaint = operator.run("create-key", "--scopes", "enrol", "--expires", span)

    assert (status_, printed) == (2, "")
    assert "90d, 12h or 30m" in complaint


def test_a_key_that_is_not_there_cannot_be_rotated(operator: Operator) -> None:  # noqa: F811
    assert operator.run("rotate-key", "0" * 16) == (1, "", "Error: no live key has this id\n")


@pytest.fixture
def statements(world: World) -> Iterator[list[str]]:
    """What this thread sends to the database; the product's own ticks know nothing of the uses meanwhile."""
    seen: list[str] = []
    here, ticking = threading.get_ident(), world.product.key_uses

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if threading.get_ident() == here:
            seen.append(statement)

    world.product.key_uses = access.KeyUses(world.product.database)
    event.listen(world.product.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(world.product.database.engine, "before_cursor_execute", note)
    world.product.key_uses = ticking


def _verify(world: World, account: str, headers: dict[str, str]) -> httpx.Response:
    with world.client() as anybody:
        return anybody.post(
            f"/v1/accounts/{account}/verifications", headers=headers, files=parts("image", signature("ada"))
        )
