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
    locked is left out, and is handed over when a worker comes to it (`hand_over`).
    """
    running = Request.kind.in_(OF_CONTRACTS), Request.status.not_in(ENDED)
    query = sa.select(Request).where(Request.account_id == account.id, *running).order_by(Request.id)
    for request in session.scalars(query.with_for_update(skip_locked=True)):
        hand_over(session, request)


def hand_over(session: Session, request: Request) -> None:
    """Give a request about the contracts of an account to the main account that the account has now, or to itself.

    The request and its account are locked. Requests of other kinds stay where they are, and so do those of an account
    that a cancellation has closed: they belong to the main account that it had until then.
    """
    account = request.account
    if request.kind not in OF_CONTRACTS or account is None or account.state is AccountState.CLOSED:
        return
    owner = owner_of_contracts(account)
    if request.main_id != owner:
        request.main = session.get_one(Account, owner)
