"""Job `leftovers`: delete rows past their retention period, and complete the history of phone numbers.

The periods are in `models.retention`; `left_over` of each table's model says from when they count. Conditions that
depend on several tables, or on a period that the carrier chooses, are in `models.staff.old_records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from models import retention
from models.accounts.accounts import Account
from models.accounts.company_limits import DailyUse
from models.accounts.contract_holders import ContractHolder
from models.bulk.bulk import Bulk, detach_from_bulks
from models.db.base import Base
from models.links.invoice_membership import InvoiceOffer
from models.messages.outbox import Message
from models.orders.drafts import Draft
from models.people.api_tokens import ApiToken
from models.people.invitations import Invitation
from models.people.invited_people import InvitedPerson
from models.people.login_sessions import Login
from models.proofs.documents import ProofDocument
from models.proofs.proofs import AddressProof, EmailProof, LinkCode
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.retention import Periods
from models.staff import old_records
from models.telephony.directory import DirectoryEntry
from models.telephony.number_history import NumberAssignment, complete_history
from tasks import tracing
from tasks.reconcile.job_run import Run

BATCH = 500
"""The most rows of a table that are locked and deleted in one transaction."""
_FILES = 10
"""The most bulks (uploaded files) that are deleted in one transaction; each has up to 10,000 rows."""

Condition = Callable[[datetime, Periods], sa.ColumnElement[bool]]
"""A function that returns, for the present time and the carrier's periods, the SQL condition for old rows."""


def _nothing_first(_session: Session, _ids: Sequence[Any]) -> None:
    """Do nothing. The default of `DeletionRule.before`, for tables to which no other rows refer."""


@dataclass(frozen=True, slots=True)
class DeletionRule:
    """Which rows of a table are old, and whether they are deleted or overwritten.

    `condition` gets the present time and the retention periods that the carrier has chosen, and returns the SQL
    condition for the old rows. `before` is called with the session and the rows' primary keys, to delete or change what
    refers to the rows. With `values` the rows are not deleted: these columns get these values. At most `batch` rows
    (None: `BATCH`) are processed in one transaction.
    """

    table: type[Base]
    condition: Condition
    before: Callable[[Session, Sequence[Any]], None] = _nothing_first
    values: Mapping[InstrumentedAttribute[Any], Any] | None = None
    batch: int | None = None


Table = (
    type[AddressProof]
    | type[Bulk]
    | type[DailyUse]
    | type[DirectoryEntry]
    | type[Draft]
    | type[EmailProof]
    | type[IdempotencyKey]
    | type[Invitation]
    | type[InvitedPerson]
    | type[InvoiceOffer]
    | type[LinkCode]
    | type[Login]
    | type[NumberAssignment]
)
TABLES: tuple[Table, ...] = (
    AddressProof,
    Bulk,
    DailyUse,
    DirectoryEntry,
    Draft,
    EmailProof,
    IdempotencyKey,
    Invitation,
    InvitedPerson,
    InvoiceOffer,
    LinkCode,
    Login,
    NumberAssignment,
)


def _of(table: Table) -> DeletionRule:
    return DeletionRule(table, lambda now, _periods: table.left_over(now))


ALL = (
    *map(_of, TABLES),
    DeletionRule(ContractHolder, old_records.old_holders),
    DeletionRule(Message, old_records.old_messages),
    DeletionRule(ProofDocument, old_records.old_documents),
    DeletionRule(ApiToken, old_records.old_token_addresses, values=old_records.WITHOUT_ADDRESS),
    # What belonged to a file is old enough for itself later on.
    DeletionRule(Bulk, Bulk.long_ended, before=detach_from_bulks, batch=_FILES),
    DeletionRule(Request, old_records.old_requests, before=old_records.delete_of_requests),
    # After the requests, as long as one of which an account is kept.
    DeletionRule(Account, old_records.old_accounts, values=old_records.NAMELESS),
)
"""The deletion rules of the job, in the order in which they are applied."""


def clear_leftovers(run: Run) -> None:
    """Delete rows past their retention period (the rules in `ALL`) and old call records; complete the number history.

    The run counts the deleted or overwritten rows by table, and as `history` the rows of the history that had to be
    ended or begun. Safe to run twice.
    """
    _complete_history(run)
    try:
        for rule in ALL:
            delete_old(run, rule)
    finally:
        # These may be kept for a week only, whatever fails before.
        _forget_calls(run)


def delete_old(run: Run, rule: DeletionRule) -> None:
    """Delete or overwrite the rows that the rule finds, and add their number to the run's count of the table."""
    after: tuple[Any, ...] | None = None
    while gone := _batch(run, rule, after):
        after = gone[-1]


def _complete_history(run: Run) -> None:
    after: int | None = 0
    while after is not None:
        with run.transaction() as session:
            completed, after = complete_history(session, run.now, after)
            run.counts["history"] += completed


def _forget_calls(run: Run) -> None:
    calls, before = run.runtime.ports.calls, run.now - retention.CALL_RECORDS
    with tracing.span("registrar.forget_calls", role="client"):
        run.counts["calls"] = calls.count(before) if run.dry else 0
        while not run.dry and (gone := calls.forget(before, BATCH)):
            # Each batch's transaction renews the lease.
            with run.transaction():
                run.counts["calls"] += gone


def _batch(run: Run, rule: DeletionRule, after: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
    # Batches follow the primary key: one pass, which also ends in a dry run, where no row is deleted.
    table = rule.table
    columns = tuple(table.__table__.primary_key)
    key = sa.tuple_(*columns)
    condition = rule.condition(run.now, run.runtime.periods)
    query = sa.select(*columns).where(condition).order_by(*columns).limit(rule.batch or BATCH)
    if after is not None:
        query = query.where(key > after)
    with run.transaction() as session:
        # A locked row is in use.
        gone = [tuple(row) for row in session.execute(query.with_for_update(skip_locked=True))]
        if gone:
            rule.before(session, [row[0] for row in gone])
            rows = key.in_(gone)
            change: sa.UpdateBase = (
                sa.delete(table).where(rows)
                if rule.values is None
                else sa.update(table).where(rows).values(rule.values)
            )
            session.execute(change.execution_options(synchronize_session=False))
        run.counts[table.__tablename__] += len(gone)
    return gone
