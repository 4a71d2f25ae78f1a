"""Access to the database: a `Database` has one engine for each process and runs each transaction as a `with` block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session, sessionmaker

from models.db.batch_insert import BatchSession
from models.db.caller import IS_TOLD, tell_call
from models.db.connections import CONNECT_LIMIT, TimedConnection
from models.db.transient_errors import is_silent
from models.db.work_queue import WorkKind, due_kinds
from models.values import utc_now  # noqa: TID251 - to say how far this machine's clock is off

STATEMENT_LIMIT = 30.0
"""Seconds that one statement may take, unless its transaction sets another limit, as jobs over whole tables do."""
_CHECK_LIMIT = 3.0
"""Seconds that the check of a pooled connection may take."""
_MARGIN = 3.0
"""Seconds beyond the limit for a statement after which a server that has still not answered counts as unreachable."""
_IDLE = 5.0
"""Seconds after which a pooled connection is checked before its next use; the check also reads the server's clock."""
_ROUND_TRIP = 1.0
"""Seconds that the query for the server's time may take; a slower answer is not used to set the clock."""
_STUCK = 2.0
"""Seconds without a new transaction after which the running transactions count as stuck."""
_READ_ONLY = "25006"
"""The SQLSTATE of a write on a server that is, or has become, a read-only standby."""

_POOLED = {"prepare_threshold": None}
"""psycopg's parameters for PgBouncer in transaction mode: no prepared statements.

The next transaction may run on another connection to the server, so nothing may outlive a transaction. For the same
reason no settings of the session are used.
"""

OnDue = Callable[[Collection[WorkKind]], object]
"""A function called after a commit that scheduled rows for processing now, with the rows' kinds of work."""


