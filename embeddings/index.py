"""The index: exact L1 search over templates, with removal. The only module that imports faiss.

It answers one question, "which stored vectors are nearest to this one?", with the same distance that the head scores.
Approximate indexes are left out on purpose: HNSW cannot remove a vector, and a leaver must go at once.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


class Index:
    """Thread-safe: many searches or one change at a time."""

    def __init__(self, dimension: int) -> None:
        self._faiss = faiss.IndexIDMap2(faiss.IndexFlat(dimension, faiss.METRIC_L1))
        self._dimension = dimension
        self._lock = ReadWriteLock()

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    def apply(self, removed: Sequence[int], added: Sequence[int] | Ids, vectors: Vectors) -> None:
        """Removes ids, then adds `vectors` float32 (n, d) under the ids `added`.

        Remove before add, because faiss keeps both vectors of an id that is added twice. One call for
        a batch, because a removal copies the whole index whatever the number of ids.
        """
        ids = np.asarray(added, dtype=np.int64)
        vectors = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1, self._dimension)
        if len(ids) != len(vectors):
            raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors")
        gone = np.union1d(np.asarray(removed, dtype=np.int64), ids)
        with self._lock.writing():
            if len(gone) and self._faiss.ntotal:
                self._faiss.remove_ids(faiss.IDSelectorBatch(gone))
            if len(ids):
                self._faiss.add_with_ids(vectors, ids)

    def search(self, query: Vectors, limit: int) -> tuple[Ids, Vectors]:
        """The `limit` nearest ids and their L1 distances to `query` (d,), nearest first; fewer if fewer exist."""
        if query.shape != (self._dimension,):  # faiss checks this with a bare assert
            raise ValueError(f"a query has shape ({self._dimension},), got {query.shape}")
        with self._lock.reading():
            limit = min(limit, len(self))
            if limit == 0:
                return np.empty(0, np.int64), np.empty(0, np.float32)
            found, ids = self._faiss.search(query[np.newaxis], limit)
        return ids[0], found[0]

    def ids(self) -> Ids:
        """Every stored id, int64 (n,), in no particular order."""
        with self._lock.reading():
            return np.asarray(faiss.vector_to_array(self._faiss.id_map), dtype=np.int64)


def use_one_thread() -> None:
    """A server scales by processes: with several of them, faiss's own threads only get in each other's way."""
    faiss.omp_set_num_threads(1)


class ReadWriteLock:
    """Any number of readers or one writer; a waiting writer holds back new readers, so that it gets its turn."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writer = False
        self._waiting_writers = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: not self._writer and not self._waiting_writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._condition:
            self._waiting_writers += 1
            self._condition.wait_for(lambda: not self._writer and not self._readers)
            self._waiting_writers -= 1
            self._writer = True
        try:
            yield
        finally:
            with self._condition:
                self._writer = False
                self._condition.notify_all()
