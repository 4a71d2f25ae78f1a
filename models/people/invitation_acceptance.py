"""Acceptance of invitations: finding the invitation of a mailed link, and giving the invited person their role."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.db.caller import Named, name_to_database
from models.errors import BeingErased, NotFound, PasswordMissing
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.erasure_requests import is_being_erased
from models.people.invitations import Invitation
from models.people.password_links import reset_password
from models.people.rights import Role
from models.people.users import Membership, User
from models.vault import Vault


def find_invitation(
    session: Session, vault: Vault, id: int, token: str, now: datetime, *, lock: bool = False
) -> Invitation:
    """Return the invitation whose link contains this id and this token.

    With `lock`, locks the invitation's account and then the invitation's row until the transaction ends. Raises
    `NotFound` if there is no such invitation, the token is wrong, or the invitation has expired.
    """
    name_to_database(session, Named.INVITATION, id)
    if lock:
        account = sa.select(Invitation.account_id).where(Invitation.id == id).scalar_subquery()
        session.execute(sa.select(Account.id).where(Account.id == account).with_for_update(key_share=True))
    found = session.get(Invitation, id, with_for_update=lock or None)
    if found is None or not vault.is_token(token, *found.words()) or now >= found.expires_at:
        raise NotFound
    return found


def invited_user(session: Session, invitation: Invitation) -> User | None:
    """Return the user who has the invited e-mail address and a password; None if there is no such user."""
    return session.scalar(sa.select(User).where(User.email == invitation.email, User.password_hash.is_not(None)))


def accept(session: Session, invitation: Invitation, password: str | None, now: datetime) -> tuple[User, bool]:
    """Give the invited person the offered role and delete the invitation; create the person's user if there is none.

    If the person has a role in the account already, it is replaced only by that of administrator. The address counts as
    confirmed, and a new role is recorded in the account's audit log. Returns the user, and whether `password` was set
    as the user's password: an existing password stays. Raises `PasswordMissing` if the user has no password and
    `password` is None, `PasswordGuessable` if the new password is too easy to guess, `NotFound` if the user is
    disabled, and `BeingErased` if the user's personal data is about to be erased, because the new role would be erased
    with it.
    """
    name_to_database(session, Named.EMAIL, invitation.email)
    # Invitations to two accounts may be accepted at the same time: the second then finds the user of the first.
    made = {"email": invitation.email, "name": invitation.name, "locale": invitation.locale, "created_at": now}
    session.execute(postgresql.insert(User).values(made).on_conflict_do_nothing(index_elements=[User.email]))
    query = sa.select(User).where(User.email == invitation.email).with_for_update()
    user = session.scalars(query.execution_options(populate_existing=True)).one()
    if user.disabled_at is not None:
        raise NotFound
    if is_being_erased(session, user.id):
        raise BeingErased
    is_new = user.password_hash is None
    if is_new:
        if password is None:
            raise PasswordMissing
        reset_password(session, user, password, now)
    user.email_confirmed_at = user.email_confirmed_at or now
    membership = session.get(Membership, (user.id, invitation.account_id))
    rises = invitation.role is Role.ADMINISTRATOR and membership is not None and membership.role != invitation.role
    if membership is None or rises:
        session.merge(Membership(user_id=user.id, account_id=invitation.account_id, role=invitation.role))
        session.add(
            AuditEntry(
                account_id=invitation.account_id,
                user_id=user.id,
                deed=AuditEvent.USER_JOINED,
                facts={"role": str(invitation.role)},
                at=now,
            )
        )
    session.delete(invitation)
    # The caller signs the person in, and then reads the role from the database.
    session.flush()
    return user, is_new
