"""Locks on accounts, and the order in which rows are locked, so that two transactions never wait for each other.

Accounts come first, then a person. An account is locked before what belongs to it: trunks, number blocks, invitations,
link codes. A request that is locked alone is locked before its proofs; one that is created locks its account before it
exists. Several rows of a table are locked in the order of their ids, which every test checks (`tests/lock_order.py`).
The workers lock the requests of a batch, and then the requests' accounts, without waiting: they leave out rows that
another transaction has locked.

The advisory lock on a company's limits (`models.accounts.company_limits.lock_limits`) is taken before the accounts
where something is ordered, and after a request and its proof where a further code or mail is asked for. Who holds it
waits for neither requests nor proofs, so that both can be.

A test runs each two of the operations in `tests/lock_scenes.py` at once. A new one that locks an account and something
else belongs into that list.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.states import AccountState


def lock_accounts(session: Session, ids: Sequence[int]) -> None:
    """Lock the accounts until the transaction ends, and reload each from the database when it is first locked.

    Lock an account before changing it: reloading overwrites changes that are not flushed yet.
    """
    locked: set[int] = session.info.setdefault("locked_accounts", set())
    missing = sorted(set(ids) - locked)
    if missing:
        query = sa.select(Account).where(Account.id.in_(missing)).order_by(Account.id).with_for_update()
        # The result is kept so that the identity map, which holds its objects weakly, does not forget them.
        session.info.setdefault("kept_accounts", []).extend(
            session.scalars(query.execution_options(populate_existing=True))
        )
        locked.update(missing)


def lock_free_accounts(session: Session, ids: Collection[int], referred_to: Collection[int]) -> set[int]:
    """Lock accounts without waiting, leave out those that another transaction has locked, and return the locked ids.

    Accounts in `ids` are locked for changes and reloaded. Accounts in `referred_to` are only kept from being deleted,
    as by a foreign key (FOR KEY SHARE). The result also has the accounts that this transaction had locked for changes
    before.
    """
    locked: set[int] = session.info.setdefault("locked_accounts", set())
    query = sa.select(Account).where(Account.id.in_(sorted(set(ids) - locked))).order_by(Account.id)
    found = session.scalars(query.with_for_update(skip_locked=True).execution_options(populate_existing=True)).all()
    session.info.setdefault("kept_accounts", []).extend(found)
    locked.update(account.id for account in found)
    others = sa.select(Account.id).where(Account.id.in_(sorted(set(referred_to) - locked))).order_by(Account.id)
    shared = session.scalars(others.with_for_update(read=True, key_share=True, skip_locked=True))
    return locked | set(shared)


def lock_account(session: Session, account: Account) -> None:
    """Lock one account until the transaction ends and reload it, so that changes to it run one after the other.

    Transactions that only refer to the account by a foreign key are not blocked (FOR NO KEY UPDATE). Raises `NotFound`
    if the account was detached meanwhile, so that the front's caller may not see it now.
    """
    query = sa.select(Account).where(Account.id == account.id).with_for_update(key_share=True)
    if session.scalar(query.execution_options(populate_existing=True)) is None:
        raise NotFound


def lock_active_account(session: Session, account: Account) -> None:
    """Lock and reload an account for a change that needs an active account.

    Raises `Forbidden` if the account is not active, and `NotFound` if it was detached meanwhile, so that the front's
    caller may not see it now.
    """
    lock_account(session, account)
    if account.state is not AccountState.ACTIVE:
        raise Forbidden
