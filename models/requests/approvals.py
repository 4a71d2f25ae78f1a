"""Approvals: orders and changes of contracts that wait for a second person of the company (four eyes).

A company's administrator sets a monthly sum (`Account.approval_from_cents`). A person's request for a new location, a
change or more numbers waits until another person approves it, who leads the company as administrator or location
manager, if it raises the monthly cost by that sum or more; together with what the same person has asked for within 24
hours and nobody had to approve, so that nothing is gained by many small requests. Whether a request has to wait is
decided when it is made, so that a later change of the sum lets no waiting request through.

The company is the account that pays for the contracts: the main account, but not that of an account attached by a link,
which pays for itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import end_of_day
from models.contracts.catalogue import PriceLine
from models.contracts.costs import costs_of
from models.db.advisory_locks import take_advisory_lock
from models.errors import Forbidden, NotAwaited, OfMainAccount, SecondPersonNeeded
from models.people.audit_log import AuditEvent, record
from models.people.invitations import lock_users
from models.people.repeated_deeds import ensure_not_repeated
from models.people.rights import LEADS, Action, Principal, may
from models.people.users import Membership, User
from models.requests.requests import Request
from models.states import CONTRACT_CHANGES, ENDED, Kind, Origin, Reason, Status

APPROVED_KINDS = frozenset({Kind.ORDER, Kind.CHANGE, Kind.NUMBERS})
"""The kinds of request that can need an approval: those that can raise the monthly cost. A move keeps the prices."""
AWAITING = (Reason.APPROVAL_AWAITED, Reason.APPROVER_MISSING)
"""The reasons for which a request is pending while it can be approved or refused."""
COUNTED_TOGETHER = timedelta(hours=24)
"""The time within which requests of the same person count together."""
TIME_TO_APPROVE = timedelta(days=14)
REMINDED_BEFORE = (timedelta(days=7), timedelta(days=2))
"""How long before the end of the time those who can approve are reminded."""
MOST_LISTED = 200
FILE_CHUNK = 200
"""The most orders of a file that are decided on in one transaction."""
_LET_THROUGH = sa.text("requests.approval_until IS NULL AND requests.raise_cents > 0")
"""As in the index of what counts together."""


def paying_account(session: Session, account: Account) -> Account:
    """Return the company that pays for the account's contracts: its main account, or the account itself.

    An account that was attached by a link, or has no main account, pays for itself.
    """
    is_alone = account.main_id is None or account.origin is Origin.LINK
    return session.get_one(Account, account.id if is_alone else account.main_id)


def company_of(request: Request) -> int:
    """Return the id of the account whose people approve the request: the main account of an order, or who pays.

    The account of a contract may have been attached or detached since the request was made; its present company counts.
    """
    account = request.account
    if request.kind not in CONTRACT_CHANGES or account is None:
        return request.main_id
    return account.id if account.main_id is None or account.origin is Origin.LINK else account.main_id


def monthly_rise(request: Request) -> int:
    """Return by how many cents a month, net, the request raises the cost: of an order, its whole monthly price.

    It is what was found when the request was made, if the company had set a sum then.
    """
    if request.raise_cents is not None:
        return request.raise_cents
    return _monthly(request.price_lines) - _monthly(request.replaced_lines)


def demand_approval(session: Session, request: Request, company: Account, now: datetime) -> None:
    """Let a new request of a person wait for an approval if it raises the monthly cost by the company's sum or more.

    What the same person has asked for within 24 hours, and nobody had to approve, counts with it; not what was taken
    back or rejected. Called before the request is inserted. The time ends with the 14th day, and before the day on
    which the request is to take effect. Its first step is scheduled for now, also if it has such a day, so that people
    are asked early.

    Takes an advisory lock for the person, so that two of their requests at the same time see each other.
    """
    limit = company.approval_from_cents
    if limit is None or request.kind not in APPROVED_KINDS or request.requested_by is None:
        return
    request.raise_cents = rise = _monthly(request.price_lines) - _monthly(_lines_before(session, request))
    if rise <= 0:
        return
    # The requests of a file are inserted together at the end: those of this transaction are counted here.
    passed: dict[tuple[int, int], int] = session.info.setdefault("let_through", {})
    key = company.id, request.requested_by
    if key not in passed:
        passed[key] = _let_through(session, *key, now)
    if passed[key] + rise < limit:
        passed[key] += rise
        return
    until = end_of_day(now + TIME_TO_APPROVE)
    request.approval_until = until if request.effective_on is None else min(until, request.effective_at)
    request.make_due(now)


def _monthly(lines: Sequence[dict[str, Any]] | None) -> int:
    return costs_of([PriceLine(**line) for line in lines or ()]).monthly.net


def _lines_before(session: Session, request: Request) -> Sequence[dict[str, Any]] | None:
    """Return the products that the request replaces, without planned changes of the trunk that wait for an approval.

    Such a change may never be made. A later one that costs less than it would be carried out all the same.
    """
    before = request.replaced_lines
    if request.kind is not Kind.CHANGE:
        return before
    earlier = sa.select(Request).where(
        Request.changed_trunk_id == request.changed_trunk_id,
        Request.kind == Kind.CHANGE,
        Request.status.not_in(ENDED),
    )
    for planned in session.scalars(earlier.order_by(Request.effective_on.desc().nulls_last())):
        if planned.approval_until is None or planned.approved:
            break
        before = planned.replaced_lines
    return before


def _let_through(session: Session, company_id: int, person_id: int, now: datetime) -> int:
    """Return by how many cents a month the person has raised the company's cost within 24 hours without an approval.

    Takes the lock of the person's requests.
    """
    take_advisory_lock(session, f"approvals {company_id} {person_id}")
    query = sa.select(sa.func.sum(Request.raise_cents))
    found = session.scalar(
        query.join(Account, Account.id == Request.account_id).where(
            Request.requested_by == person_id,
            Request.created_at > now - COUNTED_TOGETHER,
            _LET_THROUGH,
            Request.status.not_in((Status.CANCELLED, Status.REJECTED)),
            _payer() == company_id,
        )
    )
    return found or 0


def leaders_of(session: Session, company_id: int) -> Sequence[User]:
    """Return the administrators and location managers of the account itself, sorted by name; not disabled ones."""
    query = sa.select(User).join(Membership, Membership.user_id == User.id)
    leads = Membership.account_id == company_id, Membership.role.in_(LEADS), User.disabled_at.is_(None)
    return session.scalars(query.where(*leads).order_by(User.name, User.id)).all()


def approvers_of(session: Session, request: Request) -> list[User]:
    """Return the people who may approve the request: those who lead its company, without the person who made it."""
    leaders = leaders_of(session, company_of(request))
    return [person for person in leaders if person.id != request.requested_by]


def is_awaited(request: Request, now: datetime) -> bool:
    """Return whether the request waits for an approval that can still be given or refused at `now`."""
    if request.approval_until is None or request.approved is not None or now >= request.approval_until:
        return False
    return request.status is Status.PENDING and request.reason in AWAITING


def may_approve(session: Session, person: Principal, request: Request) -> bool:
    """Return whether the person is one of those who may approve the request: a person, not an API token.

    The person who made the request never may, also if it was made with a token of theirs. Nor may anybody who does not
    see the account that it is about, because the account has left their company.
    """
    if person.token_id is not None or person.user_id == request.requested_by:
        return False
    if request.kind in CONTRACT_CHANGES and request.account is None:
        return False
    # With row-level security, not everybody who sees the request sees its company.
    company = session.get(Account, company_of(request))
    return company is not None and person.roles.get(company.id) in LEADS and may(person, Action.ORDER, company)


@dataclass(frozen=True, slots=True)
class FileToApprove:
    """An uploaded file of orders, by its id, of which `count` wait for an approval, the first of them until `until`.

    Together they cost `cents` a month, net.
    """

    bulk_id: uuid.UUID
    count: int
    cents: int
    until: datetime


def approvals_to_decide(session: Session, person: Principal, now: datetime) -> Sequence[Request]:
    """Return the requests that wait for an approval which this person may give, the oldest first; not those of files.

    At most `MOST_LISTED` are returned.
    """
    if person.token_id is not None:
        return []
    query = waiting_for_approval(sa.select(Request)).where(Request.bulk_id.is_(None))
    return session.scalars(query.order_by(Request.id).limit(MOST_LISTED), approval_values(person, now)).all()


def files_to_approve(session: Session, person: Principal, now: datetime) -> list[FileToApprove]:
    """Return the uploaded files with orders that wait for an approval which this person may give, the oldest first."""
    if person.token_id is not None:
        return []
    cents = sa.func.coalesce(sa.func.sum(Request.raise_cents), 0)
    columns = Request.bulk_id, sa.func.count(), cents, sa.func.min(Request.approval_until)
    query = waiting_for_approval(sa.select(*columns)).where(Request.bulk_id.is_not(None))
    rows = session.execute(query.group_by(Request.bulk_id).order_by(Request.bulk_id), approval_values(person, now))
    return [FileToApprove(*row) for row in rows]


def orders_to_decide(session: Session, person: Principal, bulk_id: uuid.UUID, now: datetime) -> Sequence[uuid.UUID]:
    """Return the ids of the file's orders that wait for an approval which this person may give, the oldest first."""
    if person.token_id is not None:
        return []
    query = waiting_for_approval(sa.select(Request.id)).where(Request.bulk_id == bulk_id).order_by(Request.id)
    return session.scalars(query, approval_values(person, now)).all()


