"""Claims: how a worker reserves due rows of a table for itself, by a lease that is extended while the work goes on.

One thread of the process extends all leases in use. It also retries releasing rows if the first try failed, because the
database did not answer or another transaction had locked the rows.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from threading import Condition, Thread
from typing import Any

import sqlalchemy as sa
import structlog

from models.db.work_queue import QueueRow, claim_due, end_claim, keep_claim
from models.jobs.outages import ExternalSystem, Outage, end_try, lock_outage
from tasks.runtime import Runtime

log = structlog.get_logger()

LOCKED_AGAIN = timedelta(seconds=1)
"""How long after its release a row becomes due again, so that another transaction can end its locks on the row."""
_LONGEST = timedelta(minutes=10)
"""The longest time for which a lease is extended. Longer work hangs; other workers may then claim its rows."""
DEADLY_EVERY = 30.0
"""Seconds between two claims in which a process prefers rows whose earlier workers died repeatedly.

Without such claims, these rows would wait as long as other rows are due.
"""


@dataclass(slots=True, eq=False)
class Claim:
    """Rows of one table that this process has reserved for itself under one lease; `ids` are their primary keys.

    `lease` is the id of the lease; `began` is when the rows were claimed, by `time.monotonic()` in seconds; `length` is
    how long the lease lasts unless it is extended.
    """

    runtime: Runtime
    table: type[QueueRow]
    ids: list[Any]
    lease: uuid.UUID
    began: float
    length: timedelta
    longest: timedelta = _LONGEST
    """For how long after the claim the lease is extended at most."""
    failures: int = 0
    """How many times in a row the external system that the work needs had failed when the rows were claimed."""
    safe_until: float = field(init=False)
    """The moment, by `time.monotonic()` and before the lease ends, after which no new piece of work may begin."""
    owed: set[Any] = field(default_factory=set)
    """Ids of rows that must be given back, because no result was recorded for them."""

    def __post_init__(self) -> None:
        self._lasts_from(self.began)

    @property
    def is_safe(self) -> bool:
        """Return whether the lease still lasts long enough to begin another piece of work, such as sending one mail."""
        return time.monotonic() < self.safe_until

    def give_back(self, ids: Collection[Any]) -> None:
        """Mark the rows with these ids to be released at the end of the claim, because no result was recorded for them.

        Any worker may claim a row one second (`LOCKED_AGAIN`) after its release.
        """
        self.owed.update(ids)

    def extend(self) -> None:
        """Extend the lease to its full length from now, in a transaction of its own.

        Does nothing if none of the rows is claimed under this lease any more. Raises a database error if the database
        does not answer.
        """
        began = time.monotonic()
        with self.runtime.database.transaction() as session:
            kept = keep_claim(session, self.table, self.ids, self.lease, self.runtime.clock() + self.length)
        if kept:
            self._lasts_from(began)

    def end(self) -> bool:
        """Release the rows marked by `give_back`, so that any worker may claim them. Return whether all are released.

        Returns False if the database fails or another transaction has locked some of the rows: call again later.
        Returns True without releasing anything once the lease must have ended, because other workers may claim the rows
        anyway.
        """
        if not self.owed or time.monotonic() > self.began + (self.longest + self.length).total_seconds():
            return True
        try:
            with self.runtime.database.transaction() as session:
                now = self.runtime.clock()
                left = end_claim(session, self.table, self.owed, self.lease, now + LOCKED_AGAIN)
        except Exception as error:
            log.warning("claim.not_given_back", table=self.table.__name__, count=len(self.owed), error=repr(error))
            return False
        self.owed = set(left)
        return not left

    def _lasts_from(self, began: float) -> None:
        # A third of the lease is left for the piece of work that begins last, and for recording it.
        self.safe_until = began + self.length.total_seconds() * 2 / 3


@contextmanager
def claimed(
    runtime: Runtime,
    table: type[QueueRow],
    more_due: Callable[[], object],
    *,
    limit: int,
    which: sa.ColumnElement[bool] | None = None,
    with_bulks: int | None = None,
    system: ExternalSystem | None = None,
) -> Iterator[Claim]:
    """Claim up to `limit` due rows of a table, yield the claim, and extend its lease until the end of the block.

    The claim has no rows if none is due. Only rows that match `which` are claimed. Rows of bulks (uploaded files) fill
    the places that other rows leave free, at most `with_bulks` of them (None: `limit`). If no other row is due,
    `with_bulks` rows of bulks are claimed, even if that is more than `limit`. `more_due` is called if `limit` rows were
    claimed, because more rows may be due. `system` is the external system that the work needs. While that system is
    recorded as unavailable, no row is claimed; when the pause is over, one process at a time claims a single row to try
    the system.
    """
    lease, began = uuid.uuid4(), time.monotonic()
    claim_some = partial(claim_due, table=table, lease=lease, which=which)
    with runtime.database.transaction() as session:
        now = runtime.clock()
        until = now + runtime.lease
        tried: datetime | None = None
        outage = session.get(Outage, system) if system is not None else None
        if outage is None:
            deadly_first = _is_turn_of_deadly(table)
            ids = claim_some(
                session, now=now, until=until, limit=limit, with_bulks=with_bulks, deadly_first=deadly_first
            )
        elif outage.try_again_at > now or not lock_outage(session, outage):
            ids = []
        elif ids := claim_some(session, now=now, until=until, limit=1, with_bulks=1):
            outage.begin_try(now)
            tried = outage.try_again_at
    if len(ids) >= limit:
        more_due()
    failures = 0 if outage is None else outage.failures
    claim = Claim(runtime, table, ids, lease, began, runtime.lease, failures=failures)
    if not ids:
        yield claim
        return
    with kept_alive(claim):
        yield claim
    if system is not None and tried is not None:
        with runtime.database.transaction() as session:
            end_try(session, system, tried, runtime.clock())


_deadly_at: dict[type[QueueRow], float] = {}
"""When this process last preferred rows whose workers died repeatedly, by table; in seconds of `time.monotonic()`."""


def _is_turn_of_deadly(table: type[QueueRow]) -> bool:
    now = time.monotonic()
    if now < _deadly_at.setdefault(table, now) + DEADLY_EVERY:
        return False
    _deadly_at[table] = now
    return True


def kept_alive(claim: Claim) -> AbstractContextManager[None]:
    """Return a context manager that extends the claim's lease inside its block, and releases marked rows at its end.

    The marked rows are those of `Claim.give_back`. A thread of this process extends the lease, for `claim.longest` at
    most.
    """
    return _keeper.keeping(claim)


class _Keeper:
    """The thread that extends the leases of this process's claims. It is started for the first claim."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._kept: set[Claim] = set()
        self._owing: set[Claim] = set()
        self._thread: Thread | None = None

    @contextmanager
    def keeping(self, claim: Claim) -> Iterator[None]:
        with self._changed:
            self._kept.add(claim)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="claims", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._kept.discard(claim)
            if not claim.end():
                with self._changed:
                    self._owing.add(claim)
                    self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                lengths = [claim.length.total_seconds() for claim in self._kept]
                self._changed.wait(min([1.0, *(length / 6 for length in lengths)]))
                kept, owing = list(self._kept), list(self._owing)
            now = time.monotonic()
            for claim in kept:
                length = claim.length.total_seconds()
                # When a third of the lease is over, so that the next try still comes in time.
                if now > claim.safe_until - length / 3 and now < claim.began + claim.longest.total_seconds():
                    self._extend(claim)
            for claim in owing:
                if claim.end():
                    with self._changed:
                        self._owing.discard(claim)

    def _extend(self, claim: Claim) -> None:
        try:
            claim.extend()
        except Exception as error:
            # Whatever it was: the other claims have to be kept.
            log.warning("lease.not_kept", table=claim.table.__name__, error=repr(error))


_keeper = _Keeper()
