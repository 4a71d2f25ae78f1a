"""To whom requests about the contracts of an account belong: to the main account that the account has at that time.

Changes, more numbers and cancellations wait for days or for the carrier. An account may be linked, switched or detached
meanwhile; then what happens to the request is no affair of the main account under which it was asked for.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.requests.requests import Request
from models.states import ENDED, OF_CONTRACTS, AccountState


def owner_of_contracts(account: Account) -> int:
    """Return the id of the account to which requests about the account's contracts belong: its main account, or itself.

    Itself if it has no main account.
    """
    return account.main_id if account.main_id is not None else account.id


def hand_over_requests(session: Session, account: Account) -> None:
    """Give the running requests about the account's contracts to the main account that it has now, or to itself.

    Called when the account, which is locked, was attached, switched or detached. A request that another transaction has
    locked is left out, and is handed over by the job `requests` (`left_behind`), or by a worker that comes to it first.
    """
    running = Request.kind.in_(OF_CONTRACTS), Request.status.not_in(ENDED)
    query = sa.select(Request).where(Request.account_id == account.id, *running).order_by(Request.id)
    for request in session.scalars(query.with_for_update(skip_locked=True)):
        hand_over(session, request)


def hand_over(session: Session, request: Request) -> None:
    """Give a request about the contracts of an account to the main account that the account has now, or to itself.

    Request, account and the new owner (`present_owner`) are locked, the owner at least against being deleted. A request
    that belongs to nobody else stays where it is.
    """
    owner = present_owner(request)
    if owner is not None and request.main_id != owner:
        request.main = session.get_one(Account, owner)


def present_owner(request: Request) -> int | None:
    """Return the id of the account to which a request about the contracts of an account has to belong now.

    None if it stays where it is: a request of another kind, and one of an account that a cancellation has closed, which
    belongs to the main account that the account had until then.
    """
    account = request.account
    if request.kind not in OF_CONTRACTS or account is None or account.state is AccountState.CLOSED:
        return None
    return owner_of_contracts(account)


def left_behind() -> sa.Select[Request]:
    """Return a query for the running requests about contracts that belong to another account than they have to."""
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
