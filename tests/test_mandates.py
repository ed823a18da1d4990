"""Which version of a mandate counts for which day."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select

from service import accounts
from service.accounts import Place
from service.customers import open_identity
from service.dates import today
from service.errors import Refused
from service.mandate import ONE_OF_ANYONE, Mandate, Rule, Signer
from service.mandates import mandates_on
from service.models import Account, Customer, Signatory
from service.models import Mandate as Version
from tests.support.images import signature
from tests.support.world import World


@pytest.fixture
def account(world: World) -> str:
    return world.new_id()


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


def test_an_account_that_nobody_made_is_not_found(world: World, account: str) -> None:
    with pytest.raises(Refused, match="account_not_found"):
        _read(world, account, today())


def test_an_account_may_have_nobody(world: World, account: str) -> None:
    _put(world, account)

    assert _read(world, account, today()) == (Mandate([ONE_OF_ANYONE], []), Mandate([ONE_OF_ANYONE], []))


def test_everything_that_was_put_is_read(world: World, account: str) -> None:
    place = Place(_person(world), "B", date(2026, 1, 1), date(2026, 12, 31), Decimal("500.50"))
    rules = [Rule("EUR", Decimal("1000.00"), [{"B": 1}])]
    with world.product.database.writing() as session:
        accounts.put_account(
            session,
            world.product.vault,
            account,
            [place],
            rules,
            always_refer=True,
            instructions=None,
            actor="test",
        )

    then, now = _read(world, account, today())

    (signer,) = now.signers
    assert signer == Signer(signer.key, "B", Decimal("500.50"), date(2026, 1, 1), date(2026, 12, 31))
    assert then == now == Mandate(rules, [signer], True)


def test_a_day_has_the_mandate_in_force_at_its_end(world: World, account: str) -> None:
    ada, bruno, carla = (_person(world) for _ in range(3))
    _put(world, account, ada)
    _age(world, account, days=10)
    _put(world, account, bruno)
    _age(world, account, days=10)
    _put(world, account, carla)

    def who_could(day: date) -> list[list[str]]:
        return [_names(world, mandate) for mandate in _read(world, account, day)]

    assert who_could(days_ago(11)) == [[ada], [carla]]
    assert who_could(days_ago(10)) == [[bruno], [carla]]
    assert who_could(days_ago(1)) == [[bruno], [carla]]
    assert who_could(today()) == [[carla], [carla]]
    assert who_could(date.max) == [[carla], [carla]]


def test_before_the_first_recorded_day_counts_what_was_in_force_at_its_end(world: World, account: str) -> None:
    ada, bruno, carla = _person(world), world.new_id(), world.new_id()
    _put(world, account, ada)
    world.enrol(bruno, signature("ada"), accounts=[account])
    _age(world, account, days=10)
    world.enrol(carla, signature("ada"), accounts=[account])

    for day in (date.min, days_ago(11), days_ago(10)):
        then, now = _read(world, account, day)
        assert _names(world, then) == [ada, bruno]
        assert _names(world, now) == [ada, bruno, carla]


def test_rules_that_were_put_on_the_first_day_count_before_it(world: World, account: str) -> None:
    world.enrol(world.new_id(), signature("ada"), accounts=[account])
    entries = world.api.get(f"/v1/accounts/{account}").json()["signatories"]
    mandate = {"signatories": entries, "rules": [{"currency": "EUR", "any_of": [{"A": 1}]}]}
    world.api.put(f"/v1/accounts/{account}", json=mandate).raise_for_status()

    then, now = _read(world, account, days_ago(30))

    assert then == now
    assert then.rules == [Rule("EUR", None, [{"A": 1}])]


def test_an_erased_person_counts_as_erased_on_the_days_they_had_a_place(world: World, account: str) -> None:
    ada, bruno = _person(world), _person(world)
    _put(world, account, ada, bruno)
    _age(world, account, days=10)
    world.api.delete(f"/v1/customers/{bruno}").raise_for_status()
    gone = Signer(None, "A")

    for day in (days_ago(10), days_ago(1), today()):  # today they may have signed before they went
        then, now = _read(world, account, day)
        assert gone in then.signers
        assert len(then.signers) == 2
        assert _names(world, now) == [ada]

    _age(world, account, days=1)
    assert gone not in _read(world, account, today())[0].signers


def test_whoever_was_taken_off_and_erased_later_is_nobody_in_between(world: World, account: str) -> None:
    ada, bruno = _person(world), _person(world)
    _put(world, account, ada, bruno)
    _age(world, account, days=10)
    _put(world, account, ada)
    _age(world, account, days=10)
    world.api.delete(f"/v1/customers/{bruno}").raise_for_status()

    assert Signer(None, "A") in _read(world, account, days_ago(15))[0].signers
    assert Signer(None, "A") not in _read(world, account, days_ago(5))[0].signers


@pytest.mark.parametrize(("day", "statements"), [(0, 1), (5, 1), (10, 1), (11, 2)])
def test_it_costs_one_statement_and_two_for_a_day_before_the_first(
    world: World, account: str, day: int, statements: int
) -> None:
    _put(world, account, _person(world))
    _age(world, account, days=10)
    seen: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    with world.product.database.asking() as connection:
        event.listen(connection, "before_cursor_execute", count)
        mandates_on(connection, account, days_ago(day))

    assert len(seen) == statements


def _read(world: World, account: str, day: date) -> tuple[Mandate, Mandate]:
    with world.product.database.asking() as connection:
        return mandates_on(connection, account, day)


def _person(world: World) -> str:
    return str(world.enrol(world.new_id(), signature("ada"))["customer_id"])


def _put(world: World, account: str, *customer_ids: str) -> None:
    entries = [{"customer_id": customer_id} for customer_id in customer_ids]
    world.api.put(f"/v1/accounts/{account}", json={"signatories": entries}).raise_for_status()


def _age(world: World, account: str, days: int) -> None:
    """As if all that was recorded of the account had been recorded so many days earlier."""
    with world.product.database.writing() as session:
        owner = session.scalars(select(Account).where(Account.account_id == account)).one()
        rows: Sequence[Version | Signatory] = [
            row
            for table in (Version, Signatory)
            for row in session.scalars(select(table).where(table.account_id == owner.id))
        ]
        for row in rows:
            row.recorded_at -= timedelta(days=days)
            if row.superseded_at is not None:
                row.superseded_at -= timedelta(days=days)


def _names(world: World, mandate: Mandate) -> list[str]:
    """The customers in the order of their places."""
    with world.product.database.reading() as session:
        customers = session.scalars(select(Customer)).all()
        by_key = {row.id: open_identity(world.product.vault, row).customer_id for row in customers}
    return [by_key[signer.key] for signer in mandate.signers if signer.key is not None]
