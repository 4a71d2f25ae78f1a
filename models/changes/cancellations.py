"""Cancellation of an account with all its contracts at the end of a day; until then it can be withdrawn.

The request waits until the first day without a contract begins; then the account is closed. Before that nothing
changes, and changes of the contract that take effect earlier are still made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_accounts, lock_active_account
from models.calendar_days import berlin_day
from models.changes.changes import ensure_not_detached_before, ensure_not_leaving_invoice
from models.changes.quotes import paid_line
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import Contract, ContractItem, runs
from models.contracts.costs import Costs, costs_of
from models.errors import AlreadyRequested, Forbidden, InvalidField, RuleBroken
from models.links.account_closing import close_cancelled, ensure_leads_nobody
from models.people.audit_log import AuditEvent, record
from models.people.repeated_deeds import ensure_not_repeated
from models.people.rights import Action, Principal, may
from models.requests.cancellation_mails import tell_of_cancellation
from models.requests.contract_end import running_cancellation
from models.requests.effective_days import LONGEST_AHEAD
from models.requests.new_requests import create_account_request
from models.requests.requests import Request
from models.states import CONTRACT_CHANGES, ENDED, AccountState, Kind, Reason, Status, StepName
from models.values import Locale


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What a cancellation would end: `lines` are all products of the contracts, at their agreed prices.

    `last_day` is the contracts' last day in Berlin; it must lie between `earliest` and `latest`.
    """

    earliest: date
    latest: date
    last_day: date
    lines: tuple[PriceLine, ...]

    @property
    def costs(self) -> Costs:
        """Return the monthly cost of all products that end."""
        return costs_of(self.lines)


def submit_cancellation(
    session: Session,
    principal: Principal,
    account: Account,
    last_day: date | None,
    locale: Locale,
    now: datetime,
    *,
    bulk_id: UUID | None = None,
) -> Request:
    """Save a request to cancel the account and all its contracts with the end of `last_day`; return the request.

    If `last_day` is None, the contracts end as early as possible. Queues mails to the person and to the administrators
    of the account and of its main account, and records the request in the account's log. Locks the account. `bulk_id`
    is the bulk (the uploaded file) to which the request belongs, None if there is none; then only administrators of the
    account itself get mails, as the sender gets one receipt for the whole file.

    Raises `Forbidden` if the account is not active or the person may not change its contracts. Raises
    `AlreadyRequested` if a cancellation is running, and `CannotClose` while the account acts as a main account (for
    example has sub-accounts). Raises `InvalidField` if the day is not possible, and `TooEarly` if the person has
    requested a cancellation of the account ten times within a day.
    """
    lock_active_account(session, account)
    quote = quote_cancellation(session, principal, account, last_day, now)
    ensure_not_repeated(session, principal, account, AuditEvent.CANCELLATION_ASKED, now)
    request = create_account_request(
        session,
        principal,
        account,
        Kind.CANCEL,
        locale,
        now,
        price_lines=[],
        bulk_id=bulk_id,
        effective_on=quote.last_day + timedelta(days=1),
        replaced_lines=[asdict(line) for line in quote.lines],
    )
    day = quote.last_day.isoformat()
    request.note(now, "cancellation_received", customer_number=account.customer_number, day=day)
    record(session, principal, account, AuditEvent.CANCELLATION_ASKED, Action.CHANGE_CONTRACT, now, {"day": day})
    tell_of_cancellation(session, request, "cancellation_receipt", now, is_in_file=bulk_id is not None)
    session.flush()
    return request


def quote_cancellation(
    session: Session, principal: Principal, account: Account, last_day: date | None, now: datetime
) -> Cancellation:
    """Return what a cancellation with the end of `last_day` would end, without saving anything.

    `last_day` is None for the earliest possible day. Raises `Forbidden` if the account is not active or the person may
    not change its contracts, `AlreadyRequested` if a cancellation is running, and `CannotClose` while the account acts
    as a main account, for example has sub-accounts.

    Raises `InvalidField` if the day is before the earliest end, more than `LONGEST_AHEAD` (366 days) after that, or
    before the day of a planned change. Raises it also if the person has access to the account only through its main
    account, and the account is to be detached by then.
    """
    if account.state is not AccountState.ACTIVE or not may(principal, Action.CHANGE_CONTRACT, account):
        raise Forbidden
    ensure_not_leaving_invoice(session, principal, account)
    running = running_cancellation(session, account.id)
    if running is not None:
        raise AlreadyRequested(str(running.id))
    ensure_leads_nobody(session, account)
    earliest = earliest_end_of(session, account, now)
    latest = earliest + LONGEST_AHEAD
    chosen = last_day if last_day is not None else earliest
    if chosen < earliest:
        raise InvalidField("last_day", "before_earliest_end", earliest)
    if chosen > latest:
        raise InvalidField("last_day", "end_too_far", latest)
    planned = _last_planned(session, account)
    if planned is not None and planned > chosen:
        raise InvalidField("last_day", "change_planned", planned)
    ensure_not_detached_before(session, principal, account, "last_day", chosen + timedelta(days=1), now)
    return Cancellation(earliest, latest, chosen, running_lines(session, account, now))


