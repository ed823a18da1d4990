"""The long part of an activation: every specimen is embedded again from its image, a few at a time.

Each few are one small transaction, which renews the lease and looks again for the people it writes about: whoever
left meanwhile gets no template back. What is done is in the templates themselves, so a worker that is killed loses
one such transaction, and the next goes on where it was.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from embeddings.encoder import Encoder, Vectors
from embeddings.errors import UnusableImage
from service import jobs, templates
from service.activation import count, finish, is_missing, lacks
from service.active_model import read_standing, switch
from service.database import Overtaken, lock_templates
from service.embedders import Answer, embedders
from service.enrolment import IMAGE
from service.errors import Refused
from service.models import Activation, Customer, Specimen
from service.product import Product
from service.vault import SealBroken, SealedValue, Vault

log = structlog.get_logger()

JOB = "activation"
LEASE = timedelta(seconds=20)
"""Renewed with every few specimens: so long nobody goes on where a worker was killed."""

AT_A_TIME = 32
"""Others who write wait for one such transaction: some milliseconds."""

PATIENCE_SECONDS = 5.0
"""Until the next try, where a tower is away."""

TICKS = 3
"""A switch waits for so many, that every process has begun to fill an index of the new version."""


class Asked(NamedTuple):
    """A specimen's row, and whose it is: row and owner id."""

    specimen: int
    customer: int
    owner: str


Read = tuple[Asked, Vectors | None]
"""Without vectors where the image is gone, does not open, or is nothing that this version can read."""


def advance(product: Product, worker: str, stopped: threading.Event) -> str | None:
    """Works on the activation on its way, if no other worker does, until nothing is left to do for now or `stopped`.
    Says what came of it."""
    if _current(product) is None or not jobs.lease(product.database, JOB, worker, LEASE):
        return None
    try:
        return _Turn(product, worker, stopped).work()
    except Overtaken:
        return "another worker has it"
    finally:
        jobs.release(product.database, JOB, worker)


def _current(product: Product) -> Activation | None:
    with product.database.reading() as session:
        return read_standing(session, product.models.default_version).activation


