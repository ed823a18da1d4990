"""The audit trail and receipts over HTTP and on the command line; who may change them on PostgreSQL."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from service.access import create_key
from service.audit_sealer import Backlog, seal
from service.cli import main
from service.database import Database
from service.keystore import KeyStore
from service.models import Event
from service.receipts import is_genuine
from service.schema import APPLICATION, migrate
from service.signing import PublicKeys, Signer
from tests.support.images import signature
from tests.support.postgres import Postgres
from tests.support.trail import Trail
from tests.support.world import Answer, World

ON_SQLITE = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


def seal_all(world: World) -> None:
    backlog = Backlog()
    while True:
        with world.product.database.writing() as session:
            if seal(session, world.product.vault.signer, backlog) is None:
                return


@pytest.fixture
def auditor(world: World) -> Iterator[httpx.Client]:
    with world.client("audit") as client:
        yield client


def page(auditor: httpx.Client, **query: Any) -> Answer:
    answer = auditor.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    shown: Answer = answer.json()
    return shown


def test_pages_hold_every_record_once_in_either_order(world: World, auditor: httpx.Client) -> None:
    for _ in range(5):
        world.key("verify")
    seal_all(world)

    seen: dict[str, list[int]] = {"oldest": [], "newest": []}
    for order, seqs in seen.items():
        shown = page(auditor, order=order, limit=3)
        while shown["next_cursor"]:
            seqs += [item["seq"] for item in shown["items"]]
            shown = page(auditor, order=order, limit=3, cursor=shown["next_cursor"])
        seqs += [item["seq"] for item in shown["items"]]

    assert seen["oldest"] == list(range(1, len(seen["oldest"]) + 1))
    assert seen["newest"] == seen["oldest"][::-1]


def test_records_are_found_by_what_happened_to_what_by_whom_and_when(world: World, auditor: httpx.Client) -> None:
    before = datetime.now(UTC)
    account = world.new_id("account")
    world.enrol(world.new_id(), signature("ada"), accounts=[account])
    verification = world.verify(account, signature("ada", 1))
    after = datetime.now(UTC)
    seal_all(world)

    (record,) = page(auditor, subject=verification["verification_id"])["items"]

    assert (record["kind"], record["details"]) == ("signature_verified", {"outcome": verification["outcome"]})
    assert {item["kind"] for item in page(auditor, kind="customer_enrolled")["items"]} == {"customer_enrolled"}
    assert record["seq"] in {item["seq"] for item in page(auditor, actor=record["actor"])["items"]}
    between = page(auditor, **{"from": before.isoformat(), "to": after.isoformat()})["items"]
    assert {item["kind"] for item in between} >= {"customer_enrolled", "signature_verified"}
    assert all(before <= datetime.fromisoformat(item["at"]) < after for item in between)
    assert page(auditor, **{"from": (after + timedelta(days=1)).isoformat()})["items"] == []


@ON_SQLITE
@pytest.mark.parametrize(
    "query", [{"from": "yesterday"}, {"from": "2026-11-22T10:00:00"}, {"order": "up"}, {"since": "x"}, {"kind": ""}]
)
def test_what_cannot_be_asked_is_refused(auditor: httpx.Client, query: dict[str, str]) -> None:
    answer = auditor.get("/v1/audit", params=query)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


def test_a_receipt_is_signed_and_shown_again_as_it_was_given(world: World, auditor: httpx.Client) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))

    given = world.api.delete(f"/v1/customers/{customer_id}").json()
    shown = auditor.get(f"/v1/erasures/{given['receipt_id']}").json()

    keys = PublicKeys.load(world.product.vault.signer.public.dump())
    assert shown == given
    assert is_genuine(given, keys)
    for change in ({"erased_at": "2020-01-01T00:00:00.000000Z"}, {"counts": {}}, {"signature": None}, {"more": 1}):
        assert not is_genuine(given | change, keys)
    assert not is_genuine(given, Signer([secrets.token_bytes(32)]).public)


@ON_SQLITE
def test_there_is_no_receipt_of_what_was_never_erased(auditor: httpx.Client) -> None:
    answer = auditor.get("/v1/erasures/rcp_0")

    assert (answer.status_code, answer.json()["code"]) == (404, "receipt_not_found")


def test_no_event_names_a_person_or_holds_a_score(world: World, auditor: httpx.Client) -> None:
    customer_id, name, account = world.new_id("somebody"), "Ada Somebody", world.new_id("account")
    world.enrol(customer_id, signature("ada"), accounts=[account], name=name)
    world.add(customer_id, signature("ada", 1))
    verification = world.verify(account, signature("ada", 2), reference="invoice-of-ada")
    world.api.delete(f"/v1/customers/{customer_id}").raise_for_status()

    with world.product.database.reading() as session:
        events = session.scalars(select(Event)).all()
    told = "\n".join(f"{event.subject} {json.dumps(event.details)}" for event in events)

    assert verification["verification_id"] in told
    assert not [
        secret for secret in (customer_id, name, "invoice-of-ada", str(verification["score"])) if secret in told
    ]


@pytest.fixture
def deployed(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trail]:
    """A trail of three records, and the settings of the command line to go with it."""
    migrate(database_url)
    settings = {
        "DATABASE_URL": database_url,
        "KEYSTORE_URL": f"file:{tmp_path / 'keys.json'}",
        "AUDIT_HEADS": f"file:{tmp_path / 'heads.jsonl'}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
    database = Database(database_url)
    trail = Trail(database, KeyStore.open(settings["KEYSTORE_URL"]).signing[0])
    trail.happen("a", "b", "c")
    trail.seal()
    yield trail
    database.close()


def test_the_command_proves_the_trail_or_names_what_is_wrong(deployed: Trail) -> None:
    before = CliRunner().invoke(main, ["audit", "verify"])
    deployed.execute("UPDATE events SET actor = 'nobody' WHERE id = 2")
    after = CliRunner().invoke(main, ["audit", "verify"])

    assert (before.exit_code, before.stdout[:33]) == (0, "3 records under 1 seals are true,")
    assert (after.exit_code, after.stdout) == (1, "")
    assert after.stderr.startswith("The audit trail is not true: record 2 (event 2, thing_done) was edited")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_checks_with_public_keys_alone(deployed: Trail, tmp_path: Path) -> None:
    keys, others = tmp_path / "public.json", tmp_path / "others.json"
    keys.write_text(CliRunner().invoke(main, ["audit", "public-keys"]).stdout)
    others.write_text(Signer([bytes(32)]).public.dump())
    (tmp_path / "keys.json").unlink()

    told = [
        CliRunner().invoke(main, ["audit", "verify", *option])
        for option in (["--public-keys", str(keys)], ["--public-keys", str(others)], [])
    ]

    assert [one.exit_code for one in told] == [0, 1, 2]


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_a_receipt_is_verified_offline(world: World, tmp_path: Path) -> None:
    customer_id = world.new_id()
    world.enrol(customer_id, signature("ada"))
    receipt, keys = tmp_path / "receipt.json", tmp_path / "public.json"
    receipt.write_bytes(world.api.delete(f"/v1/customers/{customer_id}").content)
    keys.write_text(world.product.vault.signer.public.dump())
    command = [sys.executable, "-m", "service", "verify-receipt", str(receipt), "--public-keys", str(keys)]
    nothing = {"PATH": os.environ["PATH"], "COUNTERSIGN_DATABASE_URL": "sqlite:////nowhere/at.db"}

    genuine = subprocess.run(command, env=nothing, capture_output=True, text=True, check=False)
    receipt.write_text(receipt.read_text().replace('"specimens":1', '"specimens":0'))
    changed = subprocess.run(command, env=nothing, capture_output=True, text=True, check=False)

    assert (genuine.returncode, changed.returncode) == (0, 1), genuine.stderr
    assert "is genuine" in genuine.stdout


def test_a_key_store_from_before_there_were_signatures_stays_as_it_is_and_signs_the_same_everywhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.json"
    made = KeyStore.open(f"file:{path}")
    stored = json.loads(path.read_text("utf-8"))
    del stored["signing"]
    path.write_text(json.dumps(stored), "utf-8")
    path.chmod(0o400)

    old, again = KeyStore.open(f"file:{path}"), KeyStore.open(f"file:{path}")

    assert old == again
    assert (old.keys, old.lookup) == (made.keys, made.lookup)
    assert old.signing != made.signing
    assert old.signing[0] not in {old.lookup, *old.keys.values()}
    assert json.loads(path.read_text("utf-8")) == stored


def test_a_signing_key_that_was_replaced_still_proves_what_it_signed() -> None:
    before = Signer([b"1" * 32])
    after = Signer([b"1" * 32, b"2" * 32])
    statement = {"key_id": before.key_id}

    assert before.key_id != after.key_id
    assert after.public.proves("purpose", statement, before.sign("purpose", statement))


@pytest.fixture
def application(postgres: Postgres) -> tuple[str, str]:
    """URLs of one database, migrated by its owner: as the owner, and as the role that serves."""
    url = postgres.new_database()
    database = Database(url, pool_size=1)
    with database.asking() as owner:
        if not owner.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": APPLICATION}):
            owner.execute(text(f"CREATE ROLE {APPLICATION} LOGIN"))
    database.close()
    migrate(url)
    return url, make_url(url).set(username=APPLICATION).render_as_string(hide_password=False)


APPEND_ONLY_COLUMNS = {"events": "actor", "audit_records": "hash", "audit_seals": "last"}


def test_on_postgresql_the_role_that_serves_may_add_to_the_trail_and_change_nothing(
    application: tuple[str, str],
) -> None:
    database = Database(application[1])
    trail = Trail(database)
    with database.writing() as session:
        create_key(session, ["audit"])
    trail.happen("a", "b")

    assert trail.seal() is not None
    assert trail.prove().records == 3
    for table, column in APPEND_ONLY_COLUMNS.items():
        for what in ("UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"):
            with pytest.raises(ProgrammingError) as refusal:
                trail.execute(what.format(table, column, column))
            assert isinstance(refusal.value.orig, psycopg.errors.InsufficientPrivilege)
    assert trail.complaint() == ""
    database.close()


def test_the_proof_says_when_the_role_that_asks_could_change_the_trail(
    application: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSIGN_KEYSTORE_URL", f"file:{tmp_path / 'keys.json'}")
    KeyStore.open(f"file:{tmp_path / 'keys.json'}")
    told = []
    for url in application:
        monkeypatch.setenv("COUNTERSIGN_DATABASE_URL", url)
        told.append(CliRunner().invoke(main, ["audit", "verify"]))

    assert [one.exit_code for one in told] == [0, 0], told[0].output
    assert ["may change the audit trail" in one.stderr for one in told] == [True, False]
