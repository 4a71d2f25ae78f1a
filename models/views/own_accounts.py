"""The accounts in which a person has a role of their own: to view, to link, to forward calls, and for the menu."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import LEADS, Action, Principal, Role, may
from models.people.users import Membership, User, acting
from models.proofs.proof_status import count_open_questions
from models.states import AccountRole, AccountState


def accounts_of(session: Session, principal: Principal) -> list[Account]:
    """Return the accounts that the person may view by a role in the account itself: main accounts first, then by id.

    Sub-accounts that the person sees only because of a role in their main account are left out.
    """
    accounts = session.scalars(sa.select(Account).where(Account.id.in_(principal.roles)).order_by(Account.id))
    return _viewable(principal, accounts)


def _viewable(principal: Principal, accounts: Iterable[Account]) -> list[Account]:
    return sorted(
        (account for account in accounts if may(principal, Action.VIEW, account)),
        key=lambda account: account.role != "main",
    )


def linkable_accounts(session: Session, principal: Principal) -> list[Account]:
    """Return the active standalone accounts that a link of this person can attach to a main account.

    The person may prove the ownership of these accounts by a role in them. They are sorted by id.
    """
    return _linkable(_provable(principal, accounts_of(session, principal)))


def switchable_accounts(session: Session, principal: Principal) -> list[Account]:
    """Return the active sub-accounts that a switch of this person can move to another main account.

    The person may prove the ownership of these accounts by a role in the account itself. They are sorted by id.
    """
    return _attached(_provable(principal, accounts_of(session, principal)))


def _attached(provable: Sequence[Account]) -> list[Account]:
    subs = [account for account in provable if account.role is AccountRole.SUB]
    return [account for account in subs if account.state is AccountState.ACTIVE]


def _provable(principal: Principal, accounts: Sequence[Account]) -> list[Account]:
    return [account for account in accounts if may(principal, Action.PROVE_OWNERSHIP, account)]


def _linkable(provable: Sequence[Account]) -> list[Account]:
    standalone = [account for account in provable if account.role is AccountRole.STANDALONE]
    return [account for account in standalone if account.state is AccountState.ACTIVE]


@dataclass(frozen=True, slots=True)
class MenuFacts:
    """What decides, together with a person's roles, which entries the person's menu has."""

    sees_locations: bool
    """Whether the person has the overview of locations; False for a person with roles in sub-accounts only."""
    gives_link_codes: bool
    """Whether the person administers an account that a main account could attach, by a link or a switch."""
    consents_waiting: int
    """The number of links and switches that wait for the person's consent."""
    approvals_waiting: int
    """The number of orders and changes that wait for the person's approval."""


def person_with_menu(session: Session, user: User, now: datetime) -> tuple[Principal, MenuFacts]:
    """Return the user as an acting person (`Principal`) with their present roles, and the facts for the person's menu.

    Runs two statements at most, because it is called at each request of a browser.
    """
    own = session.execute(_own(), {"user_id": user.id}).all()
    principal = acting(user, {account.id: role for account, role in own})
    accounts = _viewable(principal, [account for account, _ in own])
    return principal, _menu_facts(session, principal, accounts, now)


@cache
def _own() -> sa.Select[Account, Role]:
    """Return the query for the accounts in which a user has a role, each with this role; its parameter is `user_id`.

    Closed accounts are left out. The query is built once.
    """
    return (
        sa.select(Account, Membership.role)
        .join(Membership, Membership.account_id == Account.id)
        .where(Membership.user_id == sa.bindparam("user_id"), Account.state != AccountState.CLOSED)
        .order_by(Account.id)
    )


def _menu_facts(session: Session, principal: Principal, accounts: Sequence[Account], now: datetime) -> MenuFacts:
    provable = _provable(principal, accounts)
    leads = any(role in LEADS for role in principal.roles.values())
    consents, approvals = count_open_questions(session, principal, provable, now) if provable or leads else (0, 0)
    return MenuFacts(
        sees_locations=not accounts or any(account.role is not AccountRole.SUB for account in accounts),
        gives_link_codes=bool(_linkable(provable) or _attached(provable)),
        consents_waiting=consents,
        approvals_waiting=approvals,
    )


def closed_accounts(session: Session, principal: Principal) -> Sequence[Account]:
    """Return the closed accounts in which the person had a role at the time of closing, sorted by id."""
    query = sa.select(Account).join(Membership, Membership.account_id == Account.id)
    theirs = query.where(Membership.user_id == principal.user_id, Account.state == AccountState.CLOSED)
    return session.scalars(theirs.order_by(Account.id)).all()


def forwardable_accounts(session: Session, principal: Principal) -> list[Account]:
    """Return the active accounts whose calls the person may forward by a role in the account itself."""
    query = sa.select(Account).where(Account.id.in_(principal.roles), Account.state == AccountState.ACTIVE)
    accounts = session.scalars(query.order_by(Account.id))
    return [account for account in accounts if may(principal, Action.FORWARD_CALLS, account)]