def earliest_end_of(session: Session, account: Account, now: datetime) -> date:
    """Return the earliest last day, in Berlin, of all running contracts of the account if they are cancelled at `now`.

    For an account without a contract it is today.
    """
    today = berlin_day(now)
    return max((contract.earliest_end(today) for contract in running_contracts(session, account, now)), default=today)


def running_contracts(session: Session, account: Account, now: datetime) -> Sequence[Contract]:
    """Return the account's contracts that have not ended at `now`, the oldest first."""
    contracts = sa.select(Contract).where(Contract.account_id == account.id, runs(Contract, now))
    return session.scalars(contracts.order_by(Contract.started_at, Contract.id)).all()


def agreed_cancellation(cancellation: Request) -> tuple[PriceLine, ...]:
    """Return price lines of the products that a cancellation ends, as saved when it was requested."""
    return tuple(PriceLine(**line) for line in cancellation.replaced_lines or ())


def change_before(session: Session, cancellation: Request) -> Request | None:
    """Return a change that must be made before the cancellation ends the contracts; None if there is none.

    A request for more numbers counts as a change. The end does not wait for a change that is held or waits for a
    certificate of need, so these are left out; they are rejected later. So are those that are made already.
    """
    assert cancellation.account_id is not None
    waits = (
        Request.kind.in_(CONTRACT_CHANGES),
        Request.status.not_in((*ENDED, Status.HELD, Status.PENDING)),
        Request.step != StepName.CONFIRM,
    )
    query = sa.select(Request).where(Request.account_id == cancellation.account_id, *waits)
    changes = session.scalars(query.order_by(Request.effective_on.nulls_first()))
    return next((change for change in changes if change.effective_at < cancellation.effective_at), None)


def ensure_can_end(session: Session, cancellation: Request) -> Account:
    """Return the account that a cancellation is to close, after checking that it can be closed.

    Raises `RuleBroken` if the account is already closed, and `CannotClose` while it acts as a main account, for example
    has sub-accounts.
    """
    assert cancellation.account_id is not None
    account = session.get_one(Account, cancellation.account_id)
    if account.state is AccountState.CLOSED:
        raise RuleBroken(Reason.ACCOUNT_CLOSED)
    ensure_leads_nobody(session, account)
    return account


def end_account(session: Session, cancellation: Request, now: datetime, *, is_in_file: bool = False) -> None:
    """Carry out a cancellation: close the account, end its contracts as agreed, and queue the mails about it.

    The contracts end at the agreed moment, even if this is called later. If the account belongs to a main account, it
    is detached, and the request gets the day from which on that main account still sees the account's past costs
    (`costs_from`). `is_in_file`: the cancellation belongs to an uploaded file that is being worked on, and its sender
    gets one mail at its end. Safe to run twice: does nothing if the account is closed. Locks the account. Raises
    `CannotClose` while the account acts as a main account, for example has sub-accounts.
    """
    assert cancellation.account_id is not None
    lock_accounts(session, [cancellation.account_id])
    account = session.get_one(Account, cancellation.account_id)
    if account.state is not AccountState.CLOSED:
        ensure_leads_nobody(session, account)
        if account.main_id == cancellation.main_id and account.paid_since is not None:
            cancellation.costs_from = berlin_day(account.paid_since)
        # First: the main account's people lose sight of it.
        tell_of_cancellation(session, cancellation, "cancellation_completed", now, is_in_file=is_in_file)
        close_cancelled(session, account, cancellation.effective_at, now)


def _last_planned(session: Session, account: Account) -> date | None:
    """Return the latest day for which a change of the account's contracts is planned; None if no change has a day."""
    planned = sa.select(sa.func.max(Request.effective_on)).where(
        Request.account_id == account.id, Request.kind.in_(CONTRACT_CHANGES), Request.status.not_in(ENDED)
    )
    return session.scalar(planned)


def running_lines(session: Session, account: Account, now: datetime) -> tuple[PriceLine, ...]:
    """Return a price line for each running product of the account's running contracts, with a one-off price of 0."""
    items = session.scalars(
        sa.select(ContractItem)
        .join(Contract, Contract.id == ContractItem.contract_id)
        .where(Contract.account_id == account.id, runs(Contract, now), runs(ContractItem, now))
        .order_by(Contract.id, ContractItem.product_key)
    )
    return tuple(paid_line(item.price_line) for item in items)
