"""Permanent closing of an account: by the carrier, or because a cancellation ends its contracts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.accounts.locks import lock_accounts
from models.bulk.bulk import Bulk
from models.contracts.contracts import Contract
from models.errors import CannotClose
from models.links.collective_invoices import CollectiveInvoice, CollectiveInvoiceItem
from models.links.planned_detach import end_planned_detach
from models.orders.holder_changes import keep_holder_of
from models.people.api_tokens import ApiToken
from models.people.audit_log import AuditEvent, record_of_carrier
from models.people.invitations import Invitation
from models.proofs.main_consents import wake_switches
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, OF_CONTRACTS, AccountState, Kind, Origin, Reason
from models.telephony.forwarding import CallForwarding
from models.telephony.number_pool import release_block
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState, close_trunk


def ensure_closable(session: Session, account: Account) -> None:
    """Raise `CannotClose` unless the account may be closed.

    The error's code is the first of the following that applies; its facts are in brackets. `ordered`: the account's
    order is not completed (the order's id). `request_runs`: requests are running (their ids). `bulk_runs`: a bulk, a
    file of requests, was sent and has not ended (no facts). `billed_together`: the account is on, or pays, collective
    invoices (their numbers). `is_sub_account`: it has a main account (whose customer number). `has_sub_accounts`: it
    has sub-accounts (how many).
    """
    if account.state is AccountState.ORDERED:
        order = sa.select(Request.id).where(Request.account_id == account.id, Request.kind == Kind.ORDER)
        raise CannotClose("ordered", *map(str, session.scalars(order)))
    running = _running(session, account)
    if running:
        raise CannotClose("request_runs", *running)
    _ensure_no_bulk_runs(session, account)
    invoices = _invoices(
        session, sa.or_(CollectiveInvoiceItem.account_id == account.id, CollectiveInvoice.main_id == account.id)
    )
    if invoices:
        raise CannotClose("billed_together", *invoices)
    if account.main_id is not None:
        raise CannotClose("is_sub_account", session.get_one(Account, account.main_id).customer_number)
    _ensure_no_sub_accounts(session, account)


def ensure_leads_nobody(session: Session, account: Account) -> None:
    """Raise `CannotClose` while the account acts as a main account, which it cannot do once it is closed.

    The error's code is the first of the following that applies; its facts are in brackets. `has_sub_accounts`: the
    account has sub-accounts (how many). `request_runs`: its orders, links or switches are running (their ids).
    `bulk_runs`: a bulk file was sent and has not ended (no facts). `billed_together`: it pays collective invoices for
    others (their numbers).
    """
    _ensure_no_sub_accounts(session, account)
    asked = Request.main_id == account.id, Request.kind.in_((Kind.ORDER, *ATTACHING)), Request.status.not_in(ENDED)
    running = session.scalars(sa.select(Request.id).where(*asked).order_by(Request.id)).all()
    if running:
        raise CannotClose("request_runs", *map(str, running))
    _ensure_no_bulk_runs(session, account)
    others = CollectiveInvoice.main_id == account.id, CollectiveInvoiceItem.account_id != account.id
    invoices = _invoices(session, sa.and_(*others))
    if invoices:
        raise CannotClose("billed_together", *invoices)


def close_account(session: Session, account: Account, now: datetime) -> bool:
    """Close the account permanently: close its trunks, release its numbers, end its contracts, revoke its API tokens.

    Its forwardings and invitations are deleted, and nobody has rights in the account any more. The customer number is
    never issued again. Locks the account, and records the closing in its log. Safe to run twice: returns False if the
    account is closed already, otherwise True. Raises `CannotClose` if the account is ordered and not active yet, billed
    together with others, a sub-account or has sub-accounts, or if a request or bulk file is running for it.
    """
    # A transaction that refers to the account waits, and is refused afterwards because the account is closed.
    lock_accounts(session, [account.id])
    if account.state is AccountState.CLOSED:
        return False
    ensure_closable(session, account)
    _close(session, account, now)
    return True


def close_cancelled(session: Session, account: Account, ended_at: datetime, now: datetime) -> bool:
    """Close an account permanently after a cancellation; its contracts end at the moment `ended_at`.

    The contracts end at that moment even if this is called later. The trunks are closed and the numbers released at
    `now`; API tokens, forwardings, invitations and all rights in the account end. A sub-account is detached first, and
    its running detach request is rejected; an account on a collective invoice is taken off it. Other running requests
    about the account are rejected only at their next step. Locks the account, and records the closing in its log.

    Safe to run twice: returns False if the account is already closed, otherwise True. Raises `CannotClose` while the
    account acts as a main account, for example has sub-accounts.
    """
    lock_accounts(session, [account.id])
    if account.state is AccountState.CLOSED:
        return False
    ensure_leads_nobody(session, account)
    if account.main_id is not None:
        main_id, was_ordered = account.main_id, account.origin is Origin.ORDER
        end_planned_detach(session, account, Reason.ACCOUNT_CLOSED, now)
        detach(session, main_id, account.id)
        if was_ordered:
            keep_holder_of(session, main_id, account, now)
        wake_switches(session, account, now)
    billed = CollectiveInvoiceItem.account_id == account.id, CollectiveInvoiceItem.left_at.is_(None)
    for item in session.scalars(sa.select(CollectiveInvoiceItem).where(*billed)):
        item.left_at = max(now, item.since)
    for contract in session.scalars(sa.select(Contract).where(Contract.account_id == account.id)):
        contract.end(ended_at)
    _close(session, account, now, {"ended_at": ended_at.isoformat()})
    return True


def _close(session: Session, account: Account, now: datetime, facts: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Close a locked account with its trunks, numbers, contracts, tokens, forwardings and invitations.

    Records the closing in the account's log, with `facts`.
    """
    trunks = sa.select(SipTrunk).where(SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED)
    for trunk in session.scalars(trunks.order_by(SipTrunk.id).with_for_update()):
        close_trunk(trunk, now)
    blocks = sa.select(NumberBlock).where(NumberBlock.account_id == account.id)
    for block in session.scalars(blocks.order_by(NumberBlock.id).with_for_update()):
        release_block(block, now)
    for contract in session.scalars(sa.select(Contract).where(Contract.account_id == account.id)):
        contract.end(now)
    for token in session.scalars(sa.select(ApiToken).where(ApiToken.account_id == account.id)):
        token.revoke(now)
    for table in (CallForwarding, Invitation):
        session.execute(sa.delete(table).where(table.account_id == account.id))
    account.close()
    record_of_carrier(session, account, AuditEvent.ACCOUNT_CLOSED, now, facts)


def _ensure_no_bulk_runs(session: Session, account: Account) -> None:
    if session.scalar(sa.select(Bulk.id).where(Bulk.main_id == account.id, Bulk.due_at.is_not(None)).limit(1)):
        raise CannotClose("bulk_runs")


def _ensure_no_sub_accounts(session: Session, account: Account) -> None:
    subs = session.scalar(sa.select(sa.func.count()).where(Account.main_id == account.id))
    if subs:
        raise CannotClose("has_sub_accounts", str(subs))


def _running(session: Session, account: Account) -> list[str]:
    """Return the ids of the running requests that the account has made or that would change the account."""
    # What a former sub-account's contracts are about belongs to that one alone.
    of_others = Request.kind.in_(OF_CONTRACTS)
    about = sa.or_(
        sa.and_(Request.main_id == account.id, ~of_others),
        Request.account_id == account.id,
        sa.and_(Request.customer_number == account.customer_number, Request.kind.in_(ATTACHING)),
    )
    query = sa.select(Request.id).where(about, Request.status.not_in(ENDED)).order_by(Request.id)
    return [str(id) for id in session.scalars(query)]


def _invoices(session: Session, which: sa.ColumnElement[bool]) -> list[str]:
    """Return the numbers of the collective invoices that have an open item which meets the SQL condition `which`.

    An item is open while its account is billed by the invoice.
    """
    query = (
        sa.select(CollectiveInvoice.number)
        .join(CollectiveInvoiceItem, CollectiveInvoiceItem.invoice_id == CollectiveInvoice.id)
        .where(CollectiveInvoiceItem.left_at.is_(None), which)
        .distinct()
    )
    return list(session.scalars(query.order_by(CollectiveInvoice.number)))
