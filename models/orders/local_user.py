"""The local user of an order: a person at the new location, who is invited to sign in when the account is active."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.emails import stored_spellings
from models.messages.outbox import Recipient
from models.people.invitations import invite_by_order
from models.people.rights import LEADS, Principal, Role
from models.people.users import Membership, User, principal_of
from models.requests.requests import Request


def invite_local_user(session: Session, request: Request, now: datetime) -> bool:
    """Invite the local user whom an order names to administer the new account; return whether they are invited.

    Does nothing if the order names nobody. Nobody is invited either if the person has access to the account through the
    main account, or if nobody of the main account may invite. In each case with a named person a timeline entry is
    added. The invitation names as its sender the person who ordered or, if their role does not allow it now, the main
    account's administrator who was created first. Call it once, in the transaction that completes the order, with the
    account locked and attached.
    """
    account = request.account
    if request.local_user_name is None or request.local_user_email is None or account is None:
        return False
    leaders = _leaders_of(session, request.main_id)
    if reaches_sub_accounts(session, request.main_id, request.local_user_email):
        request.note(now, "local_user_leads", name=request.local_user_name)
        return False
    able = [
        user
        for user, role in leaders
        if (role is Role.ADMINISTRATOR or user.id == request.requested_by) and user.disabled_at is None
    ]
    if not able:
        request.note(now, "local_user_not_invited", name=request.local_user_name)
        return False
    # The person who ordered, or else the administrator who was created first.
    inviter = min(able, key=lambda user: user.id != request.requested_by)
    to = Recipient(request.local_user_name, request.local_user_email, request.locale)
    invite_by_order(session, _principal(session, inviter), account, to, now, request.bulk_id)
    request.note(now, "local_user_invited", name=request.local_user_name)
    return True


def reaches_sub_accounts(session: Session, main_id: int, email: str) -> bool:
    """Return whether the user with this e-mail address has access to sub-accounts by a role in the main account."""
    spellings = stored_spellings(email)
    return any(user.email in spellings for user, _role in _leaders_of(session, main_id))


def _leaders_of(session: Session, main_id: int) -> list[tuple[User, Role]]:
    """Return the users with a role in the main account that gives access to sub-accounts, each with the role.

    The user who was created first comes first. Cached in the session.
    """
    # Hundreds of orders of one transaction are for a few main accounts.
    known: dict[int, list[tuple[User, Role]]] = session.info.setdefault("leaders", {})
    if main_id not in known:
        query = sa.select(User, Membership.role).join(Membership, User.id == Membership.user_id).order_by(User.id)
        led = query.where(Membership.account_id == main_id, Membership.role.in_(LEADS))
        known[main_id] = [(user, role) for user, role in session.execute(led)]
    return known[main_id]


def _principal(session: Session, user: User) -> Principal:
    known: dict[int, Principal] = session.info.setdefault("principals", {})
    if user.id not in known:
        known[user.id] = principal_of(session, user)
    return known[user.id]
