"""The database: opened in one place, used in three ways.

`asking()` is for one statement, `reading()` sees one consistent snapshot, `writing()` commits as a whole or not
at all.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, Engine, Insert, Select, Table, create_engine, event, insert, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry

if TYPE_CHECKING:
    from sqlalchemy.dialects import sqlite

P = ParamSpec("P")
T = TypeVar("T")

# Any 63-bit number does; it only must be the same in every process that writes templates.
TEMPLATE_LOCK = 0x436F756E74657273
BUSY_TIMEOUT_SECONDS = 10
ATTEMPTS = 10
MAPPED_BYTES = 2**40  # SQLite takes what it was built to take, 2 GiB as a rule


class Overtaken(Exception):
    """What a transaction was about to build on went away before it began: do all of it again."""


def again_when_overtaken(work: Callable[P, T]) -> Callable[P, T]:
    """Each time somebody else got something done, so this comes to an end; the limit is for a bug."""

    @wraps(work)
    def attempts(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            with suppress(Overtaken):
                return work(*args, **kwargs)
        return work(*args, **kwargs)

    return attempts


class Database:
    def __init__(self, url: str, pool_size: int = 5) -> None:
        self._asking: Engine
        self._reading: Engine
        self._writing: Engine
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _open_sqlite(url, pool_size) if is_sqlite else _open_postgresql(url, pool_size)
        if is_sqlite:
            # A deferred transaction that turns from reading to writing fails at once when another process
            # wrote in between; one that announces itself waits its turn.
            self._asking = self.engine.execution_options(begin="")
            self._reading = self.engine
            self._writing = self.engine.execution_options(begin="BEGIN IMMEDIATE")
        else:
            self._asking = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")
            self._writing = self.engine

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """Without a transaction, which costs PostgreSQL two round trips more and SQLite a tenth of a millisecond."""
        with self._asking.connect() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self._reading) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Commits at the end, rolls back on any error. The transaction begins with the first statement, so slow
        work such as reading images belongs before it: SQLite lets one process write at a time."""
        with Session(self._writing) as session, session.begin():
            yield session

    def close(self) -> None:
        self.engine.dispose()


def lock_templates(session: Session) -> None:
    """Makes writers of templates take turns until they commit, so that the order of change rows is the order in
    which they become visible. Without it a reader could see change 8, remember it, and never see a 7 that
    commits later. On SQLite BEGIN IMMEDIATE has done it already."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": TEMPLATE_LOCK})


def direct_insert(model: type[DeclarativeBase]) -> Insert:
    """An INSERT that goes past the unit of work, for rows of every request: the work around such a row costs more
    than the row."""
    return insert(cast("Table", model.__table__)).inline()  # no new key is read back


def conflict_insert(session: Session, model: type[DeclarativeBase]) -> "sqlite.Insert":
    """An INSERT that knows ON CONFLICT, which each database spells its own way. Only the dialect in use is imported:
    the other one costs a start 0.05 s."""
    dialect = import_module(f"sqlalchemy.dialects.{session.get_bind().dialect.name}")
    return cast("sqlite.Insert", dialect.insert(model))


def insert_rows(connection: Connection, statement: Insert, rows: Sequence[dict[str, Any]]) -> None:
    """A list of one row would go the way of many, which costs PostgreSQL's driver twice as much."""
    if rows:
        connection.execute(statement, rows if len(rows) > 1 else rows[0])


def scan(connection: Connection, statement: Select[*tuple[Any, ...]], rows: int) -> Iterator[Sequence[Any]]:
    """Many rows, some at a time, the way that is quickest with each database. It takes a third off a start."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:  # while it lasts only: pages that were mapped count as memory of the process
        connection.exec_driver_sql(f"PRAGMA mmap_size={MAPPED_BYTES}")
    with connection.execute(statement.execution_options(yield_per=rows, binary=True)) as found:
        yield from found.partitions()
    if is_sqlite:
        connection.exec_driver_sql("PRAGMA mmap_size=0")


@contextmanager
def pipelined(session: Session) -> Iterator[None]:
    """Statements inside go to PostgreSQL without waiting for each other's end, so none may need another's answer:
    one round trip in all. SQLite has none to save. Raises what they raise, at the latest on leaving."""
    if session.get_bind().dialect.name != "postgresql":
        yield
        return
    import psycopg  # costs a start on SQLite 0.06 s

    driver = cast("psycopg.Connection[Any]", session.connection().connection.driver_connection)
    try:
        with driver.pipeline():
            yield
    except psycopg.Error as problem:  # what arrives on leaving did not go through SQLAlchemy
        raise DBAPIError.instance("", None, problem, psycopg.Error) from problem


def _open_sqlite(url: str, pool_size: int) -> Engine:
    file = make_url(url).database
    if not file or file == ":memory:":
        raise ValueError("an embedded database needs a file: several processes share it")
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=pool_size,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    _take_turns_to_write(engine, f"{file}-turn")
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late: see _begin_sqlite
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a power cut loses nothing that was answered
        "foreign_keys=ON",
        "secure_delete=ON",  # deleted rows are overwritten, not only unlinked
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("begin", "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)


def _take_turns_to_write(engine: Engine, path: str) -> None:
    """Writers of all processes wait for a lock of the operating system before they ask SQLite for its own.

    SQLite lets a waiting writer sleep and try again, up to a tenth of a second at a time, while nobody writes; here
    it tries again after half a millisecond. Whoever dies with the lock leaves it with the last breath.
    """

    def open_turn(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["turn"] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take_turn(connection: Connection) -> None:
        if connection.get_execution_options().get("begin"):
            _wait_for(connection.info["turn"])

    def end_turn(_connection: object, record: ConnectionPoolEntry) -> None:
        fcntl.flock(record.info["turn"], fcntl.LOCK_UN)

    def close_turn(_connection: object, record: ConnectionPoolEntry) -> None:
        os.close(record.info.pop("turn"))

    event.listen(engine, "connect", open_turn)
    event.listen(engine, "begin", take_turn, insert=True)  # before SQLite's own BEGIN
    event.listen(engine, "checkin", end_turn)
    event.listen(engine, "close", close_turn)


def _wait_for(turn: int) -> None:
    """As long as SQLite itself would wait: a wait in the kernel has no end when whoever has the turn was stopped."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while not _take(turn):
        if time.monotonic() > deadline:
            raise OperationalError(None, None, sqlite3.OperationalError("database is locked"))
        time.sleep(0.0005)


def _take(turn: int) -> bool:
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Nobody waits without end: for a server that does not answer, for a line that went dead, for another's lock.
PATIENCE = {
    "connect_timeout": BUSY_TIMEOUT_SECONDS,
    "tcp_user_timeout": BUSY_TIMEOUT_SECONDS * 1000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "options": f"-c lock_timeout={BUSY_TIMEOUT_SECONDS}s",
}


def _open_postgresql(url: str, pool_size: int) -> Engine:
    asked = make_url(url).query
    options = f"{PATIENCE['options']} {asked.get('options', '')}".strip()  # the operator's own come last and win
    patience = {name: value for name, value in PATIENCE.items() if name not in asked} | {"options": options}
    engine = create_engine(url, pool_size=pool_size, max_overflow=pool_size, connect_args=patience)

    def fetch_binary(
        _connection: object, cursor: Any, _statement: str, _values: object, context: Any, _many: bool
    ) -> None:
        if context is not None and context.execution_options.get("binary"):
            cursor.format = 1  # bytes as they are, instead of twice as many hexadecimal digits

    event.listen(engine, "before_cursor_execute", fetch_binary)
    return engine
