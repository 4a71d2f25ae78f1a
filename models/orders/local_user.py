"""The person whom an order names to sign in at its location: invited when the account is active."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.messages.outbox import Recipient
from models.people.invitations import invite_by_order
from models.people.rights import LEADS
from models.people.users import Membership, User, administrators_of, principal_of
from models.requests.requests import Request


def invite_local_user(session: Session, request: Request, now: datetime) -> bool:
    """Invite the person whom the order names as an administrator of its account, and add a timeline entry.

    Return whether the person is invited. Does nothing if the order names nobody. A person who reaches the account
    through the main account is not invited, which the timeline says. The invitation is sent in the name of the person
    who ordered, or of an administrator of the main account if that person may not invite any more. Call once, in the
    transaction that completes the order, with the account locked and attached.
    """
    account = request.account
    if request.local_user_name is None or request.local_user_email is None or account is None:
        return False
    if leads_main(session, request.main_id, request.local_user_email):
        request.note(now, "local_user_leads", name=request.local_user_name)
        return False
    asked = [request.requester] if request.requester is not None else []
    people = (*asked, *administrators_of(session, request.main_id))
    able = [user for user in people if leads_main(session, request.main_id, user.email)]
    if not able:
        request.note(now, "local_user_not_invited", name=request.local_user_name)
        return False
    to = Recipient(request.local_user_name, request.local_user_email, request.locale)
    invite_by_order(session, principal_of(session, able[0]), account, to, now, request.bulk_id)
    request.note(now, "local_user_invited", name=request.local_user_name)
    return True


def leads_main(session: Session, main_id: int, email: str) -> bool:
    """Return whether the user with this e-mail address reaches the sub-accounts of the main account by a role there."""
    query = sa.select(Membership).join(User, User.id == Membership.user_id)
    led = query.where(Membership.account_id == main_id, Membership.role.in_(LEADS), User.email == email.lower())
    return session.scalar(led) is not None
