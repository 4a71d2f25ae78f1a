"""Tables as work queues: each row records when it is due, which worker has claimed it, and its failed attempts.

`due_at` is the time from which a worker may process the row; null if there is nothing to do. A worker claims the row by
setting `lease`, the id of its claim, and moving `due_at` to the end of the claim. If the worker dies, the row is due
again at that time, and another worker takes over.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column


class WorkKind(StrEnum):
    """The kinds of background work. Each has a Celery task and a queue of its name, and processes of its own.

    `PROVISION` is the step `provision` of a request; `VERIFY` is every other step, which needs only the portal's
    database. `MESSAGES` sends mails and letters, and `REGISTRAR` writes changed trunks and new number blocks to the
    registrar. Like `PROVISION`, both have to wait for an external system. `BULKS` turns rows of uploaded files into
    requests, `JOBS` are the scheduled jobs, and `SWEEP` looks for rows that are due.
    """

    VERIFY = "requests.verify"
    PROVISION = "requests.provision"
    MESSAGES = "messages.send"
    REGISTRAR = "registrar.sync"
    BULKS = "bulk.place"
    JOBS = "jobs.run"
    SWEEP = "requests.sweep"


class QueueRow:
    """The columns of a table that is a work queue. The table must add `due_index` and `lease_ends`.

    `due_at` is the time from which the row may be processed, null if there is nothing to do; `due_index` is a partial
    index on it. `lease` is the id of the claim of a worker, null if unclaimed; the constraint `lease_ends` ensures that
    each claim has an end. `attempts` counts the failed attempts.

    `WORK` is the kind of work that the table's rows wait for. `OWNER` is an SQL expression for the id of the company
    that a row belongs to (a main account, or one without sub-accounts), 0 for rows of no company; None if companies do
    not take turns.
    """

    WORK: ClassVar[WorkKind]
    OWNER: ClassVar[str | None] = None

    due_at: Mapped[datetime | None]
    lease: Mapped[uuid.UUID | None]
    attempts: Mapped[int] = mapped_column(default=0)

    @property
    def work(self) -> WorkKind:
        """Return the kind of work that this row waits for."""
        return self.WORK

    def make_due(self, at: datetime) -> None:
        """Schedule the row to be processed from the time `at` on, and end any worker's claim on the row."""
        self.due_at = at
        self.lease = None

    def rest(self) -> None:
        """Take the row out of the work queue and end any worker's claim on the row."""
        self.due_at = self.lease = None


class BulkQueueRow(QueueRow):
    """The columns of a work queue whose rows may belong to a bulk, hundreds of rows from one uploaded file.

    Workers claim rows of a bulk after all waiting rows that belong to no bulk (`bulk_id` is null). The table must add
    `alone_index`, an index of the rows without a bulk.
    """

    bulk_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("bulks.id"))


_MADE_DUE = "made_due"
_STATEMENTS = 64
"""Size of each cache of built SQL statements; must exceed the number of kinds of work."""
_TIME = sa.TIMESTAMP(timezone=True)
_MOST = sa.bindparam("most", type_=sa.Integer)
_DEADLY = 2
"""The number of attempts from which a row whose lease has expired is claimed alone: it may be killing its workers."""
_SHARE = 8
"""A company whose rows fill more than 1/8 of a full batch is busy; other companies then get up to half of the batch."""
_LOOK_AGAIN_FACTOR = 10
"""A search for other companies' rows that found none is not repeated for this many times its own duration."""
_look_again: dict[sa.ColumnElement[bool], float] = {}
"""The `time.monotonic()` until which this process does not search for other companies' rows, by condition."""


def made_due(session: Session, kind: WorkKind, at: datetime | None = None) -> None:
    """Note in the session that this transaction scheduled rows of this kind of work for the time `at` (None: now).

    After the commit a Celery message tells the workers that rows are due. `BatchSession` calls this function for
    changed objects, and `batch_insert` for its rows. Call it yourself only after another SQL statement that schedules
    rows.
    """
    session.info.setdefault(_MADE_DUE, []).append((kind, at))


