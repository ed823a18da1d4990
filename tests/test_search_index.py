"""Every process holds its own copy of the active templates. Specimens are chosen vectors here, not images, so that
who is like whom does not depend on a model."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, select, text, update

from embeddings.encoder import Reading
from embeddings.preprocess import CANVAS
from embeddings.quality import Quality
from service import searching
from service.customers import Identity, lookup
from service.database import Database
from service.enrolment import Drawn, Validity, add_specimens, confirm_specimen, enrol_customer
from service.jobs import trim_changes
from service.keystore import KeyStore
from service.models import Specimen, Template, TemplateChange
from service.product import Product
from service.removal import remove_customer, remove_specimen
from service.schema import migrate
from service.search_index import SearchIndex, Tick
from service.vault import Vault
from tests.support.world import wait_until

WAIT = 20  # seconds after which a thread that should have moved on counts as stuck


@dataclass
class Bank:
    """People join and leave; each has a number, and numbers apart are signatures apart."""

    product: Product

    def specimen(self, number: int, *, like_the_others: bool = True) -> Drawn:
        encoder = self.product.encoder
        too_far = max(encoder.bundle.head.distance_of(encoder.bundle.thresholds.reject / 2), 1)
        vector = np.zeros(encoder.dimension, np.float32)
        vector[0] = number * 10 * too_far
        vector[1] = 0 if like_the_others else too_far
        quality = Quality(ok=True, codes=())
        return Drawn(
            b"an image", Reading(vector, quality, (300, 100), {}, encoder.model_version, np.zeros(CANVAS, np.float32))
        )

    def enrol(self, number: int, specimens: int = 1) -> None:
        drawn = [self.specimen(number)] * specimens
        with self.product.database.writing() as session:
            enrol_customer(session, self.product, Identity(f"c{number}", None), [], drawn, Validity(), actor="test")

    def add(self, number: int, *, like_the_others: bool) -> tuple[str, str]:
        """Id and status of the specimen."""
        drawn = [self.specimen(number, like_the_others=like_the_others)]
        with self.product.database.writing() as session:
            (added,) = add_specimens(session, self.product, f"c{number}", drawn, Validity(), actor="test")
            return added.specimen_id, added.status

    def confirm(self, number: int, specimen_id: str) -> None:
        with self.product.database.writing() as session:
            confirm_specimen(session, self.product.vault, f"c{number}", specimen_id, actor="test")

    def remove_specimen(self, number: int, specimen_id: str) -> None:
        with self.product.database.writing() as session:
            remove_specimen(session, self.product.vault, f"c{number}", specimen_id, actor="test")

    def remove(self, number: int) -> None:
        with self.product.database.writing() as session:
            remove_customer(session, self.product.vault, f"c{number}", actor="test")

    def trim(self) -> None:
        """As if every change so far had been kept long enough."""
        no_time = self.product.settings.model_copy(update={"change_retention_hours": 1e-9})
        with self.product.database.writing() as session:
            trim_changes(session, no_time)

    def active_ids(self) -> set[int]:
        with self.product.database.reading() as session:
            active = select(Template.vector_id).join(Specimen).where(Specimen.status == "active")
            return set(session.scalars(active))

    def another_process(self) -> SearchIndex:
        encoder = self.product.encoder
        index = SearchIndex(self.product.database, self.product.vault, encoder.model_version, encoder.dimension)
        index.catch_up()
        return index

    def query(self, number: int) -> NDArray[np.float32]:
        return self.specimen(number).reading.vector


@pytest.fixture
def bank(product: Product) -> Bank:
    return Bank(product)


def changes(bank: Bank) -> int:
    with bank.product.database.reading() as session:
        return session.scalar(select(func.count()).select_from(TemplateChange)) or 0


def test_an_enrolment_made_elsewhere_is_found_by_the_next_search(bank: Bank) -> None:
    elsewhere = bank.another_process()

    bank.enrol(1)

    (hit,) = elsewhere.search(bank.query(1), 10)
    assert hit.distance == 0


def test_a_removal_made_elsewhere_is_gone_from_the_next_search(bank: Bank) -> None:
    bank.enrol(1)
    bank.enrol(2)
    elsewhere = bank.another_process()
    assert len(elsewhere.search(bank.query(1), 10)) == 2

    bank.remove(1)

    (hit,) = elsewhere.search(bank.query(1), 10)
    assert hit.distance > 0
    assert elsewhere.vector_ids() == bank.active_ids()


def test_who_came_and_went_between_two_searches_was_never_there(bank: Bank) -> None:
    bank.enrol(1)
    elsewhere = bank.another_process()

    bank.enrol(2)
    bank.remove(2)

    assert [hit.distance for hit in elsewhere.search(bank.query(1), 10)] == [0]


def test_who_left_and_came_again_is_found_once(bank: Bank) -> None:
    bank.enrol(1)
    elsewhere = bank.another_process()

    bank.remove(1)
    bank.enrol(1)

    assert [hit.distance for hit in elsewhere.search(bank.query(1), 10)] == [0]


def test_a_removed_specimen_goes_and_the_others_stay(bank: Bank) -> None:
    bank.enrol(1, specimens=2)
    specimen_id, _ = bank.add(1, like_the_others=True)
    elsewhere = bank.another_process()
    assert len(elsewhere) == 3

    bank.remove_specimen(1, specimen_id)

    assert len(elsewhere.search(bank.query(1), 10)) == 2
    assert elsewhere.vector_ids() == bank.active_ids()


def test_a_pending_specimen_is_not_in_the_index_until_it_is_confirmed(bank: Bank) -> None:
    bank.enrol(1)
    elsewhere = bank.another_process()

    specimen_id, status = bank.add(1, like_the_others=False)
    assert status == "pending"
    assert len(elsewhere.search(bank.query(1), 10)) == 1
    assert len(bank.another_process()) == 1

    bank.confirm(1, specimen_id)
    assert len(elsewhere.search(bank.query(1), 10)) == 2
    assert elsewhere.vector_ids() == bank.another_process().vector_ids() == bank.active_ids()


def test_removing_someone_with_a_pending_specimen_leaves_nothing(bank: Bank) -> None:
    bank.enrol(1)
    bank.add(1, like_the_others=False)
    elsewhere = bank.another_process()

    bank.remove(1)

    assert elsewhere.search(bank.query(1), 10) == []


def test_what_was_rolled_back_is_in_no_index(bank: Bank) -> None:
    elsewhere = bank.another_process()

    def enrol_and_fail() -> None:
        with bank.product.database.writing() as session:
            drawn = [bank.specimen(1)]
            enrol_customer(session, bank.product, Identity("c1", None), [], drawn, Validity(), actor="test")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        enrol_and_fail()

    assert elsewhere.search(bank.query(1), 10) == []
    assert changes(bank) == 0


def test_an_index_that_slept_past_the_retained_changes_is_built_again(bank: Bank) -> None:
    bank.enrol(1)
    sleeper = bank.another_process()
    bank.remove(1)
    bank.enrol(2)

    bank.trim()
    bank.enrol(3)

    assert changes(bank) == 1
    sleeper.catch_up()
    assert sleeper.vector_ids() == bank.active_ids()


def test_trimming_does_not_make_an_index_in_step_build_again(bank: Bank) -> None:
    bank.enrol(1)
    awake = bank.another_process()
    before = awake._index

    bank.trim()
    awake.catch_up()
    bank.enrol(2)
    awake.catch_up()

    assert awake._index is before
    assert awake.vector_ids() == bank.active_ids()


def test_changes_go_on_counting_after_all_of_them_were_trimmed(bank: Bank) -> None:
    for number in range(3):
        bank.enrol(number)
        bank.trim()
        assert changes(bank) == 0
    elsewhere = bank.another_process()

    bank.remove(1)

    elsewhere.catch_up()
    assert elsewhere.vector_ids() == bank.active_ids()


def test_trimming_keeps_what_is_younger_than_the_retention(bank: Bank) -> None:
    bank.enrol(1)

    with bank.product.database.writing() as session:
        trim_changes(session, bank.product.settings)

    assert changes(bank) == 1


@pytest.mark.parametrize("seed", range(3))
def test_after_any_comings_and_goings_every_index_equals_the_database(bank: Bank, seed: int) -> None:
    chance = random.Random(seed)
    awake, sleeper = bank.another_process(), bank.another_process()
    people: dict[int, list[str]] = {}  # to the specimens that were added
    pending: list[tuple[int, str]] = []

    def enrol() -> None:
        number = chance.choice([number for number in range(12) if number not in people])
        bank.enrol(number, specimens=chance.randint(1, 3))
        people[number] = []

    def add() -> None:
        number = chance.choice(list(people))
        specimen_id, status = bank.add(number, like_the_others=chance.random() < 0.5)
        people[number].append(specimen_id)
        if status == "pending":
            pending.append((number, specimen_id))

    def confirm() -> None:
        if pending:
            bank.confirm(*pending.pop(chance.randrange(len(pending))))

    def take_one_back() -> None:
        number = chance.choice(list(people))
        if people[number]:
            specimen_id = people[number].pop()
            bank.remove_specimen(number, specimen_id)
            pending[:] = [entry for entry in pending if entry[1] != specimen_id]

    def remove() -> None:
        number = chance.choice(list(people))
        bank.remove(number)
        del people[number]
        pending[:] = [entry for entry in pending if entry[0] != number]

    for step in range(60):
        steps: list[Callable[[], None]] = [add, add, confirm, take_one_back, remove] if people else []
        if len(people) < 12:
            steps += [enrol, enrol]
        chance.choice(steps)()
        if chance.random() < 0.05:
            bank.trim()
        if step % 3 == 0:
            awake.catch_up()
            assert awake.vector_ids() == bank.active_ids()

    for index in (awake, sleeper, bank.product.index, bank.another_process()):
        index.catch_up()
        assert index.vector_ids() == bank.active_ids()
        assert len(index) == len(index.vector_ids())
    for number in people:
        assert awake.search(bank.query(number), 1)[0].distance == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_a_change_that_commits_late_is_never_skipped(bank: Bank) -> None:
    """Whoever drew the lower number holds the later one back: a reader in between cannot have passed it."""
    elsewhere = bank.another_process()
    first_wrote, first_may_commit = threading.Event(), threading.Event()

    def enrol_slowly() -> None:
        with bank.product.database.writing() as session:
            drawn = [bank.specimen(1)]
            enrol_customer(session, bank.product, Identity("c1", None), [], drawn, Validity(), actor="test")
            first_wrote.set()
            assert first_may_commit.wait(WAIT)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(enrol_slowly)
        try:
            assert first_wrote.wait(WAIT)
            other = pool.submit(bank.enrol, 2)
            wait_until(lambda: other.done() or _somebody_waits(bank.product.database), WAIT)
            elsewhere.catch_up()
            assert len(elsewhere) == 0
            assert not other.done()
        finally:
            first_may_commit.set()
        slow.result(WAIT)
        other.result(WAIT)

    elsewhere.catch_up()
    assert len(elsewhere) == 2
    assert elsewhere.vector_ids() == bank.active_ids()


def _somebody_waits(database: Database) -> bool:
    """For the turn to write templates, in this database."""
    waiting = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    with database.reading() as session:
        return bool(session.scalar(waiting))


def test_a_reader_among_many_writers_misses_nothing(bank: Bank) -> None:
    """Each catches up while the others commit: what a reader passed over once it would never see."""
    elsewhere = bank.another_process()
    finished = threading.Event()

    def read() -> None:
        while not finished.is_set():
            elsewhere.catch_up()

    def come_and_go(first: int) -> None:
        for number in range(first, first + 8):
            bank.enrol(number)
            if number % 2:
                bank.remove(number)

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        try:
            for writer in [pool.submit(come_and_go, first) for first in (100, 200, 300, 400)]:
                writer.result(60)
        finally:
            finished.set()
        reader.result(WAIT)

    elsewhere.catch_up()
    assert len(elsewhere) == 16
    assert elsewhere.vector_ids() == bank.active_ids()


def test_templates_of_another_model_stay_out(bank: Bank) -> None:
    other = SearchIndex(bank.product.database, bank.product.vault, "another-model", bank.product.encoder.dimension)
    other.catch_up()

    bank.enrol(1)

    assert other.search(bank.query(1), 10) == []


def test_one_damaged_template_does_not_keep_the_others_out(bank: Bank) -> None:
    bank.enrol(1)
    bank.enrol(2)
    damaged = min(bank.active_ids())
    with bank.product.database.writing() as session:
        session.execute(update(Template).where(Template.vector_id == damaged).values(sealed=b"edited" * 10))

    assert bank.another_process().vector_ids() == bank.active_ids() - {damaged}


def test_a_search_names_only_whom_the_database_still_holds(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may leave between the look into the index and the answer: here, the index never hears of it."""
    bank.enrol(1)
    bank.enrol(2)
    bank.product.tick.stop()
    bank.product.index.catch_up()
    monkeypatch.setattr(bank.product.index, "catch_up", lambda: None)
    bank.remove(1)
    assert len(bank.product.index) == 2

    with bank.product.database.reading() as session:
        (hit,) = searching.search(session, bank.product, bank.specimen(1).reading, 10)

        assert hit.customer.lookup == lookup(bank.product.vault, "c2")


def test_a_process_that_nobody_searches_in_catches_up_by_itself(bank: Bank) -> None:
    idle = bank.another_process()
    tick = Tick(idle, 0.02)
    tick.start()
    try:
        bank.enrol(1)
        wait_until(lambda: len(idle) == 1)
        bank.remove(1)
        wait_until(lambda: len(idle) == 0)
    finally:
        tick.stop()


def test_the_tick_outlives_a_database_that_has_no_tables_yet(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(empty_url)
    vault = Vault(KeyStore.open(f"file:{tmp_path / 'keystore.json'}"))
    index = SearchIndex(database, vault, "a-model", 4)
    failures: list[type[Exception]] = []
    catch_up = index.catch_up

    def fail_openly() -> None:
        try:
            catch_up()
        except Exception as problem:
            failures.append(type(problem))
            raise

    monkeypatch.setattr(index, "catch_up", fail_openly)
    tick = Tick(index, 0.02)
    tick.start()
    try:
        wait_until(lambda: failures)
        assert not index.is_loaded
        migrate(empty_url)
        wait_until(lambda: index.is_loaded)
    finally:
        tick.stop()
        database.close()
