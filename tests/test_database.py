"""What callers see when the database keeps them waiting."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, text

from service import database
from service.models import Customer
from service.product import Product
from service.schema import migrate
from service.settings import Settings
from tests.support.images import signature
from tests.support.locks import holding
from tests.support.postgres import Postgres
from tests.support.world import World, parts


@pytest.fixture
def hasty(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An application that waits for a lock of PostgreSQL for a moment only."""
    monkeypatch.setitem(database.PATIENCE, "options", "-c lock_timeout=200ms")
    world = _world(postgres.new_database(), tmp_path)
    yield world
    world.product.close()


def test_who_waits_too_long_for_a_lock_is_told_to_try_again_and_nothing_is_stored(hasty: World) -> None:
    hasty.enrol("ada", signature("ada"), accounts=["acme"])
    before = hasty.counts()

    with hasty.product.database.writing() as session:
        session.execute(select(Customer).with_for_update()).all()
        refused = _verify(hasty)
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert refused.headers["Retry-After"] == "1"
    assert hasty.counts() == before

    assert _verify(hasty).status_code == 201


def test_a_writer_that_was_stopped_in_the_middle_keeps_nobody_waiting_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.3)
    file = tmp_path / "countersign.db"
    world = _world(f"sqlite:///{file}", tmp_path)
    world.enrol("ada", signature("ada"), accounts=["acme"])
    before = world.counts()

    with Path(f"{file}-turn").open("rb") as turn, holding("flock", turn.fileno()):
        refused = _verify(world)
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert world.counts() == before

    assert _verify(world).status_code == 201
    world.product.close()


def test_options_of_the_operator_are_kept_beside_our_own(postgres: Postgres) -> None:
    opened = database.Database(f"{postgres.new_database()}&options=-csearch_path%3Dbank")
    with opened.asking() as connection:
        assert connection.scalar(text("SHOW search_path")) == "bank"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    opened.close()


def _world(url: str, folder: Path) -> World:
    settings = Settings(database_url=url, keystore_url=f"file:{folder / 'keystore.json'}")
    migrate(url)
    product = Product.open(settings)
    product.index.catch_up()
    return World(settings, product)


def _verify(world: World) -> httpx.Response:
    return world.api.post("/v1/accounts/acme/verifications", files=parts("image", signature("ada")))