class Database:
    """An engine with its connection pool, and sessions on the engine. Does not connect before the first transaction.

    Sessions do not flush before queries: the writes of a batch are sent together, and code that needs a generated key
    flushes explicitly. `on_due` is called after each commit that scheduled rows of a work queue to be processed now.
    `statement_limit` and `lock_limit` are the seconds that a statement may run (None: no limit) and may wait for a
    lock.

    `at_once` limits how many transactions run at the same time (None: no limit). Further ones wait; they raise
    `TimeoutError` of SQLAlchemy if no transaction has begun for 2 seconds, or if the server does not answer.

    `caller` is called when a transaction begins. It returns the caller on whose behalf the transaction runs, as a text
    (`models.db.caller`), and the database is told this caller for row-level security. With None the database is not
    told. `name` is the part of the system that connects, as the server shows it. A `url` with `pgbouncer=true` leads to
    PgBouncer in transaction mode: each transaction then sets its limits itself, and no statement is prepared.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        on_due: OnDue | None = None,
        statement_limit: float | None = STATEMENT_LIMIT,
        lock_limit: float = 10,
        at_once: int | None = None,
        caller: Callable[[], str] | None = None,
        name: str = "standorte",
    ) -> None:
        limits = {"timezone": "UTC", "lock_timeout": f"{lock_limit:g}s", "idle_in_transaction_session_timeout": "60s"}
        if statement_limit is not None:
            limits["statement_timeout"] = f"{statement_limit:g}s"
        if caller is not None:
            # It would read all rows of a table and ask row-level security about each: docs/decisions/0068.
            limits["enable_mergejoin"] = "off"
        address, is_pooled = _without_mark(url)
        self.engine = sa.create_engine(
            address,
            pool_size=pool_size,
            max_overflow=5,
            pool_timeout=5,
            pool_recycle=1800,
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_LIMIT,
                "application_name": name,
                **(_POOLED if is_pooled else _options(limits)),
            },
        )
        self.on_due = on_due
        self._caller = caller
        self._turns = None if at_once is None else threading.Semaphore(at_once)
        self._latest_turn = 0.0
        """The value of `_ticks` when the latest transaction began."""
        self._silent = False
        """Whether the server did not answer the transaction that ended last."""
        self._patience = None if statement_limit is None else statement_limit + _MARGIN
        self._anchor: tuple[datetime, float] | None = None
        """The server's time as it was last read, and the value of `_ticks` at that moment."""
        self._limits = limits if is_pooled else {}
        """The PostgreSQL settings, by name, that each transaction sets itself; empty unless PgBouncer is used."""
        if caller is not None or is_pooled:
            # Not a statement after it: told with the beginning, it costs no round trip.
            self.engine.dialect.do_begin = self._begin  # type: ignore[method-assign]
        sa.event.listen(self.engine, "do_connect", self._connect)
        sa.event.listen(self.engine, "checkout", self._check)
        sa.event.listen(self.engine, "checkin", _note_use)
        sa.event.listen(self.engine, "handle_error", _drop_read_only)
        sa.event.listen(self.engine, "handle_error", _forget_values)
        self._sessions = sessionmaker(self.engine, class_=BatchSession, autoflush=False, expire_on_commit=False)

    @contextmanager
    def transaction(self, *, statement_limit: float | None = None) -> Iterator[Session]:
        """Yield a session in a new transaction; commit at the end of the block, roll back if an exception is raised.

        `statement_limit` is in seconds; None keeps the limit of this `Database`. After the commit `on_due` is called
        with the kinds of work for which the transaction scheduled rows to be processed now.
        """
        with self._turn(), self._sessions.begin() as session:
            session.info[IS_TOLD] = self._caller is not None
            if statement_limit is None:
                yield session
            else:
                with self._limited(session, statement_limit):
                    yield session
        if self.on_due is not None and (kinds := due_kinds(session, self.now())):
            self.on_due(kinds)

    def now(self) -> datetime:
        """Return the current time by the database server's clock; programs that write times use it as their `Clock`.

        The server's time is read every few seconds, when a connection is used. The time that has passed since then is
        measured with this machine's monotonic clock. Connects to the server if its time has not been read yet.
        """
        if self._anchor is None:
            with self.engine.connect():
                pass
        assert self._anchor is not None
        at, ticks = self._anchor
        return at + timedelta(seconds=_ticks() - ticks)

    @property
    def clock_offset(self) -> float:
        """Return how many seconds the server's clock, as last read, is ahead of this machine's (negative: behind)."""
        return (self.now() - utc_now()).total_seconds()

    def close(self) -> None:
        """Close every connection of the pool."""
        self.engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until fewer than `at_once` transactions run, then run the block as one of them.

        Raises `TimeoutError` of SQLAlchemy if the running transactions are stuck: none has begun for 2 seconds, or the
        server did not answer the one that ended last.
        """
        if self._turns is None:
            yield
            return
        # Others that come later may get a turn first: this waits on while turns are given.
        while not self._turns.acquire(timeout=self._patience_for_turn()):
            if self._patience_for_turn() == 0:
                raise sa.exc.TimeoutError("all transactions are stuck")
        self._latest_turn = _ticks()
        silent = False
        try:
            yield
        except sa.exc.OperationalError as error:
            silent = is_silent(error)
            raise
        finally:
            self._silent = silent
            self._turns.release()

    def _patience_for_turn(self) -> float:
        """Return in how many seconds the running transactions will count as stuck; 0 if they are stuck now."""
        return 0.0 if self._silent else max(0.0, self._latest_turn + _STUCK - _ticks())

    @contextmanager
    def _limited(self, session: Session, limit: float) -> Iterator[None]:
        session.execute(sa.text(f"SET LOCAL statement_timeout = '{limit:g}s'"))
        connection = session.connection().connection.driver_connection
        assert isinstance(connection, TimedConnection)
        connection.patience = limit + _MARGIN
        try:
            yield
        finally:
            connection.patience = self._patience

    def _connect(self, _dialect: Any, record: Any, _arguments: Any, parameters: dict[str, Any]) -> psycopg.Connection:
        connection = TimedConnection.opened(self._patience, **parameters)
        self._set_clock(connection)
        record.info["used_at"] = _ticks()
        return connection

    def _begin(self, dbapi_connection: sa.PoolProxiedConnection) -> None:
        connection = dbapi_connection.driver_connection
        assert isinstance(connection, TimedConnection)
        values = [part for limit in self._limits.items() for part in limit]
        calls = [f"set_config(${place}, ${place + 1}, true)" for place in range(1, len(values), 2)]
        if self._caller is not None:
            values.append(self._caller())
            calls.append(tell_call(len(values)))
        connection.begin(f"SELECT {', '.join(calls)}", values)

    def _check(self, connection: Any, record: Any, _proxy: Any) -> None:
        latest = min(record.info.get("used_at", 0.0), self._anchor[1] if self._anchor else 0.0)
        if _ticks() - latest < _IDLE:
            return
        try:
            self._set_clock(connection)
        except psycopg.Error as error:
            # The pool opens another connection in its place.
            raise DisconnectionError from error

    def _set_clock(self, connection: TimedConnection) -> None:
        patience, connection.patience = connection.patience, _CHECK_LIMIT
        before = _ticks()
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        after = _ticks()
        # psycopg forgets all prepared statements after a rollback.
        connection.commit()
        connection.patience = patience
        assert row is not None
        # Half of the round trip belongs to each direction; a long one says little, as after this process was stopped.
        if self._anchor is None or after - before < _ROUND_TRIP:
            self._anchor = row[0], (before + after) / 2


def _without_mark(url: str) -> tuple[sa.URL, bool]:
    """Return the URL without the parameter `pgbouncer=true`, and whether it had this parameter."""
    address = sa.make_url(url)
    return address.difference_update_query(["pgbouncer"]), address.query.get("pgbouncer") == "true"


def _options(limits: Mapping[str, str]) -> dict[str, Any]:
    return {"options": " ".join(f"-c {name}={value}" for name, value in limits.items())}


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = _ticks()


def _ticks() -> float:
    """Return the seconds of this machine's monotonic clock, which on Linux goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _drop_read_only(context: sa.engine.ExceptionContext) -> None:
    """Mark the error of a write on a read-only server as a lost connection, so that the pool replaces its connections.

    A server becomes read-only when it becomes a standby; the new connections lead to the server that can be written.
    """
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _forget_values(context: sa.engine.ExceptionContext) -> None:
    """Replace the message of the database error in `context` by its class, SQLSTATE and constraint name.

    Errors are logged, and PostgreSQL's messages repeat values such as names and addresses.
    """
    told, wrapped = context.original_exception, context.sqlalchemy_exception
    code = getattr(told, "sqlstate", None)
    if code is None:
        return
    constraint = getattr(getattr(told, "diag", None), "constraint_name", None)
    short = " ".join(filter(None, (type(told).__name__, code, constraint)))
    told.args = (short,)
    if wrapped is not None:
        wrapped.args = (short,)