def due_kinds(session: Session, now: datetime) -> set[WorkKind]:
    """Return the kinds of work for which the committed transaction scheduled rows for `now` or earlier.

    Also clears the list of scheduled work that `made_due` keeps in the session.
    """
    return {kind for kind, at in session.info.pop(_MADE_DUE, ()) if at is None or at <= now}


def forget_due(session: Session) -> None:
    """Clear the list of scheduled work that `made_due` keeps in the session; call it after a rollback."""
    session.info.pop(_MADE_DUE, None)


def due_index(table: str, kind: sa.TextClause | None = None) -> sa.Index:
    """Return the partial index on `due_at` by which `claim_due` finds the rows that wait to be processed.

    `kind` is an SQL expression for the kind of work that a row waits for, which becomes the index's first column; None
    if all rows of the table wait for one kind.
    """
    name, columns = _of_kind(kind)
    return sa.Index(f"ix_{table}{name}_due_at", *columns, postgresql_where=sa.text("due_at IS NOT NULL"))


def alone_index(table: str, kind: sa.TextClause | None = None, include: Collection[str] = ()) -> sa.Index:
    """Return a partial index on `due_at` of the rows that belong to no bulk file.

    It finds these rows quickly, however many rows of bulk files have waited for longer. `kind` is an SQL expression for
    the kind of work, which becomes the index's first column (None: no such column); `include` names further columns to
    store in the index.
    """
    name, columns = _of_kind(kind)
    return sa.Index(
        f"ix_{table}{name}_due_alone",
        *columns,
        postgresql_where=sa.text("due_at IS NOT NULL AND bulk_id IS NULL"),
        postgresql_include=list(include),
    )


def _of_kind(kind: sa.TextClause | None) -> tuple[str, list[sa.TextClause | str]]:
    return ("", ["due_at"]) if kind is None else ("_kind", [kind, "due_at"])


def lease_ends() -> sa.CheckConstraint:
    """Return the check constraint that a row with a lease has a `due_at`, so that every claim ends."""
    return sa.CheckConstraint("due_at IS NOT NULL OR lease IS NULL", name="lease_ends")


def claim_due(
    session: Session,
    table: type[QueueRow],
    *,
    now: datetime,
    lease: uuid.UUID,
    until: datetime,
    limit: int,
    which: sa.ColumnElement[bool] | None = None,
    with_bulks: int | None = None,
    deadly_first: bool = False,
) -> list[Any]:
    """Claim up to `limit` due rows of a table (of those that match `which`), and return their primary keys.

    A row is due when its `due_at` has passed; a claim reserves the row for one worker. Rows that have been due for
    longest are claimed first. `lease` is the id of this claim, which is written to the rows; `until` is its end, before
    which no other worker can claim the rows. Skips rows that another transaction has locked, and never claims rows that
    are not due, so that extra calls are safe. A row whose workers died repeatedly is claimed alone, so that it cannot
    stop other rows: when no other row is due, or first of all if `deadly_first`.

    If the table has an `OWNER`, companies take turns: where one company's rows would fill more than an eighth of a full
    batch, up to half of the batch goes to other companies' rows, even if those became due later. The keys are returned
    in the order in which to work on the rows: one row of each company, then a second one of each, and so on. Which
    company comes first differs from claim to claim, for callers that do not get to the end of a batch.

    Rows of a bulk (many rows from one uploaded file) only fill the places that other due rows leave free, at most
    `with_bulks` of them (None: `limit`). If no other row is due, `with_bulks` rows of bulks are claimed, which may be
    more than `limit`: larger batches are cheaper, and no other row has to wait for them.
    """
    claim = _Claim(session, table, now, lease, until)
    rows = _rows(table, which)  # type: ignore[arg-type]
    if deadly_first:
        return claim.oldest(rows.deadly, 1) or _claim_some(claim, rows, limit, with_bulks)
    return _claim_some(claim, rows, limit, with_bulks) or claim.oldest(rows.deadly, 1)


