"""Job `leftovers`: delete rows past their retention time, and complete the history of numbers.

The periods are in `models.retention`; `left_over` of each table's model says from when they count.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models import retention
from models.accounts.company_limits import DailyUse
from models.accounts.contract_holders import ContractHolder
from models.bulk.bulk import Bulk
from models.links.invoice_membership import InvoiceOffer
from models.orders.drafts import Draft
from models.people.invitations import Invitation
from models.people.invited_people import InvitedPerson
from models.people.logins import Login
from models.requests.idempotency import IdempotencyKey
from models.telephony.directory import DirectoryEntry
from models.telephony.number_history import NumberAssignment, complete_history
from tasks.reconcile.job_run import Run

BATCH = 500
"""The most rows of a table that are locked and deleted in one transaction."""

Table = (
    type[Bulk]
    | type[ContractHolder]
    | type[DailyUse]
    | type[DirectoryEntry]
    | type[Draft]
    | type[IdempotencyKey]
    | type[Invitation]
    | type[InvitedPerson]
    | type[InvoiceOffer]
    | type[Login]
    | type[NumberAssignment]
)
TABLES: tuple[Table, ...] = (
    Bulk,
    ContractHolder,
    DailyUse,
    DirectoryEntry,
    Draft,
    IdempotencyKey,
    Invitation,
    InvitedPerson,
    InvoiceOffer,
    Login,
    NumberAssignment,
)


def clear_leftovers(run: Run) -> None:
    """Delete rows past their retention time, of `TABLES` and of call records, and complete the history of numbers.

    The run counts the deleted rows by table, and as `history` the rows of the history that had to be ended or begun.
    Safe to run twice.
    """
    for table in TABLES:
        after: tuple[Any, ...] | None = None
        while gone := _batch(run, table, after):
            after = gone[-1]
    with run.transaction() as session:
        run.counts["history"] += complete_history(session, run.now)
    _forget_calls(run)


def _forget_calls(run: Run) -> None:
    calls, before = run.runtime.ports.calls, run.now - retention.CALL_RECORDS
    run.counts["calls"] = calls.count(before) if run.dry else 0
    while not run.dry and (gone := calls.forget(before, BATCH)):
        # Each batch's transaction renews the lease.
        with run.transaction():
            run.counts["calls"] += gone


def _batch(run: Run, table: Table, after: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
    # Batches follow the primary key: one pass, which also ends in a dry run, where no row is deleted.
    columns = tuple(table.__table__.primary_key)
    key = sa.tuple_(*columns)
    query = sa.select(*columns).where(table.left_over(run.now)).order_by(*columns).limit(BATCH)
    if after is not None:
        query = query.where(key > after)
    with run.transaction() as session:
        # A locked row is in use.
        gone = [tuple(row) for row in session.execute(query.with_for_update(skip_locked=True))]
        session.execute(sa.delete(table).where(key.in_(gone)).execution_options(synchronize_session=False))
        run.counts[table.__tablename__] += len(gone)
    return gone
