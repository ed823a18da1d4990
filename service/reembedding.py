"""The long part of an activation: every specimen is embedded again from its image, a few at a time.

Each few are one small transaction, which renews the lease and looks again for the people it writes about: whoever
left meanwhile gets no template back. What is done is in the templates themselves, so a worker that is killed loses
one such transaction, and the next goes on where it was.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
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
from service.enrolment import IMAGE
from service.errors import Refused
from service.models import Activation, Customer, Specimen
from service.product import Product
from service.vault import SealBroken, SealedValue, Vault

log = structlog.get_logger()

JOB = "activation"
LEASE = timedelta(seconds=20)
"""Renewed with every few specimens: so long nobody goes on where a worker was killed."""

NICE = 10

AT_A_TIME = 32
"""Others who write wait for one such transaction: some milliseconds."""

TICKS = 3
"""A switch waits for so many, that every process has begun to fill an index of the new version."""


class Read(NamedTuple):
    """A specimen's row, whose it is (row and owner id), and its vectors, if its image gave any."""

    specimen: int
    customer: int
    owner: str
    vectors: Vectors | None


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

    def work(self) -> str:
        activation = _current(self._product)
        if activation is None:
            return "finished meanwhile"
        try:
            encoder = self._product.models.encoder_of(activation.model_version)
        except Refused as refused:  # then this host could not serve it either, so it must not become active
            return self._fail(activation.id, refused.code)
        threads = self._product.settings.activation_threads
        with ThreadPoolExecutor(threads, initializer=_stand_back) as pool:
            while not self._stopped.is_set():
                self._embed_all(activation.id, encoder, pool)
                result = self._settle(activation.id)
                if result is not None:
                    return result
        return "stopped"

    def _embed_all(self, activation: int, encoder: Encoder, pool: ThreadPoolExecutor) -> None:
        """One pass in the order of enrolment. Whoever commits behind it is found by the next pass. While some are
        written the next are read."""
        ahead: Iterator[Read] = iter(())
        for found in self._batches(encoder.model_version):
            reading, ahead = ahead, pool.map(partial(_read, self._product.vault, encoder), found)
            self._write(activation, encoder.model_version, list(reading))
        self._write(activation, encoder.model_version, list(ahead))

    def _batches(self, version: str) -> Iterator[Sequence[Any]]:
        after = 0
        while not self._stopped.is_set():
            found = self._missing(version, after)
            if not found:
                return
            yield found
            after = found[-1].id

    def _write(self, activation: int, version: str, read: Sequence[Read]) -> None:
        if not read:
            return
        with self._product.database.writing() as session:
            self._hold(session, activation)
            self._keep(session, activation, version, read)
        self._rest(len(read))

    def _missing(self, version: str, after: int) -> Sequence[Any]:
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
            .where(Specimen.id > after, is_missing(version))
            .order_by(Specimen.id)
            .limit(self._at_a_time)
        )
        with self._product.database.asking() as connection:
            return connection.execute(wanted).all()

    def _hold(self, session: Session, activation: int) -> None:
        """Raises `Overtaken` where the lease or the activation went to somebody else: nothing is written then."""
        jobs.renew(session, JOB, self._worker, LEASE)
        if session.scalar(select(Activation.slot).where(Activation.id == activation)) is None:
            raise Overtaken

    def _keep(self, session: Session, activation: int, version: str, read: Sequence[Read]) -> None:
        # In the order that a removal takes them: the person first, then the turn to write templates.
        people = sorted({one.customer for one in read})
        persons = select(Customer.id).where(Customer.id.in_(people)).order_by(Customer.id)
        session.execute(persons.with_for_update(read=True, key_share=True))
        wanted = select(Specimen.id, Specimen.status).where(
            Specimen.id.in_([one.specimen for one in read]), lacks(version)
        )
        still = {row.id: row.status for row in session.execute(wanted)}
        there = [one for one in read if one.specimen in still]
        embedded = [
            templates.Embedded(one.specimen, one.owner, still[one.specimen] == "active", one.vectors)
            for one in there
            if one.vectors is not None
        ]
        templates.store(session, self._product.vault, version, embedded)
        lost = [one.specimen for one in there if one.vectors is None]
        if lost:
            session.execute(update(Specimen).where(Specimen.id.in_(lost)).values(needs_reenrolment=version))
        progress = {
            "done": Activation.done + len(embedded),
            "total": Activation.total - len(lost),
            "needs_reenrolment": Activation.needs_reenrolment + len(lost),
        }
        session.execute(update(Activation).where(Activation.id == activation).values(progress))

    def _rest(self, specimens: int) -> None:
        if self._rate is not None:
            self._stopped.wait(max(0.0, specimens / self._rate - (monotonic() - self._rested_at)))
        self._rested_at = monotonic()

    def _settle(self, activation_id: int) -> str | None:
        """After a pass: the switch, if nobody enrolled meanwhile and the processes had time. None: another pass."""
        with self._product.database.writing() as session:
            self._hold(session, activation_id)
            lock_templates(session)
            activation = session.get_one(Activation, activation_id)
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

    def _fail(self, activation_id: int, problem: str) -> str:
        with self._product.database.writing() as session:
            self._hold(session, activation_id)
            finish(session, session.get_one(Activation, activation_id), problem)
        return f"failed: {problem}"


def _stand_back() -> None:
    """Verifications come first where cores are scarce. Linux lowers one thread, and nobody may raise it again."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _read(vault: Vault, encoder: Encoder, row: Any) -> Read:
    return Read(row.id, row.customer_id, row.owner, _vectors(vault, encoder, row))


def _vectors(vault: Vault, encoder: Encoder, row: Any) -> Vectors | None:
    """None where the image is gone, does not open, or is nothing that this version can read."""
    try:
        image = vault.open(row.owner, IMAGE, SealedValue(row.key_id, row.nonce, row.sealed))
        return encoder.enrol(image)
    except (SealBroken, UnusableImage) as problem:
        log.warning("specimen_not_embedded", specimen=row.id, problem=type(problem).__name__)
        return None