def _claim_some(claim: _Claim, rows: _Rows, limit: int, with_bulks: int | None) -> list[Any]:
    alone = claim.in_turns(rows.alone, limit)
    if rows.of_bulks is None:
        return alone
    if with_bulks is None:
        with_bulks = limit
    free = min(limit - len(alone), with_bulks) if alone else with_bulks
    return alone + claim.oldest(rows.of_bulks, free) if free else alone


@dataclass(frozen=True, slots=True)
class _Rows:
    """SQL conditions that split a table's rows by how they are claimed.

    `deadly` are rows whose workers died repeatedly, with and without a bulk file. Of the other rows, `alone` are those
    that belong to no bulk file, and `of_bulks` those of bulk files (None if no row of the table can belong to one).
    """

    alone: sa.ColumnElement[bool]
    of_bulks: sa.ColumnElement[bool] | None
    deadly: sa.ColumnElement[bool]


# Workers claim several times a second, and building the statements takes longer than running them. To mypy a table's
# class has no hash, because its rows have none of their own.
@lru_cache(_STATEMENTS)
def _rows(table: type[QueueRow], which: sa.ColumnElement[bool] | None) -> _Rows:
    wanted = sa.true() if which is None else which
    deadly = table.lease.is_not(None) & (table.attempts >= _DEADLY)
    well = wanted & ~deadly
    if not issubclass(table, BulkQueueRow):
        return _Rows(well, None, wanted & deadly)
    return _Rows(well & table.bulk_id.is_(None), well & table.bulk_id.is_not(None), wanted & deadly)