def waiting_for_approval(query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Restrict `query`, which selects from requests, to those that wait for an approval which a person may give.

    Execute it with the parameters that `approval_values` returns for the person.
    """
    return query.join(Account, Account.id == Request.account_id).where(
        sa.or_(Request.main_id == sa.any_(_LED), Request.account_id == sa.any_(_LED)),
        # As in the index, which holds few.
        sa.text("requests.status = 'pending' AND requests.approval_until IS NOT NULL AND requests.approved IS NULL"),
        Request.approval_until > _APPROVED_AT,
        _payer() == sa.any_(_LED),
        Request.requested_by != _APPROVER,
    )


def _payer() -> sa.ColumnElement[int]:
    """Return an SQL expression on `Request` and its `Account`: the id of the company whose people approve it."""
    pays_itself = sa.or_(Account.main_id.is_(None), Account.origin == Origin.LINK)
    return sa.case((Request.kind == Kind.ORDER, Request.main_id), (pays_itself, Account.id), else_=Account.main_id)


def approval_values(person: Principal, now: datetime) -> dict[str, Any]:
    """Return the parameters, by name, of a query that `waiting_for_approval` has restricted, for the person."""
    led = [account_id for account_id, role in person.roles.items() if role in LEADS]
    return {"led": led, "approver": person.user_id, "approved_at": now}


_LED = sa.bindparam("led", type_=postgresql.ARRAY(sa.BigInteger))
_APPROVER = sa.bindparam("approver", type_=sa.BigInteger)
_APPROVED_AT = sa.bindparam("approved_at", type_=sa.TIMESTAMP(timezone=True))


def decide_approval(
    session: Session, person: Principal, request: Request, *, approved: bool, note: str | None, now: datetime
) -> None:
    """Record that the person approves the request or refuses it, and log it; a refusal can have a reason (`note`).

    Schedules the request's step for now, which goes on or ends the request. Locks the request and the person's role.
    Raises `NotAwaited` unless it waits for an approval, and `Forbidden` if the person may not give it.
    """
    session.refresh(request, with_for_update=True)
    if not may_approve(session, person, request) or not _leads_still(session, person, company_of(request)):
        raise Forbidden
    if not is_awaited(request, now):
        raise NotAwaited
    _decide(session, person, request, approved=approved, note=note, now=now)


def decide_orders(
    session: Session,
    person: Principal,
    ids: Collection[uuid.UUID],
    *,
    approved: bool,
    note: str | None,
    now: datetime,
) -> int:
    """Approve or refuse those of a file's orders with these ids that still wait for it; return how many.

    Each is decided on as by `decide_approval`. At most `FILE_CHUNK` ids, so that the transaction is short. Orders on
    which a worker or another person works at this moment are waited for.
    """
    if person.token_id is not None:
        return 0
    locked = waiting_for_approval(sa.select(Request)).where(Request.id.in_(ids)).order_by(Request.id)
    # As they are after the wait for the lock.
    read = locked.with_for_update(of=Request).execution_options(populate_existing=True)
    found = session.scalars(read, approval_values(person, now)).all()
    waiting = [request for request in found if may_approve(session, person, request) and is_awaited(request, now)]
    companies = {company_of(request) for request in waiting}
    if not all(_leads_still(session, person, company) for company in companies):
        return 0
    for request in waiting:
        _decide(session, person, request, approved=approved, note=note, now=now)
    return len(waiting)


def _leads_still(session: Session, person: Principal, company_id: int) -> bool:
    """Return whether the person leads the company at this moment; their role is locked until the transaction ends."""
    query = sa.select(Membership.role).join(User, User.id == Membership.user_id)
    theirs = Membership.user_id == person.user_id, Membership.account_id == company_id, User.disabled_at.is_(None)
    role = session.scalar(query.where(*theirs).with_for_update(read=True, of=Membership))
    return role in LEADS


def _decide(
    session: Session, person: Principal, request: Request, *, approved: bool, note: str | None, now: datetime
) -> None:
    request.approved, request.approval_by, request.approval_at = approved, person.user_id, now
    request.approval_note = None if approved else note
    request.note(now, "approval_given" if approved else "approval_refused")
    event = AuditEvent.APPROVAL_GIVEN if approved else AuditEvent.APPROVAL_REFUSED
    facts = {"customer_number": request.customer_number, "request": str(request.id), "cents": monthly_rise(request)}
    company = session.get_one(Account, company_of(request))
    record(session, person, company, event, Action.ORDER, now, facts)
    request.make_due(now)


def set_approval_limit(session: Session, person: Principal, account: Account, cents: int | None, now: datetime) -> None:
    """Set the monthly sum (net, in cents) from which requests of the company's people wait for an approval; None: none.

    Locks the account and records the change in its audit log. Requests that wait already go on waiting. Setting the sum
    that is set already changes nothing. Raises `Forbidden` if the person may not manage the account's users,
    `OfMainAccount` if its main account pays for it, and `TooEarly` if the person has changed the sum ten times within
    24 hours. Raises `SecondPersonNeeded` if a sum is to be set and only one person leads the account.
    """
    person = lock_users(session, person, account, Action.MANAGE_USERS)
    if account.main_id is not None and account.origin is not Origin.LINK:
        raise OfMainAccount
    if cents is not None and len(leaders_of(session, account.id)) < 2:
        raise SecondPersonNeeded
    before = account.approval_from_cents
    if before == cents:
        return
    ensure_not_repeated(session, person, account, AuditEvent.APPROVAL_LIMIT_SET, now)
    account.approval_from_cents = cents
    facts = {"before": before, "cents": cents}
    record(session, person, account, AuditEvent.APPROVAL_LIMIT_SET, Action.MANAGE_USERS, now, facts)
    session.flush()