class _Turn:
    """One worker's lease of the activation."""

    def __init__(self, product: Product, worker: str, stopped: threading.Event) -> None:
        self._product = product
        self._worker = worker
        self._stopped = stopped
        self._rate = product.settings.activation_rate
        self._at_a_time = min(AT_A_TIME, int(self._rate or AT_A_TIME))  # a rest is shorter than the lease
        self._rested_at = monotonic()
        self._ahead = product.settings.activation_threads + 1

    def work(self) -> str:
        activation = _current(self._product)
        if activation is None:
            return "finished meanwhile"
        try:
            encoder = self._product.models.encoder_of(activation.model_version)
        except Refused as refused:  # then this host could not serve it either, so it must not become active
            return self._fail(activation.id, refused.code)
        while not self._stopped.is_set():
            try:
                found = self._embed_all(activation.id, encoder)
            except Refused as refused:  # a tower far away that gives no answer, or not yet the right one
                return self._wait(activation.id, refused.code)
            except BrokenExecutor:  # a process that embeds was killed, as for want of memory
                return self._wait(activation.id, "internal_error")
            result = self._settle(activation.id, anything_new=found)
            if result is not None:
                return result
        return "stopped"

    def _embed_all(self, activation: int, encoder: Encoder) -> bool:
        """One pass in the order of enrolment; whether there was anything to do. Whoever commits behind it is found by
        the next pass. While some are written the next are read."""
        version = encoder.model_version
        missing = self._missing(version)
        if not missing:
            return False
        under_way: deque[tuple[list[Asked], Future[list[Answer]]]] = deque()
        with embedders(self._product.settings, encoder, len(missing)) as embed:
            for start in range(0, len(missing), self._at_a_time):
                if len(under_way) == self._ahead:
                    self._write(activation, version, *under_way.popleft())
                if self._stopped.is_set():
                    break
                asked, images = self._open(missing[start : start + self._at_a_time])
                under_way.append((asked, embed(images)))
            while under_way:
                self._write(activation, version, *under_way.popleft())
        return True

    def _missing(self, version: str) -> Sequence[int]:
        """All at once, from indexes alone: whoever asks for the next few looks through all that are left."""
        wanted = select(Specimen.id).where(is_missing(version)).order_by(Specimen.id)
        with self._product.database.asking() as connection:
            return connection.scalars(wanted).all()

    def _open(self, specimens: Sequence[int]) -> tuple[list[Asked], list[bytes]]:
        wanted = (
            select(
                Specimen.id,
                Specimen.customer_id,
                Customer.owner,
                Specimen.key_id,
                Specimen.nonce,
                Specimen.sealed,
            )
            .join(Customer, Customer.id == Specimen.customer_id)
            .where(Specimen.id.in_(specimens))
            .order_by(Specimen.id)
            .execution_options(binary=True)
        )
        with self._product.database.asking() as connection:
            rows = connection.execute(wanted).all()
        asked = [Asked(row.id, row.customer_id, row.owner) for row in rows]
        return asked, [_image(self._product.vault, row) for row in rows]

    def _write(self, activation: int, version: str, asked: list[Asked], reading: Future[list[Answer]]) -> None:
        answers = zip(asked, reading.result(), strict=True)
        read = [(one, _vectors(one, answer)) for one, answer in answers]
        with self._product.database.writing() as session:
            self._hold(session, activation)
            self._keep(session, activation, version, read)
        self._rest(len(read))

    def _hold(self, session: Session, activation: int) -> None:
        """Raises `Overtaken` where the lease or the activation went to somebody else: nothing is written then."""
        jobs.renew(session, JOB, self._worker, LEASE)
        if session.scalar(select(Activation.slot).where(Activation.id == activation)) is None:
            raise Overtaken

    def _keep(self, session: Session, activation: int, version: str, read: Sequence[Read]) -> None:
        # In the order that a removal takes them: the person first, then the turn to write templates.
        people = sorted({asked.customer for asked, _ in read})
        persons = select(Customer.id).where(Customer.id.in_(people)).order_by(Customer.id)
        session.execute(persons.with_for_update(read=True, key_share=True))
        wanted = select(Specimen.id, Specimen.status).where(
            Specimen.id.in_([asked.specimen for asked, _ in read]), lacks(version)
        )
        still = {row.id: row.status for row in session.execute(wanted)}
        embedded = [
            templates.Embedded(asked.specimen, asked.owner, still[asked.specimen] == "active", vectors)
            for asked, vectors in read
            if vectors is not None and asked.specimen in still
        ]
        lost = [asked.specimen for asked, vectors in read if vectors is None and asked.specimen in still]
        templates.store(session, self._product.vault, version, embedded)
        if lost:
            session.execute(update(Specimen).where(Specimen.id.in_(lost)).values(needs_reenrolment=version))
        progress = {
            "done": Activation.done + len(embedded),
            "total": Activation.total - len(lost),
            "needs_reenrolment": Activation.needs_reenrolment + len(lost),
            "problem": None,
        }
        session.execute(update(Activation).where(Activation.id == activation).values(progress))

    def _rest(self, specimens: int) -> None:
        if self._rate is not None:
            self._stopped.wait(max(0.0, specimens / self._rate - (monotonic() - self._rested_at)))
        self._rested_at = monotonic()

    def _settle(self, activation_id: int, *, anything_new: bool) -> str | None:
        """After a pass: the switch, if nobody enrolled meanwhile and the processes had time. None: another pass."""
        with self._product.database.writing() as session:
            self._hold(session, activation_id)
            activation = session.get_one(Activation, activation_id)
            if activation.state == "shadowing" and not anything_new:  # asked every second, for a day: without a count
                return self._shadow(session, activation)
            lock_templates(session)
            if session.scalar(select(Specimen.id).where(is_missing(activation.model_version)).limit(1)) is not None:
                return None
            if activation.mode == "shadow":
                count(session, activation)
                return self._shadow(session, activation)
            ready_at = activation.created_at + TICKS * timedelta(seconds=self._product.settings.index_refresh_seconds)
            wait = (ready_at - datetime.now(UTC)).total_seconds()
            if wait <= 0:
                count(session, activation)
                switch(session, self._product.models.default_version, activation.model_version)
                finish(session, activation)
                return f"switched to {activation.model_version}"
        self._stopped.wait(wait)
        return None

    def _shadow(self, session: Session, activation: Activation) -> str:
        now = datetime.now(UTC)
        if activation.shadow_until is None:
            activation.state = "shadowing"
            activation.shadow_until = now + timedelta(hours=self._product.settings.shadow_hours)
        if activation.shadow_until > now:
            return f"{activation.model_version} scores in the shadow"
        finish(session, activation)
        return f"{activation.model_version} has scored in the shadow"

    def _wait(self, activation_id: int, problem: str) -> str:
        """Says to whoever asks what keeps it, until the next specimens are written. The next turn tries again."""
        with self._product.database.writing() as session:
            self._hold(session, activation_id)
            session.execute(update(Activation).where(Activation.id == activation_id).values(problem=problem))
        self._stopped.wait(PATIENCE_SECONDS)
        return f"waits: {problem}"

    def _fail(self, activation_id: int, problem: str) -> str:
        with self._product.database.writing() as session:
            self._hold(session, activation_id)
            finish(session, session.get_one(Activation, activation_id), problem)
        return f"failed: {problem}"


def _image(vault: Vault, row: Any) -> bytes:
    """None of its bytes where it is gone or does not open."""
    try:
        return vault.open(row.owner, IMAGE, SealedValue(row.key_id, row.nonce, row.sealed))
    except SealBroken as problem:
        log.warning("specimen_not_opened", specimen=row.id, problem=type(problem).__name__)
        return b""


def _vectors(asked: Asked, answer: Answer) -> Vectors | None:
    if isinstance(answer, UnusableImage):
        log.warning("specimen_not_embedded", specimen=asked.specimen, problem=answer.code)
        return None
    return answer