@dataclass(frozen=True, slots=True)
class _Claim:
    session: Session
    table: type[QueueRow]
    now: datetime
    lease: uuid.UUID
    until: datetime

    def in_turns(self, which: sa.ColumnElement[bool], limit: int) -> list[Any]:
        if self.table.OWNER is None:
            return self.oldest(which, limit)
        next_rows = _next_owners(self.table, which)  # type: ignore[arg-type]
        owners = Counter(self.session.scalars(next_rows, {"now": self.now, "most": limit}))
        if not owners:
            return []
        busy_owners = [owner for owner, rows in owners.items() if rows > limit // _SHARE]
        others = {}
        if owners.total() == limit and busy_owners:
            others = self._of_others(which, limit // 2, busy_owners)
        return self._by_turns(others | self._claim(which, limit - len(others)))

    def oldest(self, which: sa.ColumnElement[bool], limit: int) -> list[Any]:
        """Claim up to `limit` rows that match `which`, those due for longest; return their primary keys, sorted."""
        return sorted(self._claim(which, limit))

    def _claim(self, which: sa.ColumnElement[bool], limit: int, except_owners: Sequence[Any] = ()) -> dict[Any, Any]:
        """Claim up to `limit` rows that match `which`, those due for longest; return their owners by primary key.

        `except_owners` are owners whose rows are not claimed.
        """
        query = _claim_oldest(self.table, which, bool(except_owners))  # type: ignore[arg-type]
        values = {"now": self.now, "claim": self.lease, "until": self.until, "most": limit}
        rows = self.session.execute(query, values | {"except_owners": except_owners} if except_owners else values)
        return {row[0]: row[1] for row in rows}

    def _of_others(self, which: sa.ColumnElement[bool], limit: int, busy_owners: Sequence[Any]) -> dict[Any, Any]:
        """Claim up to `limit` rows whose owners are not in `busy_owners` (those with many due rows).

        Returns the rows' owners by primary key. Claims none if this process has just looked for such rows in vain: the
        search reads all due rows, so it is not repeated for ten times as long as it took.
        """
        began = time.monotonic()
        if began < _look_again.get(which, began):
            return {}
        found = self._claim(which, limit, except_owners=busy_owners)
        ended = time.monotonic()
        _look_again[which] = ended if found else ended + _LOOK_AGAIN_FACTOR * (ended - began)
        return found

    def _by_turns(self, owners: dict[Any, Any]) -> list[Any]:
        """Return the keys of rows in an order in which owners take turns: one row of each, then a second one of each.

        `owners` maps each row's primary key to its owner, a company. Which owner comes first differs from claim to
        claim.
        """
        turns = Counter[Any]()
        places = {}
        for id in sorted(owners):
            places[id] = turns[owners[id]], hash((owners[id], self.lease))
            turns[owners[id]] += 1
        return sorted(places, key=lambda id: places[id])


@lru_cache(_STATEMENTS)
def _next_owners(table: type[QueueRow], which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    query: sa.Select[Any] = sa.select(_owner(table)).select_from(table).where(_is_due(table), which)
    return query.order_by(table.due_at).limit(_MOST)


@lru_cache(_STATEMENTS)
def _claim_oldest(table: type[QueueRow], which: sa.ColumnElement[bool], has_exceptions: bool) -> Any:
    [id] = sa.inspect(table).primary_key
    query = sa.select(id).where(_is_due(table), which)
    if has_exceptions:
        query = query.where(_owner(table).not_in(sa.bindparam("except_owners", expanding=True)))
    due = (
        query.order_by(table.due_at)
        .limit(_MOST)
        .with_for_update(skip_locked=True)
        .cte("due")
        # Evaluate the subquery once, not again for each row of the joined table.
        .prefix_with("MATERIALIZED")
    )
    # A lease that nobody ended means that its worker died or hung: that counts as an attempt, so that a row that
    # kills its workers is seen.
    attempts = table.attempts + sa.case((table.lease.is_not(None), 1), else_=0)
    claim = sa.update(table).where(id == due.c[id.key])
    claim = claim.values(
        lease=sa.bindparam("claim", type_=sa.Uuid), due_at=sa.bindparam("until", type_=_TIME), attempts=attempts
    )
    return claim.returning(id, _owner(table)).execution_options(synchronize_session=False)


def _owner(table: type[QueueRow]) -> sa.ColumnElement[Any]:
    return sa.literal_column(table.OWNER or "NULL", sa.BigInteger)


def _is_due(table: type[QueueRow]) -> sa.ColumnElement[bool]:
    return table.due_at <= sa.bindparam("now", type_=_TIME)


def keep_claim(session: Session, table: type[QueueRow], ids: Collection[Any], lease: uuid.UUID, until: datetime) -> int:
    """Extend the claim `lease` to the time `until` on those rows of `ids` that still have it; return how many have it.

    Skips rows that another transaction has locked, even if that is another transaction of the same worker.
    """
    [id] = sa.inspect(table).primary_key
    ours = sa.select(id).where(id.in_(ids), table.lease == lease)
    kept = sa.update(table).where(id.in_(ours.with_for_update(skip_locked=True))).values(due_at=until)
    session.execute(kept.execution_options(synchronize_session=False))
    return len(session.scalars(ours.where(table.due_at == until)).all())


def end_claim(
    session: Session, table: type[QueueRow], ids: Collection[Any], lease: uuid.UUID, due_at: datetime
) -> list[Any]:
    """End the claim `lease` on those rows of `ids` that still have it: any worker may claim them from `due_at` on.

    Skips rows that another transaction has locked, and returns the ids of the skipped rows.
    """
    [id] = sa.inspect(table).primary_key
    claimed = sa.select(id).where(id.in_(ids), table.lease == lease)
    ours = session.scalars(claimed.with_for_update(skip_locked=True)).all()
    freed = sa.update(table).where(id.in_(ours)).values(due_at=due_at, lease=None)
    session.execute(freed.execution_options(synchronize_session=False))
    return list(session.scalars(claimed))


def count_due(
    session: Session, table: type[QueueRow], now: datetime, which: sa.ColumnElement[bool] | None = None
) -> int:
    """Return how many rows that match `which` (None: all rows) may be claimed now: rows whose `due_at` has passed."""
    wanted = sa.true() if which is None else which
    return session.scalar(sa.select(sa.func.count()).select_from(table).where(table.due_at <= now, wanted)) or 0
