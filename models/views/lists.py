"""Queries for pages and the API: lists with keyset pagination and a fixed number of statements."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.accounts import Account
from models.messages.outbox import Message
from models.people.rights import Action, Principal, may
from models.people.users import Membership
from models.proofs.status import count_open_consents
from models.requests.requests import Request, TimelineEntry
from models.states import ENDED, AccountRole, AccountState, Status


def accounts_of(session: Session, principal: Principal) -> list[Account]:
    """Return the accounts that the person may view by a role in the account itself, main accounts first.

    Sub-accounts that the person sees only because of a role in their main account are left out.
    """
    accounts = session.scalars(sa.select(Account).where(Account.id.in_(principal.roles)).order_by(Account.id))
    return sorted(
        (account for account in accounts if may(principal, Action.VIEW, account)),
        key=lambda account: account.role != "main",
    )


def linkable_accounts(session: Session, principal: Principal) -> list[Account]:
    """Return the active standalone accounts whose ownership the person may prove, so that they can be attached."""
    return _linkable(_provable(principal, accounts_of(session, principal)))


def _provable(principal: Principal, accounts: Sequence[Account]) -> list[Account]:
    standalone = [account for account in accounts if account.role is AccountRole.STANDALONE]
    return [account for account in standalone if may(principal, Action.PROVE_OWNERSHIP, account)]


def _linkable(provable: Sequence[Account]) -> list[Account]:
    return [account for account in provable if account.state is AccountState.ACTIVE]


@dataclass(frozen=True, slots=True)
class MenuFacts:
    """What a person's menu depends on besides their roles."""

    sees_locations: bool
    """Whether the person has the overview of locations: not with roles in sub-accounts only."""
    gives_link_codes: bool
    """Whether the person administers an account that a main account could attach."""
    consents_waiting: int
    """The number of link requests that wait for the person's consent to attach an account."""


def menu_facts(session: Session, principal: Principal, now: datetime) -> MenuFacts:
    """Return what the person's menu shows, by at most two statements: it is read at each request."""
    accounts = accounts_of(session, principal)
    provable = _provable(principal, accounts)
    gives_link_codes = bool(_linkable(provable))
    return MenuFacts(
        sees_locations=not accounts or any(account.role is not AccountRole.SUB for account in accounts),
        gives_link_codes=gives_link_codes,
        consents_waiting=count_open_consents(session, provable, now) if gives_link_codes else 0,
    )


def closed_accounts(session: Session, principal: Principal) -> Sequence[Account]:
    """Return the closed accounts in which the person had a role at the time of closing."""
    query = sa.select(Account).join(Membership, Membership.account_id == Account.id)
    theirs = query.where(Membership.user_id == principal.user_id, Account.state == AccountState.CLOSED)
    return session.scalars(theirs.order_by(Account.id)).all()


def forwardable_accounts(session: Session, principal: Principal) -> list[Account]:
    """Return the active accounts whose calls the person may forward by a role in the account itself."""
    query = sa.select(Account).where(Account.id.in_(principal.roles), Account.state == AccountState.ACTIVE)
    accounts = session.scalars(query.order_by(Account.id))
    return [account for account in accounts if may(principal, Action.FORWARD_CALLS, account)]


def running_request(session: Session, main: Account, account: Account) -> Request | None:
    """Return the newest running request of `main` that is about `account`; None if there is none."""
    return session.scalar(
        sa.select(Request)
        .where(Request.main_id == main.id, Request.account_id == account.id, Request.status.not_in(ENDED))
        .order_by(Request.id.desc())
        .limit(1)
    )


def requests_of(
    session: Session,
    main: Account,
    *,
    before: uuid.UUID | None = None,
    limit: int = 50,
    statuses: Sequence[Status] = (),
) -> list[Request]:
    """Return up to `limit` requests of a main account, the newest first.

    With `before`, a request id, return only older requests; with `statuses`, only requests with one of them.
    """
    query = sa.select(Request).where(Request.main_id == main.id).order_by(Request.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Request.id < before)
    if statuses:
        query = query.where(Request.status.in_(statuses))
    return list(session.scalars(query))


def recent_requests(
    session: Session, *, main: Account | None = None, statuses: Sequence[Status] = (), limit: int = 50
) -> list[Request]:
    """Return up to `limit` requests for the back office, of all customers or of `main` alone, the newest first.

    With `statuses`, return only requests with one of them. Each request comes with its main account.
    """
    query = sa.select(Request).order_by(Request.id.desc()).limit(limit).options(joinedload(Request.main))
    if main is not None:
        query = query.where(Request.main_id == main.id)
    if statuses:
        query = query.where(Request.status.in_(statuses))
    return list(session.scalars(query))


def timelines(session: Session, request_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[TimelineEntry]]:
    """Return the timeline of each request by request id, the oldest entry first; an empty list for a missing id."""
    entries: dict[uuid.UUID, list[TimelineEntry]] = defaultdict(list)
    for entry in session.scalars(
        sa.select(TimelineEntry).where(TimelineEntry.request_id.in_(request_ids)).order_by(TimelineEntry.id)
    ):
        entries[entry.request_id].append(entry)
    return entries


def request_counts(session: Session) -> list[tuple[str, str, int]]:
    """Return triples of status, step and number of requests, for the metrics."""
    rows = session.execute(
        sa.select(Request.status, Request.step, sa.func.count()).group_by(Request.status, Request.step)
    )
    return [(str(status), str(step), count) for status, step, count in rows]


def oldest_due(session: Session, now: datetime) -> datetime | None:
    """Return the earliest time since which a request has waited for a worker to claim it; None if no request waits."""
    return session.scalar(sa.select(sa.func.min(Request.due_at)).where(Request.due_at <= now))


def message_counts(session: Session) -> list[tuple[str, int]]:
    """Return pairs of state and number of messages, for the metrics."""
    rows = session.execute(sa.select(Message.state, sa.func.count()).group_by(Message.state))
    return [(str(state), count) for state, count in rows]


def token_account(session: Session, principal: Principal) -> Account | None:
    """Return the account that the person's API token belongs to; None if the person does not use a token."""
    return session.get(Account, principal.token_account_id) if principal.token_account_id else None
