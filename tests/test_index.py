import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from embeddings.head import distances
from embeddings.index import Index, ReadWriteLock

Vector = NDArray[np.float32]

DIMENSION = 5
WAIT = 20  # seconds after which a thread that should have moved on counts as stuck

vectors = arrays(np.float32, DIMENSION, elements=st.floats(-100, 100, width=32))
vector_ids = st.integers(1, 12)  # few, so that a sequence of changes meets the same id again and again


class IndexBesideADictionary(RuleBasedStateMachine):
    """Any sequence of changes leaves the index with exactly what a dictionary holds after the same changes."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index(DIMENSION)
        self.stored: dict[int, Vector] = {}

    @rule(removed=st.lists(vector_ids, max_size=4), added=st.dictionaries(vector_ids, vectors, max_size=4))
    def change(self, removed: list[int], added: dict[int, Vector]) -> None:
        self.index.apply(removed, list(added), np.array(list(added.values()), np.float32))
        for vector_id in removed:
            self.stored.pop(vector_id, None)
        self.stored |= added

    @rule(query=vectors, limit=st.integers(1, 20))
    def search(self, query: Vector, limit: int) -> None:
        ids, found = self.index.search(query, limit)

        exact = {key: float(distances(vector[np.newaxis], query)[0]) for key, vector in self.stored.items()}
        assert len(ids) == min(limit, len(exact))
        assert len(set(ids.tolist())) == len(ids)
        np.testing.assert_allclose(found, [exact[key] for key in ids.tolist()], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found, sorted(exact.values())[:limit], rtol=1e-5, atol=1e-4)

    @invariant()
    def holds_the_same_ids(self) -> None:
        assert sorted(self.index.ids().tolist()) == sorted(self.stored)
        assert len(self.index) == len(self.stored)


IndexBesideADictionary.TestCase.settings = hypothesis_settings(max_examples=40, stateful_step_count=15)
TestAnySequenceOfChangesEqualsADictionary = IndexBesideADictionary.TestCase


def filled(count: int, dimension: int = DIMENSION) -> tuple[Index, NDArray[np.float32]]:
    stored = np.random.default_rng(7).normal(size=(count, dimension)).astype(np.float32)
    index = Index(dimension)
    index.apply([], list(range(count)), stored)
    return index, stored


@given(query=arrays(np.float32, 256, elements=st.floats(-10, 10, width=32)), limit=st.integers(1, 50))
@hypothesis_settings(max_examples=30)
def test_a_search_finds_what_comparing_with_everything_finds(query: Vector, limit: int) -> None:
    index, stored = filled(300, dimension=256)

    ids, found = index.search(query, limit)

    exact = distances(stored, query)
    np.testing.assert_allclose(found, np.sort(exact)[:limit], rtol=1e-5)
    np.testing.assert_allclose(found, exact[ids], rtol=1e-5)


def test_an_id_that_is_added_again_keeps_only_its_new_vector() -> None:
    index = Index(2)
    index.apply([], [7], np.array([[0, 0]], np.float32))

    index.apply([], [7], np.array([[5, 5]], np.float32))

    ids, found = index.search(np.zeros(2, np.float32), 10)
    assert (ids.tolist(), found.tolist()) == ([7], [10])


def test_an_id_that_is_removed_and_added_in_one_change_is_there() -> None:
    index, _ = filled(3)

    index.apply([1], [1], np.ones((1, DIMENSION), np.float32))

    assert sorted(index.ids().tolist()) == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 3])
def test_removing_an_unknown_id_changes_nothing(count: int) -> None:
    index, _ = filled(count)

    index.apply([99, 99, -1], [], np.empty((0, DIMENSION), np.float32))

    assert sorted(index.ids().tolist()) == list(range(count))


def test_an_empty_index_finds_nothing() -> None:
    ids, found = Index(DIMENSION).search(np.zeros(DIMENSION, np.float32), 10)

    assert (len(ids), len(found)) == (0, 0)


def test_a_limit_above_what_is_stored_answers_with_all_of_it() -> None:
    index, _ = filled(3)

    ids, _ = index.search(np.zeros(DIMENSION, np.float32), 1000)

    assert sorted(ids.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("shape", [(DIMENSION - 1,), (DIMENSION + 1,), (1, DIMENSION), ()])
def test_a_query_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    index, _ = filled(3)

    with pytest.raises(ValueError, match="a query has shape"):
        index.search(np.zeros(shape, np.float32), 1)


@pytest.mark.parametrize(
    ("ids", "shape"), [([1, 2], (1, DIMENSION)), ([1], (2, DIMENSION)), ([1], (1, DIMENSION + 1))]
)
def test_vectors_that_do_not_fit_their_ids_are_refused_and_nothing_changes(
    ids: list[int], shape: tuple[int, int]
) -> None:
    index, _ = filled(3)

    with pytest.raises(ValueError, match=r"ids for|reshape"):
        index.apply([0], ids, np.zeros(shape, np.float32))

    assert sorted(index.ids().tolist()) == [0, 1, 2]


def test_searches_never_see_half_a_change() -> None:
    """Each change moves all vectors to the next place at once, so whoever searches sees all of them at one place."""
    size, rounds = 40, 150
    index = Index(DIMENSION)
    ids = list(range(size))
    index.apply([], ids, np.zeros((size, DIMENSION), np.float32))
    finished = threading.Event()

    def move() -> None:
        for place in range(1, rounds + 1):
            index.apply(ids, ids, np.full((size, DIMENSION), place, np.float32))

    def look() -> int:
        looks = 0
        while not finished.is_set() or not looks:
            found_ids, found = index.search(np.zeros(DIMENSION, np.float32), size)
            assert sorted(found_ids.tolist()) == ids
            assert len(set(found.tolist())) == 1
            assert len(index.ids()) == size
            looks += 1
        return looks

    with ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(look) for _ in range(3)]
        try:
            pool.submit(move).result(WAIT)
        finally:
            finished.set()
        assert all(watcher.result(WAIT) > 0 for watcher in watchers)


def test_concurrent_changes_are_all_kept() -> None:
    index = Index(DIMENSION)

    def add_and_remove(writer: int) -> None:
        for step in range(50):
            vector_id = writer * 1000 + step
            index.apply([], [vector_id], np.full((1, DIMENSION), writer, np.float32))
            if step % 2:
                index.apply([vector_id], [], np.empty((0, DIMENSION), np.float32))

    with ThreadPoolExecutor(4) as pool:
        for writer in [pool.submit(add_and_remove, number) for number in range(4)]:
            writer.result(WAIT)

    assert set(index.ids().tolist()) == {number * 1000 + step for number in range(4) for step in range(0, 50, 2)}


def test_readers_share_the_lock() -> None:
    lock = ReadWriteLock()
    both_in = threading.Barrier(2, timeout=WAIT)

    def read() -> None:
        with lock.reading():
            both_in.wait()

    with ThreadPoolExecutor(2) as pool:
        for reader in [pool.submit(read), pool.submit(read)]:
            reader.result(WAIT)


def test_a_waiting_writer_gets_its_turn_before_later_readers() -> None:
    lock = ReadWriteLock()
    order: list[str] = []

    def write() -> None:
        with lock.writing():
            order.append("writer")

    def read() -> None:
        with lock.reading():
            order.append("reader")

    with ThreadPoolExecutor(2) as pool:
        with lock.reading():
            writer = pool.submit(write)
            while not lock._waiting_writers:
                assert not writer.done()
            reader = pool.submit(read)
            assert order == []
        writer.result(WAIT)
        reader.result(WAIT)

    assert order == ["writer", "reader"]


def test_the_lock_is_free_again_after_an_error_inside_it() -> None:
    lock = ReadWriteLock()
    for hold in (lock.reading, lock.writing):
        with pytest.raises(ZeroDivisionError), hold():
            raise ZeroDivisionError

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: lock.writing().__enter__()).result(WAIT)
