"""Keeps requests about the contracts of an account with the main account to which the account belongs at the time.

Changes, requests for more numbers, moves, and cancellations wait for days or for the carrier. Meanwhile the account may
be linked, switched or detached. The request then no longer concerns the main account that it was made under.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.requests.requests import Request
from models.states import ENDED, OF_CONTRACTS, AccountState


def owner_of_contracts(account: Account) -> int:
    """Return the id of the account to which requests about the account's contracts belong.

    It is the main account, or the account itself if it has no main account.
    """
    return account.main_id if account.main_id is not None else account.id


def hand_over_requests(session: Session, account: Account, now: datetime) -> None:
    """Give the running requests about the account's contracts to its present main account, or to itself if it has none.

    Those that wait for a second person's approval are worked on now: other people may have to give it, or nobody.

    Called when the account, which is locked, was attached, switched or detached. A request that another transaction has
    locked is left out. The job `requests` (`left_behind`), or the next worker that processes the request, hands it over
    later.
    """
    running = Request.kind.in_(OF_CONTRACTS), Request.status.not_in(ENDED)
    query = sa.select(Request).where(Request.account_id == account.id, *running).order_by(Request.id)
    for request in session.scalars(query.with_for_update(skip_locked=True)):
        hand_over(session, request)
        if request.approval_until is not None and request.approved is None:
            request.make_due(now)


def hand_over(session: Session, request: Request) -> None:
    """Give a request about an account's contracts to the account's present main account, or to itself if it has none.

    The caller must have locked the request, its account, and the new owner (`present_owner`), the owner at least
    against being deleted. Does nothing if the request already belongs to its owner.
    """
    owner = present_owner(request)
    if owner is not None and request.main_id != owner:
        request.main = session.get_one(Account, owner)


def present_owner(request: Request) -> int | None:
    """Return the id of the account to which a request about the contracts of an account has to belong now.

    None if the request stays where it is. That is so for every other kind of request. It is also so if a cancellation
    has closed the account: the request then stays with the main account that the account had until then.
    """
    account = request.account
    if request.kind not in OF_CONTRACTS or account is None or account.state is AccountState.CLOSED:
        return None
    return owner_of_contracts(account)


def left_behind() -> sa.Select[Request]:
    """Return a query for the running requests about contracts that do not belong to their account's present owner.

    The present owner is the account's main account, or the account itself if it has none. Requests of closed accounts
    are left out.
    """
    return (
        sa.select(Request)
        .join(Account, Account.id == Request.account_id)
        .where(
            Request.kind.in_(OF_CONTRACTS),
            Request.status.not_in(ENDED),
            Account.state != AccountState.CLOSED,
            Request.main_id != sa.func.coalesce(Account.main_id, Account.id),
        )
    )
