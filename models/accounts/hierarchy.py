"""The hierarchy of accounts: an account has at most one main account, and a main account is never a sub-account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_accounts
from models.errors import AlreadyAttached, IsMainAccount, RuleBroken
from models.states import AccountRole, AccountState, Origin, Reason


def may_be_main(account: Account) -> bool:
    """Return whether the account is a main account or may become one: it is neither closed nor a sub-account."""
    return account.state is not AccountState.CLOSED and account.role is not AccountRole.SUB


def ensure_may_be_main(account: Account) -> None:
    """Raise `RuleBroken` if the account cannot be a main account, because it is closed or a sub-account."""
    if not may_be_main(account):
        closed = account.state is AccountState.CLOSED
        raise RuleBroken(Reason.ACCOUNT_CLOSED if closed else Reason.IS_SUB_ACCOUNT, account.customer_number)


def ensure_may_be_sub(account: Account) -> None:
    """Raise an error if the account may not become a sub-account.

    The error is `AlreadyAttached` for a sub-account, `IsMainAccount` for a main account and `RuleBroken` for a closed
    account.
    """
    if account.role is AccountRole.SUB:
        raise AlreadyAttached(account.customer_number)
    if account.role is AccountRole.MAIN:
        raise IsMainAccount(account.customer_number)
    if account.state is AccountState.CLOSED:
        raise RuleBroken(Reason.ACCOUNT_CLOSED, account.customer_number)


def promote(session: Session, main_id: int) -> Account:
    """Make a standalone account a main account, and return it; a main account is returned unchanged.

    Raises `RuleBroken` if the account is a sub-account or closed. Locks the account only if it is standalone: a
    database trigger and the foreign key of its sub-accounts keep a main account from changing its role.
    """
    account = session.get_one(Account, main_id)
    if account.role is not AccountRole.MAIN:
        lock_accounts(session, [main_id])
    ensure_may_be_main(account)
    if account.role is AccountRole.STANDALONE:
        account.role = AccountRole.MAIN
        session.flush()
    return account


def attach(session: Session, main_id: int, account_id: int, origin: Origin, now: datetime) -> Account:
    """Attach an account to a main account as its sub-account, and return the sub-account.

    `origin` (order, link request or collective invoice) is stored in the sub-account. If the account `main_id` is
    standalone, it becomes a main account. Safe to run twice: an account already attached to this main account is left
    unchanged. Locks the account, so that of several main accounts that attach it at the same time exactly one succeeds.

    Raises `AlreadyAttached` if the account has another main account, `IsMainAccount` if it is a main account itself, or
    `RuleBroken` if both ids are equal, the account is closed, or `main_id` is closed or a sub-account.
    """
    if main_id == account_id:
        raise RuleBroken(Reason.SAME_ACCOUNT)
    promote(session, main_id)
    lock_accounts(session, [account_id])
    account = session.get_one(Account, account_id)
    if account.main_id == main_id:
        return account
    ensure_may_be_sub(account)
    account.role = AccountRole.SUB
    account.main_id = main_id
    account.origin = origin
    account.attached_at, account.tags = now, None
    return account


def move(session: Session, main_id: int, new_main_id: int, account_id: int, now: datetime) -> Account:
    """Move a sub-account from the main account `main_id` to the main account `new_main_id`; return the sub-account.

    The sub-account's origin becomes `LINK`, and its tags are deleted. One update changes its main account, so that it
    is never without one. If `new_main_id` is standalone, it becomes a main account; the former main account keeps its
    role. Locks the sub-account. Raises `RuleBroken` if the account is not, or no longer, attached to `main_id`, or if
    `new_main_id` is the present main account, the sub-account itself, closed or a sub-account.
    """
    if new_main_id == account_id:
        raise RuleBroken(Reason.SAME_ACCOUNT)
    promote(session, new_main_id)
    lock_accounts(session, [account_id])
    account = session.get_one(Account, account_id)
    if account.main_id != main_id or new_main_id == main_id:
        raise RuleBroken(Reason.NOT_ATTACHED, account.customer_number)
    account.main_id, account.origin, account.attached_at = new_main_id, Origin.LINK, now
    account.tags = None
    return account


def detach(session: Session, main_id: int, account_id: int) -> Account:
    """Detach a sub-account from its main account and return the account, which is standalone afterwards.

    The account keeps its logins, numbers, contracts and address, but not the tags that the company has given it; its
    main account keeps its role. Locks the account.
    Raises `RuleBroken` if the account is not, or no longer, attached to the account `main_id`.
    """
    lock_accounts(session, [account_id])
    account = session.get_one(Account, account_id)
    if account.main_id != main_id:
        raise RuleBroken(Reason.NOT_ATTACHED, account.customer_number)
    account.role = AccountRole.STANDALONE
    account.main_id = account.origin = account.attached_at = account.tags = None
    return account
