"""The connection to SQLite or PostgreSQL: transactions, and what is said when there is none."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from assay.errors import Refusal, invalid, unavailable

CONNECTIONS = 16  # kept open by one process
MORE_CONNECTIONS = 16  # opened beyond them under load
WAIT_S = 10  # for a connection of the pool, or for SQLite's writer
RETRY_AFTER_S = 1.0

# What a writer's transaction begins with: one that is durable, and one that need not be. SQLite's takes its lock at the
# beginning: one taken later, after a read, cannot be waited for.
_SQLITE_WRITING = (
    ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"),
    ("PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE"),
)
_POSTGRESQL_WRITING = ((), ("SET LOCAL synchronous_commit TO off",))

_log = logging.getLogger("assay.store")


class Database:
    """Transactions on one database. A connection that was lost is made again by the next transaction.

    Whatever cannot reach the database raises Refusal UNAVAILABLE. A transaction that raises changes nothing; one
    whose connection is lost while it commits may have been committed, so what calls it can be called again.
    """

    def __init__(self, url: str) -> None:
        """Connects at the first transaction. Raises Refusal INVALID for a URL of neither database."""
        parsed = _parsed(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = _sqlite(parsed) if self.is_sqlite else _postgresql(parsed)
        # A reader sees one moment throughout: SQLite's transactions do so always.
        snapshot = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(**snapshot)
        durable, hasty = _SQLITE_WRITING if self.is_sqlite else _POSTGRESQL_WRITING
        self._writer = self._engine.execution_options(first=durable)
        self._hasty_writer = self._engine.execution_options(first=hasty)
        # SQLite has one writer at a time and lets the others poll. Within a process they queue up instead.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with _refusing_when_lost(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, is_durable: bool = True) -> Generator[Connection]:
        """A transaction: committed at the end, rolled back if anything is raised. Never begin one inside another.

        One that need not be durable does not wait for the disk: the end of the machine, not that of the process, may
        take it back."""
        writer = self._writer if is_durable else self._hasty_writer
        with self._turn, _refusing_when_lost(), writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def insert_new(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what to do ON CONFLICT: standard SQL has none."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


@contextmanager
def _refusing_when_lost() -> Generator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as err:
        raise _lost(err) from err
    except DBAPIError as err:
        if err.connection_invalidated:
            raise _lost(err) from err
        raise


def _lost(err: Exception) -> Refusal:
    """The refusal says nothing of hosts and paths, since it is shown to anyone; the log does."""
    _log.warning("the database does not answer: %s", err)
    return unavailable(f"the database does not answer now; try again in {RETRY_AFTER_S:g} s", RETRY_AFTER_S)


def _parsed(url: str) -> URL:
    expected = "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        raise invalid(f"setting store_url is not a URL; {expected}") from err
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise invalid(f"setting store_url begins with {parsed.drivername}:; {expected}")


def _sqlite(url: URL) -> Engine:
    folder = Path(str(url.database)).parent
    _make_folder(folder)
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=WAIT_S,
        connect_args={"timeout": WAIT_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", partial(_prepare_sqlite, folder))
    event.listen(engine, "begin", partial(_begin, ("BEGIN",)))
    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise invalid(f"the folder of the database, {folder}, cannot be made: {err.strerror}") from err


def _prepare_sqlite(folder: Path, connection: Any, _record: object) -> None:
    """What is deleted is overwritten, as erasure asks for."""
    connection.isolation_level = None  # the driver begins nothing by itself
    with _alone_in(folder):  # SQLite does not wait its turn where the journal's kind changes, which the first one does
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """No other process is here meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begin(otherwise: tuple[str, ...], connection: Connection) -> None:
    for statement in connection.get_execution_options().get("first", otherwise):
        connection.exec_driver_sql(statement)


def _postgresql(url: URL) -> Engine:
    # A server that went away without a word is noticed within half a minute.
    patience = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=WAIT_S,
        pool_pre_ping=True,
        connect_args=patience | {"tcp_user_timeout": 30_000},
    )
    event.listen(engine, "begin", partial(_begin, ()))
    return engine
