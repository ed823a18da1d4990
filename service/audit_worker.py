"""The worker's part in the audit trail: a thread that seals every second, and publishes heads."""

import threading
from datetime import timedelta
from time import monotonic

import structlog

from service import jobs
from service.audit_heads import S3, Heads, HeadsUnreachable, open_heads
from service.audit_sealer import AT_A_TIME, Backlog, last_seal, seal
from service.database import Database, Overtaken
from service.models import AuditSeal
from service.product import open_keys
from service.settings import Settings
from service.signing import Signer

log = structlog.get_logger()

JOB = "audit_seal"
LEASE = timedelta(seconds=20)
"""So long nothing is sealed where a worker was killed. It is held from one turn to the next and renewed with each
seal, so that a turn is one transaction."""

EVERY_SECONDS = 1.0

S3_EVERY_SECONDS = 60.0
"""An object a second would be 30 million a year; a head covers all the seals before it."""


class Sealer(threading.Thread):
    """Beside the worker's jobs, which may take long. Opens the key store with the first event."""

    def __init__(self, settings: Settings, worker: str, stopped: threading.Event) -> None:
        super().__init__(name="sealer", daemon=True)
        self._settings = settings
        self._worker = worker
        self._stopped = stopped
        self._database = Database(settings.database_url, pool_size=1)
        self._turns: Turns | None = None
        self._publisher: Publisher | None = None

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                more = self._turn()
            except Overtaken:
                more = False
            except Exception as problem:
                log.error("sealing_failed", problem=type(problem).__name__)  # events wait, and are sealed later
                more = False
            self._stopped.wait(0 if more else EVERY_SECONDS)
        if self._turns is not None:
            self._turns.close()
        self._database.close()

    def _turn(self) -> bool:
        """Whether more waits already; what comes meanwhile waits its second."""
        if self._turns is None:
            signer = Signer(open_keys(self._settings.keystore_url, self._database).signing)
            self._turns = Turns(self._database, signer, self._worker)
        if self._publisher is None:
            self._publisher = Publisher(self._database, open_heads(self._settings.audit_heads), self._every())
        sealed = self._turns.seal()
        self._publisher.publish(sealed)
        return sealed is not None and sealed.last - sealed.first + 1 == AT_A_TIME

    def _every(self) -> float:
        return S3_EVERY_SECONDS if (self._settings.audit_heads or "").startswith(S3) else 0.0


class Turns:
    """One worker's turns at the chain."""

    def __init__(self, database: Database, signer: Signer, worker: str) -> None:
        self._database = database
        self._signer = signer
        self._worker = worker
        self._backlog = Backlog()
        self._leased_until = 0.0

    def seal(self) -> AuditSeal | None:
        """None where nothing waits, or another worker does it. Raises `Overtaken`, and seals nothing then."""
        with self._database.asking() as connection:
            if not self._backlog.read(connection, 1):
                return None
        if not self._leased():
            return None
        try:
            with self._database.writing() as session:
                session.expire_on_commit = False
                jobs.renew(session, JOB, self._worker, LEASE)
                return seal(session, self._signer, self._backlog)
        except Exception:
            self._leased_until = 0.0
            raise

    def close(self) -> None:
        jobs.release(self._database, JOB, self._worker)

    def _leased(self) -> bool:
        """A margin is left for the turn itself; should it run out nevertheless, renewing fails."""
        if monotonic() > self._leased_until - LEASE.total_seconds() / 2:
            jobs.release(self._database, JOB, self._worker)
            if not jobs.lease(self._database, JOB, self._worker, LEASE):
                return False
        self._leased_until = monotonic() + LEASE.total_seconds()
        return True


class Publisher:
    """The newest seal at a start, then each that this worker made, at most one in `every` seconds."""

    def __init__(self, database: Database, heads: Heads | None, every: float) -> None:
        self._heads = heads
        self._every = every
        self._next = 0.0
        self._waiting: AuditSeal | None = None
        if heads is not None:
            with database.reading() as session:
                self._waiting = last_seal(session)

    def publish(self, sealed: AuditSeal | None) -> None:
        """Where the heads cannot be reached, the newest waits for the next turn."""
        if self._heads is None:
            return
        self._waiting = sealed or self._waiting
        if self._waiting is None or monotonic() < self._next:
            return
        self._next = monotonic() + self._every
        try:
            self._heads.publish(self._waiting)
            self._waiting = None
        except HeadsUnreachable as problem:
            log.error("head_not_published", problem=str(problem))
