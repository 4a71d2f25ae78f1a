"""The users of an account: changing their roles and removing them.

People of a main account cannot change or remove the users of its sub-accounts. The local team of a sub-account cannot
change or remove its users who also have a role in the main account.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import LastAdministrator, NotFound, OfMainAccount
from models.people.api_tokens import revoke_tokens_of_user
from models.people.audit_log import AuditEvent, record
from models.people.invitations import Invitation, lock_users
from models.people.rights import LEADS, Action, Principal, Role, may, may_use_tokens
from models.people.users import Membership, User, administrators_of, people_of_main, principal_of


def users_of(session: Session, account: Account) -> list[tuple[User, Role]]:
    """Return every user with a role in the account, together with that role, sorted by the users' names."""
    query = sa.select(User, Membership.role).join(Membership, Membership.user_id == User.id)
    rows = session.execute(query.where(Membership.account_id == account.id).order_by(User.name, User.id))
    return [(user, role) for user, role in rows]


def managed_accounts(session: Session, person: Principal) -> list[Account]:
    """Return the accounts whose users the person may manage by a role there, sorted by account id."""
    accounts = session.scalars(sa.select(Account).where(Account.id.in_(person.roles)).order_by(Account.id))
    return [account for account in accounts if may(person, Action.MANAGE_USERS, account)]


def change_role(session: Session, person: Principal, account: Account, user_id: int, role: Role, now: datetime) -> None:
    """Change a user's role in the account, and record it in the account's audit log.

    Unless the new role is administrator, deletes the invitations to this account that the user has sent. If the new
    role gives no right to invite to sub-accounts, also deletes the user's invitations to sub-accounts. Exceptions are
    invitations that an order caused, and those to a sub-account of which the user is an administrator. Revokes the
    user's API tokens of the account if the new role gives no right that a token can use. Locks the account.

    Raises `Forbidden` if `person` may not manage the account's users, and `NotFound` if no user of the account has the
    id `user_id`. Raises `OfMainAccount` if the user is also an administrator or location manager of the main account
    and `person` is not. Raises `LastAdministrator` if the user is the account's only administrator and `role` is
    another role.
    """
    membership = _membership(session, person, account, user_id)
    if role is not Role.ADMINISTRATOR:
        _keep_an_administrator(session, membership)
        _void_what_they_sent(session, membership, leads=role in LEADS)
    if not may_use_tokens(role):
        revoke_tokens_of_user(session, user_id, account.id, now)
    if role is not membership.role:
        _record(
            session, person, account, AuditEvent.ROLE_CHANGED, membership, now, before=str(membership.role), role=role
        )
    membership.role = role


def remove_user(session: Session, person: Principal, account: Account, user_id: int, now: datetime) -> None:
    """Remove a user from the account; delete the invitations to it and its sub-accounts that the user has sent.

    Invitations to sub-accounts stay if an order caused them or if the user is an administrator of the sub-account.
    Revokes the user's API tokens of the account, and records the removal in the account's audit log. Locks the account.

    Raises `Forbidden` if `person` may not manage the account's users, and `NotFound` if no user of the account has the
    id `user_id`. Raises `OfMainAccount` if the user is also an administrator or location manager of the main account
    and `person` is not. Raises `LastAdministrator` if the user is the account's only administrator.
    """
    membership = _membership(session, person, account, user_id)
    _keep_an_administrator(session, membership)
    _void_what_they_sent(session, membership, leads=False)
    revoke_tokens_of_user(session, user_id, account.id, now)
    session.delete(membership)
    _record(session, person, account, AuditEvent.USER_REMOVED, membership, now, role=str(membership.role))


def leave(session: Session, user: User, account: Account, now: datetime) -> None:
    """Remove the user from the account at the user's own wish, and record this in the account's audit log.

    Deletes the invitations to the account and its sub-accounts that the user has sent. Those to sub-accounts stay if an
    order caused them or if the user is an administrator of the sub-account. Revokes the user's API tokens of the
    account. The caller must have locked the account and checked that it keeps an administrator if it needs one.
    """
    membership = session.get_one(Membership, (user.id, account.id))
    _void_what_they_sent(session, membership, leads=False)
    revoke_tokens_of_user(session, user.id, account.id, now)
    entry = {"role": str(membership.role), "by_themselves": True}
    record(session, principal_of(session, user), account, AuditEvent.USER_REMOVED, Action.FORWARD_CALLS, now, entry)
    session.delete(membership)
    session.flush()


def _record(
    session: Session,
    person: Principal,
    account: Account,
    deed: AuditEvent,
    about: Membership,
    now: datetime,
    **facts: str,
) -> None:
    # Not the name: an entry stays for ever, also if the person is erased.
    record(session, person, account, deed, Action.MANAGE_USERS, now, {"user_id": about.user_id, **facts})


def _membership(session: Session, person: Principal, account: Account, user_id: int) -> Membership:
    person = lock_users(session, person, account, Action.MANAGE_USERS)
    found = session.get(Membership, (user_id, account.id), populate_existing=True)
    if found is None:
        raise NotFound
    above = people_of_main(session, account)
    if user_id in above and person.user_id not in above:
        raise OfMainAccount
    return found


def _keep_an_administrator(session: Session, membership: Membership) -> None:
    able = {user.id for user in administrators_of(session, membership.account_id)}
    if able == {membership.user_id}:
        raise LastAdministrator


def _void_what_they_sent(session: Session, membership: Membership, *, leads: bool) -> None:
    """Delete the invitations to the account that the member has sent; unless `leads`, also those to its sub-accounts.

    This prevents a former administrator from coming back by an invitation to another address of their own. `leads`: the
    member's new role still gives the right to invite to sub-accounts. Invitations to sub-accounts stay if an order
    caused them, or if the member is an administrator of that sub-account.
    """
    to = [Invitation.account_id == membership.account_id]
    if not leads:
        subs = sa.select(Account.id).where(Account.main_id == membership.account_id)
        own = sa.select(Membership.account_id).where(
            Membership.user_id == membership.user_id, Membership.role == Role.ADMINISTRATOR
        )
        to.append(Invitation.account_id.in_(subs) & Invitation.account_id.not_in(own) & ~Invitation.by_order)
    session.execute(sa.delete(Invitation).where(Invitation.invited_by == membership.user_id, sa.or_(*to)))
