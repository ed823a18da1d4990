"""What callers see when the database keeps them waiting."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from service import database
from service.models import Customer
from service.product import Product
from service.schema import migrate
from service.settings import Settings
from tests.support.images import signature
from tests.support.postgres import Postgres
from tests.support.world import World, parts


@pytest.fixture
def hasty(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An application that waits for a lock of PostgreSQL for a moment only."""
    monkeypatch.setitem(database.PATIENCE, "options", "-c lock_timeout=200ms")
    settings = Settings(database_url=postgres.new_database(), keystore_url=f"file:{tmp_path / 'keystore.json'}")
    migrate(settings.database_url)
    product = Product.open(settings)
    product.index.catch_up()
    yield World(settings, product)
    product.close()


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


def _verify(world: World) -> httpx.Response:
    return world.api.post("/v1/accounts/acme/verifications", files=parts("image", signature("ada")))
