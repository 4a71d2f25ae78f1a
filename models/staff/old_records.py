"""SQL conditions for old requests, mails, documents and closed accounts that are to be deleted or cleared.

`models.retention` has the periods with their reasons. The job `leftovers` uses these functions in batches. The history
of contracts is kept: contracts, trunks, and the orders that created them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder
from models.contracts.contracts import Contract
from models.messages.outbox import Message, MessageState
from models.people.api_tokens import ApiToken
from models.people.audit_log import AuditEntry, AuditEvent
from models.proofs.documents import ProofDocument
from models.proofs.proofs import Consent, MainConsent, OwnershipProof
from models.requests.moved_blocks import MovedBlock
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.retention import TOKEN_ADDRESSES, Periods, start_of_last_year, start_of_year_ago
from models.staff.erasing_people import BUSINESS_LETTERS, ERASED_NAME
from models.states import ATTACHING, CONTRACT_CHANGES, AccountState, Kind, Status
from models.telephony.trunks import SipTrunk

OF_REQUEST = (TimelineEntry, Consent, MainConsent, OwnershipProof, ProofDocument, MovedBlock, Message)
"""The tables whose rows are deleted with their request."""
_NOBODY = "erased-account-%@erased.invalid"
"""The address that replaces the contact's e-mail address, as a pattern for LIKE; % stands for the account's id."""


def old_messages(now: datetime, periods: Periods) -> sa.ColumnElement[bool]:
    """Return an SQL condition for mails and letters to delete: sent or refused longer ago than they are kept.

    `periods` has the times for which they are kept. Messages about requests that have not ended stay, because some
    messages are sent only once.
    """
    left = sa.func.coalesce(Message.sent_at, Message.refused_at)
    letter = Message.template.in_(BUSINESS_LETTERS)
    over = sa.or_(
        ~letter & (left <= now - periods.mails), letter & (left < start_of_year_ago(now, periods.business_years))
    )
    runs = sa.exists().where(Request.id == Message.request_id, Request.ended_at.is_(None))
    return (Message.state != MessageState.QUEUED) & over & ~runs


def old_documents(now: datetime, periods: Periods) -> sa.ColumnElement[bool]:
    """Return an SQL condition for uploaded documents to delete: proofs of addresses and certificates of need.

    Their requests have ended. They were decided on, or uploaded if there was no decision, longer ago than
    `periods.documents`.
    """
    decided = sa.func.coalesce(ProofDocument.decided_at, ProofDocument.uploaded_at)
    runs = sa.exists().where(Request.id == ProofDocument.request_id, Request.ended_at.is_(None))
    return (decided <= now - periods.documents) & ~runs


def old_token_addresses(now: datetime, _periods: Periods) -> sa.ColumnElement[bool]:
    """Return an SQL condition for API tokens whose last use (time and IP address) is to be cleared.

    They expired or were revoked at least `TOKEN_ADDRESSES` (90 days) ago.
    """
    ended = sa.func.least(ApiToken.revoked_at, ApiToken.expires_at)
    return ApiToken.last_used_address.is_not(None) & (ended <= now - TOKEN_ADDRESSES)


def old_accounts(now: datetime, periods: Periods) -> sa.ColumnElement[bool]:
    """Return an SQL condition for accounts whose name, street and contact are to be removed.

    They are closed, or were ordered and never came into service. For as long as business letters are kept
    (`periods.business_years`) they have had no contract and no unfinished request, and staff can retry none of their
    orders.
    """
    before = start_of_year_ago(now, periods.business_years)
    contract = sa.exists().where(
        Contract.account_id == Account.id, sa.or_(Contract.ended_at.is_(None), Contract.ended_at >= before)
    )
    request = sa.exists().where(
        sa.or_(Request.account_id == Account.id, Request.main_id == Account.id),
        sa.or_(Request.ended_at.is_(None), Request.ended_at >= before, Request.status == Status.FAILED),
    )
    is_over = (Account.state != AccountState.ACTIVE) & (Account.created_at < before)
    used = contract | request | _closed_since(Account.id, before)
    return is_over & Account.contact_email.not_like(_NOBODY) & ~used


def old_holders(now: datetime, _periods: Periods) -> sa.ColumnElement[bool]:
    """Return an SQL condition for contract holders to delete: those of accounts that ended before last year.

    Imported accounts have no contracts in this database, so the audit log shows when they were closed.
    """
    return ContractHolder.left_over(now) & ~_closed_since(ContractHolder.account_id, start_of_last_year(now))


def _closed_since(account_id: Any, moment: datetime) -> sa.ColumnElement[bool]:
    """Return an SQL condition: by the audit log, the account was closed at `moment` or later.

    `account_id` is the column of the outer query that has the account's id.
    """
    return sa.exists().where(
        AuditEntry.account_id == account_id, AuditEntry.deed == AuditEvent.ACCOUNT_CLOSED, AuditEntry.at >= moment
    )


NAMELESS = {
    Account.name: ERASED_NAME,
    Account.street: "",
    Account.contact_name: ERASED_NAME,
    Account.contact_phone: None,
    Account.contact_email: sa.func.replace(_NOBODY, "%", sa.cast(Account.id, sa.Text)),
}
"""The values that replace an account's name, street and contact, by column.

Postal code and town stay, for the history of numbers.
"""
WITHOUT_ADDRESS = {ApiToken.last_used_at: None, ApiToken.last_used_address: None}
"""The values that clear the time and IP address of an API token's last use, by column."""


def old_requests(now: datetime, periods: Periods) -> sa.ColumnElement[bool]:
    """Return an SQL condition for requests to delete.

    They ended longer ago than business letters are kept (`periods.business_years`), and nothing in force depends on
    them. The following are kept: the requests of an uploaded file, until the file is deleted; orders that led to a
    contract or trunk; the link or switch by which an account is attached; and changes of a contract for as long as
    letters about the contract are kept.
    """
    before = start_of_year_ago(now, periods.business_years)
    contract = sa.exists().where(Contract.request_id == Request.id)
    trunk = sa.exists().where(SipTrunk.request_id == Request.id)
    attached = Request.kind.in_(ATTACHING) & sa.exists().where(
        Account.id == Request.account_id, Account.main_id == Request.main_id
    )
    changed = Request.kind.in_(CONTRACT_CHANGES) & sa.exists().where(
        SipTrunk.id == Request.changed_trunk_id,
        Contract.id == SipTrunk.contract_id,
        sa.or_(Contract.ended_at.is_(None), Contract.ended_at >= before),
    )
    moved = (Request.kind == Kind.MOVE) & sa.exists().where(
        Contract.account_id == Request.account_id,
        sa.or_(Contract.ended_at.is_(None), Contract.ended_at >= before),
    )
    in_force = (Request.status == Status.COMPLETED) & (attached | changed | moved)
    return (Request.ended_at < before) & Request.bulk_id.is_(None) & ~(contract | trunk | in_force)


def delete_of_requests(session: Session, ids: Sequence[UUID]) -> None:
    """Delete the rows that belong to the requests with these ids: timelines, consents, proofs, documents and messages.

    A detach request that had replaced one of these requests no longer refers to it.
    """
    for table in OF_REQUEST:
        gone = sa.delete(table).where(table.request_id.in_(ids))
        session.execute(gone.execution_options(synchronize_session=False))
    forgotten = sa.update(Request).where(Request.displaced_id.in_(ids)).values(displaced_id=None)
    session.execute(forgotten.execution_options(synchronize_session=False))
