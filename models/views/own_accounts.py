"""The accounts in which a person has a role of their own: which of them they may view, link or forward."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import Action, Principal, may
from models.people.users import Membership
from models.states import AccountRole, AccountState


def accounts_of(session: Session, principal: Principal) -> list[Account]:
    """Return the accounts that the person may view by a role in the account itself, main accounts first.

    Sub-accounts that the person sees only because of a role in their main account are left out.
    """
    accounts = session.scalars(sa.select(Account).where(Account.id.in_(principal.roles)).order_by(Account.id))
    return sorted(
        (account for account in accounts if may(principal, Action.VIEW, account)),
        key=lambda account: account.role != "main",
    )


def sees_locations(session: Session, principal: Principal) -> bool:
    """Return whether the person sees the overview of locations.

    True if they have a role that allows viewing in an account that is no sub-account, or in no account at all.
    """
    accounts = accounts_of(session, principal)
    return not accounts or any(account.role is not AccountRole.SUB for account in accounts)


def linkable_accounts(session: Session, principal: Principal) -> list[Account]:
    """Return the active standalone accounts whose ownership the person may prove, so that they can be attached."""
    query = sa.select(Account).where(
        Account.id.in_(principal.roles), Account.role == AccountRole.STANDALONE, Account.state == AccountState.ACTIVE
    )
    accounts = session.scalars(query.order_by(Account.id))
    return [account for account in accounts if may(principal, Action.PROVE_OWNERSHIP, account)]


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


def token_account(session: Session, principal: Principal) -> Account | None:
    """Return the account that the person's API token belongs to; None if the person does not use a token."""
    return session.get(Account, principal.token_account_id) if principal.token_account_id else None
