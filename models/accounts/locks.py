"""Locks on accounts, and the order in which transactions lock rows so that they never deadlock.

The order: first accounts, then a person. An account is locked before the rows that belong to it: trunks, number blocks,
invitations, link codes. If a transaction locks only a request, it locks the request before its proofs; if it creates a
request, it locks the account first. Several rows of a table are locked in the order of their ids, which every test
checks (`tests/lock_order.py`). Workers lock the requests of a batch, and then the requests' accounts, without waiting:
they skip rows that another transaction has locked.

When something is ordered, the advisory lock on a company's limits (`models.accounts.company_limits.lock_limits`) is
taken before the accounts. When a further code or mail is requested, it is taken after a request and its proof. Both
orders are safe, because a transaction that holds this lock never waits for requests or proofs.

A test runs the operations in `tests/lock_scenes.py` in pairs at the same time. Add every new operation that locks an
account and something else to that list.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.states import AccountState


def lock_accounts(session: Session, ids: Sequence[int]) -> None:
    """Lock the accounts until the transaction ends, and reload those that the transaction had not locked yet.

    Call it before changing an account: reloading overwrites changes that are not flushed yet.
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
    """Lock accounts without waiting, skipping those that another transaction has locked; return the locked ids.

    Accounts in `ids` are locked for changes and reloaded. Accounts in `referred_to` are only protected from being
    deleted (FOR KEY SHARE), as by a foreign key. The result also has the accounts that this transaction had locked for
    changes before.
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
    if row-level security hides the account from the signed-in person by now, because it was detached meanwhile.
    """
    query = sa.select(Account).where(Account.id == account.id).with_for_update(key_share=True)
    if session.scalar(query.execution_options(populate_existing=True)) is None:
        raise NotFound


def lock_active_account(session: Session, account: Account) -> None:
    """Lock one account until the transaction ends and reload it, for a change that needs an active account.

    Raises `Forbidden` if the account is not active, and `NotFound` if row-level security hides it from the signed-in
    person by now, because it was detached meanwhile.
    """
    lock_account(session, account)
    if account.state is not AccountState.ACTIVE:
        raise Forbidden
