"""This process's copy of the active templates, kept in step with the database.

The database is the truth. The copy applies the change log before each search and on a tick; a copy that slept past
the retained changes is built again from the rows.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from embeddings.index import Index
from service import metrics
from service.database import Database, scan
from service.first_reading import FirstReading, Snapshot
from service.models import ChangeMark, Template, TemplateChange
from service.templates import open_vectors, sealed_vectors
from service.vault import Vault

log = structlog.get_logger()

Vectors = NDArray[np.float32]

ROWS_AT_A_TIME = 1_000


@dataclass(frozen=True)
class Neighbour:
    vector_id: int
    distance: float


class SearchIndex:
    def __init__(
        self,
        database: Database,
        vault: Vault,
        model_version: str,
        dimension: int,
        first_reading: FirstReading | None = None,
    ) -> None:
        self._first_reading = first_reading
        self._database = database
        self._vault = vault
        self._model_version = model_version
        self._dimension = dimension
        self._index = Index(dimension)
        self._applied = -1  # the last change that is in the index; -1 while nothing is loaded
        self._catching_up = threading.Lock()
        self._loaded = threading.Event()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def is_loaded(self) -> bool:
        return self._loaded.is_set()

    def vector_ids(self) -> set[int]:
        return set(self._index.ids().tolist())

    def search(self, query: Vectors, limit: int) -> list[Neighbour]:
        """The nearest templates by L1 distance, everything committed before the call included."""
        self.catch_up()
        ids, found = self._index.search(query, limit)
        return [Neighbour(int(vector_id), float(d)) for vector_id, d in zip(ids, found, strict=True)]

    def let_go(self) -> None:
        """Its memory goes with the object; what it counted would stay."""
        metrics.index_templates.labels(self._model_version).set(0)

    def catch_up(self) -> None:
        """Applies every change committed before the call."""
        with self._catching_up, self._database.reading() as session:
            low_water, latest = _marks(session)
            if not self.is_loaded or self._applied < low_water:
                self._rebuild(session, latest)
            elif self._applied < latest:
                self._apply_changes(session, latest)
            metrics.index_templates.labels(self._model_version).set(len(self))

    def read_ahead(self) -> None:
        """Leaves a first reading to the other processes of this start and keeps none of it."""
        if self._first_reading is not None:
            with self._database.reading() as session:
                _, latest = _marks(session)
                self._first_reading.take(lambda: self._snapshot(session, latest))

    def _apply_changes(self, session: Session, latest: int) -> None:
        touched = set(
            session.scalars(
                select(TemplateChange.vector_id).where(
                    TemplateChange.seq > self._applied, TemplateChange.model_version == self._model_version
                )
            )
        )
        if touched:
            # Not what the log says was added but what is there now: a vector that came and went is simply absent.
            ids, vectors = self._read(session, touched)
            self._index.apply(list(touched), ids, vectors)
        self._applied = latest

    def _rebuild(self, session: Session, latest: int) -> None:
        """Fills a new index beside the old one, which goes on answering until then."""
        snapshot = None
        if self._first_reading is not None and not self.is_loaded:
            snapshot = self._first_reading.take(lambda: self._snapshot(session, latest))
        if snapshot is None or snapshot.model_version != self._model_version:  # a switch during the start
            snapshot = self._snapshot(session, latest)
        index = Index(self._dimension)
        index.apply([], snapshot.ids, snapshot.vectors)
        self._index, self._applied = index, snapshot.seq
        self._loaded.set()
        log.info("index_built", model_version=self._model_version, templates=len(index), seq=self._applied)

    def _snapshot(self, session: Session, latest: int) -> Snapshot:
        return Snapshot(latest, *self._read(session, None), self._model_version)

    def _read(self, session: Session, vector_ids: set[int] | None) -> tuple[NDArray[np.int64], Vectors]:
        rows = self._count(session) if vector_ids is None else len(vector_ids)
        # Filled in place: 100,000 small arrays and their concatenation would double the memory of a start.
        vectors = np.empty((rows, self._dimension), np.float32)
        ids: list[int] = []
        for chunk in _chunks(session, self._model_version, vector_ids):
            found, block = open_vectors(self._vault, chunk, self._dimension)
            vectors[len(ids) : len(ids) + len(found)] = block
            ids += found
        return np.asarray(ids, np.int64), vectors[: len(ids)]

    def _count(self, session: Session) -> int:
        """At least as many as there are to read: pending ones are in it, because leaving them out costs a join."""
        stored = select(func.count()).where(Template.model_version == self._model_version)
        return session.scalar(stored) or 0


def _marks(session: Session) -> tuple[int, int]:
    """The change up to which the log may have been trimmed, and the last one there ever was."""
    low_water, last = session.execute(
        select(
            select(ChangeMark.low_water).scalar_subquery(),
            select(func.max(TemplateChange.seq)).scalar_subquery(),
        )
    ).one()
    return low_water or 0, max(low_water or 0, last or 0)


def _chunks(session: Session, model_version: str, vector_ids: set[int] | None) -> Iterator:  # type: ignore[type-arg]
    wanted = sealed_vectors(model_version)
    if vector_ids is None:
        # Past the session, whose own handling of 100,000 rows takes as long as fetching them.
        yield from scan(session.connection(), wanted, ROWS_AT_A_TIME)
        return
    some = sorted(vector_ids)
    for start in range(0, len(some), ROWS_AT_A_TIME):
        yield session.execute(wanted.where(Template.vector_id.in_(some[start : start + ROWS_AT_A_TIME]))).all()


class CatchesUp(Protocol):
    def catch_up(self) -> None: ...


class Tick(threading.Thread):
    """Catches up time and again: an index, once a second, so that a leaver is gone from a process that nobody
    searches in."""

    def __init__(self, follower: CatchesUp, seconds: float, name: str = "index") -> None:
        super().__init__(name=name, daemon=True)
        self._follower = follower
        self._seconds = seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        while True:
            try:
                self._follower.catch_up()
            except Exception as problem:
                log.warning("behind", tick=self.name, problem=type(problem).__name__)
            if self._stopped.wait(self._seconds):
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=5)
