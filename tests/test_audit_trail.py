"""The audit trail: whatever is done to it behind the service's back is found, and named."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from service import audit_sealer, events
from service.audit_chain import NOTHING, record_hash, seal_statement
from service.audit_heads import Head
from service.audit_sealer import Backlog
from service.audit_worker import Turns
from service.database import Database, Overtaken
from service.models import AuditRecord, AuditSeal, Event
from service.settings import Settings
from service.signing import SEAL, PublicKeys, Signer
from tests.support.trail import Trail

WAIT = 20
DOCUMENTATION = Path(__file__).parents[1] / "docs" / "audit.md"


@pytest.fixture
def empty(database: Database) -> Trail:
    return Trail(database)


@pytest.fixture
def trail(empty: Trail) -> Trail:
    """Nine events under three seals: records 1 to 4, 5 and 6, 7 to 9."""
    for some in ("abcd", "ef", "ghi"):
        empty.happen(*some)
        empty.seal()
    return empty


def heads(trail: Trail) -> list[Head]:
    with trail.database.reading() as session:
        return [Head(seal.number, seal.hash.hex()) for seal in session.scalars(select(AuditSeal))]


def remake(session: Session, signer: Signer | None = None) -> None:
    """What somebody does who knows how it is made: every hash anew, and with `signer` every signature."""
    hash_, hashes = NOTHING, {}
    for record in session.scalars(select(AuditRecord).order_by(AuditRecord.seq)):
        hash_ = record_hash(hash_, record.seq, session.get_one(Event, record.event_id))
        record.hash = hashes[record.seq] = hash_
    for seal in session.scalars(select(AuditSeal)):
        seal.hash = hashes[seal.last]
        if signer is not None:
            seal.key_id = signer.key_id
            statement = seal_statement(seal.number, seal.first, seal.last, seal.hash, seal.sealed_at, signer.key_id)
            seal.signature = signer.sign(SEAL, statement)


def test_an_untouched_trail_is_proven(trail: Trail) -> None:
    trail.happen("j")

    proof = trail.prove(heads(trail))

    assert (proof.records, proof.seals, proof.heads, proof.waiting) == (9, 3, 3, 1)


def test_an_empty_trail_is_proven(empty: Trail) -> None:
    assert empty.seal() is None
    assert empty.prove().records == 0


RECORDS, SEALS = "UPDATE audit_records SET", "UPDATE audit_seals SET"
FIRST_HASH = "(SELECT hash FROM audit_records WHERE seq = 1)"
FIRST_SIGNATURE = "(SELECT signature FROM audit_seals WHERE number = 1)"
UNSIGNED = "was inserted, or its seal deleted"

TAMPERING: dict[str, tuple[str, str]] = {
    "an event's subject edited": ("UPDATE events SET subject = 'x' WHERE id = 5", "record 5 "),
    "an event's details edited": ('UPDATE events SET details = \'{"note": "e"}\' WHERE id = 2', "record 2 "),
    "an event's actor edited": ("UPDATE events SET actor = 'nobody' WHERE id = 9", "record 9 "),
    "an event deleted": ("DELETE FROM events WHERE id = 3", "record 3: its event 3 was deleted"),
    "a record deleted": ("DELETE FROM audit_records WHERE seq = 6", "record 6 was deleted"),
    "the first record deleted": ("DELETE FROM audit_records WHERE seq = 1", "record 1 was deleted"),
    "a hash edited": (f"{RECORDS} hash = {FIRST_HASH} WHERE seq = 7", "record 7 "),
    "the last records deleted": ("DELETE FROM audit_records WHERE seq > 7", "record 8 was deleted"),
    "a record of another event": (f"{RECORDS} event_id = 99 WHERE seq = 4", "record 4: its event 99 was deleted"),
    "a seal in the middle deleted": ("DELETE FROM audit_seals WHERE number = 2", "records 5 to 9: the seal 2 "),
    "the last seal deleted": ("DELETE FROM audit_seals WHERE number = 3", f"record 7 {UNSIGNED}"),
    "all seals deleted": ("DELETE FROM audit_seals", f"record 1 {UNSIGNED}"),
    "a seal's end moved": (f"{SEALS} last = 5 WHERE number = 2", "records 5 to 5: the signature of seal 2 "),
    "a seal's hash edited": (f"{SEALS} hash = {FIRST_HASH} WHERE number = 2", "records 5 to 6: the signature of "),
    "a signature of another": (f"{SEALS} signature = {FIRST_SIGNATURE} WHERE number = 3", "records 7 to 9: the sig"),
    "an unknown key": (f"{SEALS} key_id = 'another' WHERE number = 1", "records 1 to 4: seal 1 is signed with key"),
}


def test_tampering_is_found_and_the_first_bad_record_named(trail: Trail) -> None:
    told = {}
    for what, (statement, _) in TAMPERING.items():
        with trail.restored():
            trail.execute(statement)
            told[what] = trail.complaint()

    assert {what: told[what][: len(named)] for what, (_, named) in TAMPERING.items()} == {
        what: named for what, (_, named) in TAMPERING.items()
    }
    assert trail.complaint() == ""


def test_a_time_that_was_moved_is_found(trail: Trail) -> None:
    with trail.database.writing() as session:
        session.get_one(Event, 4).at += timedelta(microseconds=1)

    assert trail.complaint().startswith("record 4 (event 4, thing_done) was edited")


def test_events_that_changed_places_are_found(trail: Trail) -> None:
    for seq, event_id in ((2, 100), (3, 2), (2, 3)):
        trail.execute("UPDATE audit_records SET event_id = :event WHERE seq = :seq", event=event_id, seq=seq)

    assert trail.complaint().startswith("record 2 ")


def test_a_record_put_between_others_is_found(trail: Trail) -> None:
    for seq in range(9, 4, -1):
        trail.execute("UPDATE audit_records SET seq = seq + 1 WHERE seq = :seq", seq=seq)
    trail.happen("false")
    with trail.database.writing() as session:
        before = session.get_one(AuditRecord, 4).hash
        event = session.get_one(Event, 10)
        session.add(AuditRecord(seq=5, event_id=10, hash=record_hash(before, 5, event)))

    assert trail.complaint().startswith("record 6 ")  # 5 is well made, but the next does not follow from it


def test_hashes_made_anew_are_found_by_the_seal_over_them(trail: Trail) -> None:
    with trail.database.writing() as session:
        session.get_one(Event, 5).subject = "another"
        session.flush()
        remake(session)

    assert trail.complaint().startswith("records 5 to 6: the signature of seal 2 is forged")


def test_hashes_made_anew_under_untouched_seals_are_found(trail: Trail) -> None:
    with trail.database.writing() as session:
        session.get_one(Event, 5).subject = "another"
        session.flush()
        kept = {seal.number: seal.hash for seal in session.scalars(select(AuditSeal))}
        remake(session)
        for seal in session.scalars(select(AuditSeal)):
            seal.hash = kept[seal.number]

    assert trail.complaint().startswith("records 5 to 6 were changed, hashes and all")


def test_a_trail_signed_anew_by_another_key_is_found(trail: Trail) -> None:
    with trail.database.writing() as session:
        session.get_one(Event, 5).subject = "another"
        session.flush()
        remake(session, Signer([b"another key" + bytes(21)]))

    assert "which is none of the known" in trail.complaint()


def test_a_trail_made_anew_with_the_true_key_is_found_by_heads_outside(trail: Trail) -> None:
    published = heads(trail)
    with trail.database.writing() as session:
        session.get_one(Event, 5).subject = "another"
        session.flush()
        remake(session, trail.signer)

    assert trail.complaint() == ""
    assert trail.complaint(published).startswith("seal 2 is another than was published")


CUT = (
    "DELETE FROM audit_seals WHERE number = 3",
    "DELETE FROM audit_records WHERE seq > 6",
    "DELETE FROM events WHERE id > 6",
)


def test_a_cut_off_end_is_found_by_heads_outside_alone(trail: Trail) -> None:
    published = heads(trail)
    for statement in CUT:
        trail.execute(statement)

    assert trail.complaint() == ""
    assert trail.complaint(published).startswith("the end was cut off: seal 3 was published")


def test_a_cut_off_end_is_found_after_the_trail_went_on(trail: Trail) -> None:
    published = heads(trail)
    for statement in CUT:
        trail.execute(statement)
    trail.happen("k")
    trail.seal()

    assert trail.complaint() == ""
    assert trail.complaint(published).startswith("seal 3 is another than was published")


def test_an_event_put_among_old_ones_is_found(trail: Trail) -> None:
    """Between them there is an id that a transaction drew and rolled back."""
    trail.execute("UPDATE audit_records SET event_id = 100 WHERE event_id = 5")
    trail.execute("UPDATE events SET id = 100 WHERE id = 5")
    with trail.database.writing() as session:
        remake(session, trail.signer)
        session.add(
            Event(id=5, at=datetime.now(UTC) - timedelta(hours=1), kind="false", actor="x", subject=None, details={})
        )

    assert trail.complaint().startswith("event 5 (false) has no record")


def test_records_of_a_database_from_before_are_sealed_oldest_first(
    empty: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_sealer, "AT_A_TIME", 4)
    empty.happen(*range(10))

    sealed = [(seal.first, seal.last) for seal in iter(empty.seal, None)]

    assert sealed == [(1, 4), (5, 8), (9, 10)]
    with empty.database.reading() as session:
        rows = session.execute(select(AuditRecord.seq, AuditRecord.event_id).order_by(AuditRecord.seq)).all()
    assert [tuple(row) for row in rows] == [(number, number) for number in range(1, 11)]
    assert empty.prove().records == 10


def test_a_seal_is_proven_by_the_public_key_alone(trail: Trail) -> None:
    keys = PublicKeys.load(trail.signer.public.dump())
    with trail.database.reading() as session:
        seal = session.get_one(AuditSeal, 2)
    statement = seal_statement(2, 5, 6, seal.hash, seal.sealed_at, seal.key_id)

    assert keys.proves(SEAL, statement, seal.signature)
    assert not keys.proves(SEAL, statement | {"last": 7}, seal.signature)
    assert not keys.proves("another purpose", statement, seal.signature)


def test_the_examples_of_the_documentation_hold_for_this_format() -> None:
    """They use nothing of this program, so that they say what the bytes are, whatever the program does."""
    examples = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    for example in examples:
        exec(example, {})  # noqa: S102 (the project's own documentation)
    event = Event(
        id=3,
        at=datetime(2026, 11, 28, 4, 50, 15, 90998, tzinfo=UTC),
        kind="signature_verified",
        actor="564597fc881d02c9",
        subject="ver_28319a5c8dec79e3445dbd0d",
        details={"outcome": "accept"},
    )
    former = re.search(r'fromhex\("(\w+)"\)', examples[0])

    assert len(examples) == 2
    assert former is not None
    assert record_hash(bytes.fromhex(former[1]), 3, event).hex() in examples[0]


POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@POSTGRESQL
def test_an_event_that_commits_late_is_sealed_late_and_once(empty: Trail) -> None:
    """Its id lies below ids that were sealed long before it could be seen."""
    with empty.database.writing() as late:
        events.record(late, "thing_done", actor="slow", subject="late")
        empty.happen("a", "b")
        assert empty.seal() is not None
        for _ in range(5):  # turns on which nothing is to be sealed do not make it forget the one that is out
            assert empty.seal() is None
        empty.happen("c")
        empty.seal()
    while empty.seal():
        pass

    with empty.database.reading() as session:
        sealed = session.scalars(select(AuditRecord.event_id).order_by(AuditRecord.seq)).all()
    assert sealed == [2, 3, 4, 1]
    assert empty.prove().waiting == 0


@POSTGRESQL
def test_a_sealer_does_not_go_through_all_events_each_second(empty: Trail) -> None:
    for subject in "abc":
        empty.happen(subject)
        empty.seal()
    for _ in range(3):
        empty.seal()

    assert empty.backlog.decided == 3


def write_at_random(database: Database, stopped: threading.Event, number: int) -> int:
    """Transactions of different lengths, some of which come to nothing."""
    written = 0
    while not stopped.is_set():
        written += 1
        with database.writing() as session:
            events.record(session, "thing_done", actor=f"w{number}", subject=str(written))
            if session.get_bind().dialect.name == "postgresql":
                session.execute(text("SELECT pg_sleep(random() * 0.05)"))
            if written % 5 == 0:
                session.rollback()
        time.sleep(0.02)  # writers that never rest leave nobody else a turn on SQLite
    return written


def test_every_event_of_many_writers_is_sealed_exactly_once(empty: Trail) -> None:
    stopped = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write_at_random, empty.database, stopped, number) for number in range(4)]
        seals = 0
        while seals < 10:
            seals += empty.seal() is not None
        stopped.set()
        written = sum(one.result(WAIT) for one in writing)
    while empty.seal():
        pass

    assert written > 10
    with empty.database.reading() as session:
        records = Counter(session.scalars(select(AuditRecord.event_id)))
        happened = set(session.scalars(select(Event.id)))
    assert records == dict.fromkeys(happened, 1)
    assert (empty.prove().waiting, empty.prove().records) == (0, len(happened))


@pytest.fixture
def other_host(settings: Settings, database: Database) -> Iterator[Database]:
    opened = Database(settings.database_url)
    yield opened
    opened.close()


def test_of_two_sealers_one_seals_and_the_other_follows_when_it_ends(empty: Trail, other_host: Database) -> None:
    one = Turns(empty.database, empty.signer, "one")
    two = Turns(other_host, empty.signer, "two")
    empty.happen("a")
    assert one.seal() is not None
    empty.happen("b")
    assert two.seal() is None
    assert one.seal() is not None
    empty.happen("c")

    one.close()

    assert two.seal() is not None
    assert empty.prove().records == 3


def test_a_sealer_that_was_overtaken_seals_nothing(empty: Trail, other_host: Database) -> None:
    one = Turns(empty.database, empty.signer, "one")
    empty.happen("a")
    one.seal()
    empty.execute("UPDATE jobs SET leased_by = 'two' WHERE name = 'audit_seal'")
    empty.happen("b")

    with pytest.raises(Overtaken):
        one.seal()
    assert one.seal() is None  # now it asks first
    assert empty.prove().waiting == 1


def test_two_sealers_without_a_lease_cannot_both_take_a_place(empty: Trail, other_host: Database) -> None:
    """What the lease spares, the key of the table forbids."""
    empty.happen("a", "b", "c")

    def turn(opened: Database) -> bool:
        try:
            with opened.writing() as session:
                return audit_sealer.seal(session, empty.signer, Backlog()) is not None
        except Exception:
            return False

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(turn, [empty.database, other_host]))

    assert done.count(True) == 1
    assert empty.prove().records == 3
