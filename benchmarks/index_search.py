"""Searching the index directly, in one thread: run apart, a task on standard input."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import answer_task
from embeddings.index import Index, use_one_thread

Vectors = NDArray[np.float32]

NEAREST = 10
CHECKED = 3


def measure(dimension: int, templates: list[int], searches: int) -> dict[str, Any]:
    use_one_thread()
    generator = np.random.default_rng(2)
    index = Index(dimension)
    stored = generator.standard_normal((templates[-1], dimension), dtype=np.float32)
    queries = generator.standard_normal((searches, dimension), dtype=np.float32)
    rows = []
    for size in templates:
        added = np.arange(len(index), size)
        index.apply([], added.tolist(), stored[added[0] :][: len(added)])
        _check(index, stored[:size], queries[:CHECKED])
        rows.append({"templates": size, "milliseconds": [_search_ms(index, query) for query in queries]})
        rows[-1]["remove_ms"] = _remove_ms(index, stored)
    return {"rows": rows}


def _search_ms(index: Index, query: Vectors) -> float:
    started = time.perf_counter()
    index.search(query, NEAREST)
    return 1000 * (time.perf_counter() - started)


def _remove_ms(index: Index, stored: Vectors) -> float:
    started = time.perf_counter()
    index.apply([0], [], np.empty((0, stored.shape[1]), np.float32))
    taken = 1000 * (time.perf_counter() - started)
    index.apply([], [0], stored[:1])
    return taken


def _check(index: Index, stored: Vectors, queries: Vectors) -> None:
    """The index is exact: the same neighbours and distances as numpy in float64."""
    for query in queries:
        ids, found = index.search(query, NEAREST)
        every = np.concatenate(
            [np.abs(part.astype(np.float64) - query).sum(axis=1) for part in np.array_split(stored, 64)]
        )
        nearest = np.argpartition(every, NEAREST)[:NEAREST]
        expected = nearest[np.argsort(every[nearest])]
        np.testing.assert_allclose(found, every[expected], rtol=1e-5)
        np.testing.assert_array_equal(ids, expected)


if __name__ == "__main__":
    answer_task(measure)
