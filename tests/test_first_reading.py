"""One process of a start reads the templates, the others copy them. Here one process comes several times."""

import os

import numpy as np
import pytest

from service.first_reading import FirstReading, Snapshot
from tests.support.locks import holding

PAGE = 4096


class Database:
    """Counts how often it was read."""

    def __init__(self, templates: int = 3) -> None:
        self.readings = 0
        self.templates = templates

    def read(self) -> Snapshot:
        self.readings += 1
        vectors = np.arange(self.templates * 4, dtype=np.float32).reshape(-1, 4)
        return Snapshot(7, np.arange(self.templates, dtype=np.int64) + 10, vectors, "1.0")


@pytest.mark.parametrize("templates", [0, 1, 5000])
def test_the_first_reads_and_the_others_copy(templates: int) -> None:
    database, first_reading = Database(templates), FirstReading(processes=3)

    taken = [first_reading.take(database.read) for _ in range(3)]

    assert database.readings == 1
    for snapshot in taken:
        assert snapshot.seq == 7
        np.testing.assert_array_equal(snapshot.ids, taken[0].ids)
        np.testing.assert_array_equal(snapshot.vectors, taken[0].vectors)
        assert snapshot.vectors.shape == (templates, 4)


def test_the_copy_goes_with_the_last_who_takes_it_and_later_ones_read_for_themselves() -> None:
    database, first_reading = Database(5000), FirstReading(processes=2)
    first_reading.take(database.read)
    assert _memory(first_reading) > PAGE

    first_reading.take(database.read)
    assert _memory(first_reading) <= PAGE

    first_reading.take(database.read)
    assert database.readings == 2
    assert _memory(first_reading) <= PAGE


def test_what_a_dead_process_did_not_take_is_forgotten() -> None:
    database, first_reading = Database(5000), FirstReading(processes=2)
    first_reading.take(database.read)

    first_reading.forget()

    assert _memory(first_reading) <= PAGE
    first_reading.take(database.read)
    assert database.readings == 2


def test_a_reading_that_fails_leaves_it_to_the_next() -> None:
    database, first_reading = Database(), FirstReading(processes=2)

    def fail() -> Snapshot:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        first_reading.take(fail)

    assert len(first_reading.take(database.read).ids) == 3
    assert len(first_reading.take(database.read).ids) == 3
    assert database.readings == 1


def test_what_somebody_had_half_written_when_killed_is_given_back() -> None:
    database, first_reading = Database(5000), FirstReading(processes=2)
    os.pwrite(first_reading._file, b"x" * 100_000, 32)

    assert len(first_reading.take(database.read).ids) == 5000
    assert database.readings == 1
    assert _memory(first_reading) <= PAGE


def test_nobody_waits_for_a_process_that_was_stopped_while_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.first_reading.PATIENCE_SECONDS", 0.3)
    database, first_reading = Database(), FirstReading(processes=2)
    with holding("lockf", first_reading._file):
        assert len(first_reading.take(database.read).ids) == 3


def _memory(first_reading: FirstReading) -> int:
    return os.fstat(first_reading._file).st_blocks * 512
