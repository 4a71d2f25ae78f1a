"""Link codes: an administrator creates one for their account, and another customer can attach the account with it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.calendar_days import end_of_day
from models.errors import Forbidden, IsMainAccount
from models.people.rights import Action, Principal, may
from models.proofs.deadlines import LINK_CODE_VALID_FOR
from models.proofs.proofs import LinkCode
from models.states import AccountRole


def create_link_code(session: Session, principal: Principal, account: Account, now: datetime) -> LinkCode:
    """Create a link code, valid for 7 days, with which another customer may attach the account; void the previous one.

    Locks the account and flushes. Raises `Forbidden` if the person may not prove ownership of the account, and
    `IsMainAccount` if it is a main account.
    """
    # Two at once would both find none to replace; and what was read before may be over.
    lock_account(session, account)
    void_link_code(session, principal, account, now)
    if account.role is AccountRole.MAIN:
        raise IsMainAccount(account.customer_number)
    expires_at = end_of_day(now + LINK_CODE_VALID_FOR)
    code = LinkCode(account_id=account.id, created_by=principal.user_id, created_at=now, expires_at=expires_at)
    session.add(code)
    session.flush()
    return code


def void_link_code(session: Session, principal: Principal, account: Account, now: datetime) -> None:
    """Make the account's link code invalid, if there is one; its row is locked. Safe to run twice.

    Raises `Forbidden` if the person may not prove ownership of the account.
    """
    if not may(principal, Action.PROVE_OWNERSHIP, account):
        raise Forbidden
    code = open_link_code(session, account.id, lock=True)
    if code is not None:
        code.ended_at = now
        session.flush()


def open_link_code(session: Session, account_id: int | None, *, lock: bool = False) -> LinkCode | None:
    """Return the account's link code that was not used, replaced or voided; None if there is none.

    The code may have expired. An account has at most one such code. With `lock`, locks its row until the transaction
    ends. If `account_id` is None, returns None but runs the same statement, so that the duration does not reveal
    whether an account exists.
    """
    query = sa.select(LinkCode).where(LinkCode.account_id == account_id, LinkCode.ended_at.is_(None))
    return session.scalar(query.with_for_update() if lock else query)
