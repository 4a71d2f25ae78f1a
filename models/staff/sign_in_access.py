"""Decisions of the carrier, at its console, who can sign in: first logins, and people who are shut out or let in.

New people get a mail with a link, by which they set their first password. Everything is in the audit log as done by the
carrier, without the name of a member of staff.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.emails import stored_spellings
from models.errors import AlreadyUser, BeingErased, Forbidden, HasAdministrator, InvalidField, NotFound
from models.messages.outbox import Recipient, queue_message, was_queued
from models.people.api_tokens import ApiToken
from models.people.audit_log import AuditEvent, record_of_carrier
from models.people.erasure_requests import is_being_erased
from models.people.invitations import Invitation
from models.people.login_changes import note_change
from models.people.login_sessions import end_logins
from models.people.password_links import FIRST_VALID_FOR, first_password_link
from models.people.rights import Role
from models.people.users import Membership, User, administrators_of
from models.proofs.proofs import LinkCode
from models.states import AccountState

_MAIL = "login_created"


@dataclass(frozen=True, slots=True)
class Access:
    """A person who was given access to an account, and what was done for it.

    `is_new`: their login was created. `is_added`: their login was created, or they got a role that they did not have.
    """

    user: User
    is_new: bool
    is_added: bool


def user_by_email(session: Session, email: str) -> User | None:
    """Return the user who signs in with this address, in any of its spellings; None if nobody does."""
    return session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))))


def create_staff(session: Session, to: Recipient, now: datetime) -> Access:
    """Create the login of one of the carrier's staff. Safe to run twice.

    Raises `AlreadyUser` if a customer signs in with the address, because staff need an address of their own. Raises
    `BeingErased` if the person with the address is to be erased.
    """
    access = _user(session, to, now, is_staff=True)
    if not access.user.is_staff:
        raise AlreadyUser
    if access.is_new:
        record_of_carrier(session, None, AuditEvent.LOGIN_CREATED, now, {"user_id": access.user.id})
    return access


def add_first_administrator(session: Session, account: Account, to: Recipient, now: datetime) -> Access:
    """Make a person the administrator of an account that has none; create their login if they have none.

    Safe to run twice: nothing changes if the person is already the administrator. Raises `NotFound` unless the account
    is active, `HasAdministrator` if another person is administrator, `Forbidden` if the address is that of one of the
    carrier's staff, and `BeingErased` if the person with the address is to be erased.
    """
    lock_account(session, account)
    if account.state is not AccountState.ACTIVE:
        raise NotFound
    present = administrators_of(session, account.id)
    if present and present[0].email not in stored_spellings(to.address):
        raise HasAdministrator(present[0].email)
    access = _user(session, to, now, is_staff=False)
    if access.user.is_staff:
        raise Forbidden
    if present:
        return access
    session.merge(Membership(user_id=access.user.id, account_id=account.id, role=Role.ADMINISTRATOR))
    session.flush()
    facts = {"user_id": access.user.id, "role": str(Role.ADMINISTRATOR)}
    record_of_carrier(session, account, AuditEvent.ADMINISTRATOR_ADDED, now, facts)
    return Access(access.user, access.is_new, is_added=True)


def enter_user(session: Session, account: Account, to: Recipient, role: Role, now: datetime) -> Access:
    """Give a person a role in an account that is taken over from another system, and record it in the audit log.

    Creates the person's login if there is none; an existing one keeps its name and language. Safe to run twice: nothing
    changes if the person already has the role. Raises `InvalidField` for the field `customer_number` with the code
    `account_closed` unless the account is active, and for `role` with `other_role` if the person has another role in
    the account. Raises it for `email` with `staff`, `being_erased` or `disabled` if the login is one of the carrier's
    staff, is to be erased, or is disabled.
    """
    lock_account(session, account)
    if account.state is not AccountState.ACTIVE:
        raise InvalidField("customer_number", "account_closed")
    try:
        access = _user(session, to, now, is_staff=False)
    except BeingErased as error:
        raise InvalidField("email", "being_erased") from error
    if access.user.is_staff:
        raise InvalidField("email", "staff")
    if access.user.disabled_at is not None:
        raise InvalidField("email", "disabled")
    present = session.get(Membership, (access.user.id, account.id))
    if present is not None:
        if present.role is not role:
            raise InvalidField("role", "other_role")
        return access
    session.add(Membership(user_id=access.user.id, account_id=account.id, role=role))
    session.flush()
    facts = {"user_id": access.user.id, "role": str(role)}
    record_of_carrier(session, account, AuditEvent.USER_ENTERED, now, facts)
    return Access(access.user, access.is_new, is_added=True)


def tell_first_login(session: Session, user: User, account: Account, role: Role, now: datetime) -> bool:
    """Mail a person taken over from another system a link to set the first password; return False if no mail is sent.

    `role` is the person's role in `account`, one of their accounts. People who have a password or are disabled get no
    mail. Nobody gets a second mail, however often and for however many accounts this is called.
    """
    to, occasion = Recipient(user.name, user.email, user.locale), f"{user.id}/taken over"
    if user.password_hash is not None or user.disabled_at is not None or was_queued(session, _MAIL, occasion, to):
        return False
    mail_access(session, user, account, now, role=role, occasion=occasion)
    session.flush()
    return True


def tell_first_administrators(session: Session, accounts: Mapping[str, str], now: datetime) -> int:
    """Mail administrators taken over from another system a link to set the first password; return how many get one.

    `accounts` has the administrator's address by the account's customer number. A person who is no administrator of
    that account gets no mail, nor does anybody to whom `tell_first_login` sends none.
    """
    query = (
        sa.select(User, Account)
        .join(Membership, Membership.user_id == User.id)
        .join(Account, Account.id == Membership.account_id)
        .where(
            Account.customer_number.in_(accounts),
            Account.state == AccountState.ACTIVE,
            Membership.role == Role.ADMINISTRATOR,
            User.password_hash.is_(None),
        )
        .order_by(Account.id, User.id)
    )
    return sum(
        tell_first_login(session, user, account, Role.ADMINISTRATOR, now)
        for user, account in session.execute(query).all()
        if user.email in stored_spellings(accounts[account.customer_number])
    )


def mail_access(
    session: Session,
    user: User,
    account: Account | None,
    now: datetime,
    *,
    role: Role = Role.ADMINISTRATOR,
    occasion: str = "",
) -> None:
    """Tell a person by mail that they can sign in, with a link to set the first password unless they have one.

    `account` is the account in which they have `role` now, None for the carrier's staff. `occasion` is a text that
    distinguishes this mail from earlier ones to the same address; if it is empty, one is made from the time.
    """
    is_first = user.password_hash is None
    path, words = first_password_link(user, now)
    facts = {
        "path": path if is_first else "/anmelden",
        "email": user.email,
        "until": (now + FIRST_VALID_FOR).isoformat() if is_first else "",
        "customer_number": account.customer_number if account is not None else "",
        "account_name": account.name if account is not None else "",
        "role": str(role),
    }
    to = Recipient(user.name, user.email, user.locale)
    occasion = occasion or f"{user.id}/{now.isoformat()}"
    queue_message(session, None, _MAIL, to, facts, now, occasion=occasion, proof=words if is_first else None)


def disable(session: Session, user: User, now: datetime) -> bool:
    """Shut a person out: they cannot sign in, and get no new password. Return False if they are already shut out.

    All their logins and API tokens end, and so do the invitations that they have sent, except those that an order has
    caused. The links and codes that were mailed to them are void for good, invitations included, and so are the link
    codes that they have made. Their roles stay for the time when they are let in again; until then they do not count as
    administrator anywhere. The person is told by mail.
    """
    session.refresh(user, with_for_update={"key_share": True})
    if user.disabled_at is not None:
        return False
    user.disabled_at = user.links_void_at = now
    session.flush()
    end_logins(session, user.id)
    tokens = sa.update(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
    session.execute(tokens.values(revoked_at=now))
    # Otherwise they could come back by an invitation to another address of their own.
    sent = sa.and_(Invitation.invited_by == user.id, ~Invitation.by_order)
    session.execute(sa.delete(Invitation).where(sent | Invitation.email.in_(stored_spellings(user.email))))
    codes = sa.update(LinkCode).where(LinkCode.created_by == user.id, LinkCode.ended_at.is_(None))
    session.execute(codes.values(ended_at=now))
    note_change(session, user, AuditEvent.LOGIN_DISABLED, None, now)
    return True


def enable(session: Session, user: User, now: datetime) -> bool:
    """Let a person in again whom `disable` has shut out, with their former roles, password and second factors.

    API tokens, invitations, link codes and mailed links do not come back. Returns False if the person is not shut out.
    The person is told by mail.
    """
    session.refresh(user, with_for_update={"key_share": True})
    if user.disabled_at is None:
        return False
    user.disabled_at = None
    session.flush()
    note_change(session, user, AuditEvent.LOGIN_ENABLED, None, now)
    return True


def _user(session: Session, to: Recipient, now: datetime, *, is_staff: bool) -> Access:
    """Return the person with the address; if there is none, create them, as one of the carrier's staff if `is_staff`.

    Raises `BeingErased` if the person is to be erased.
    """
    found = user_by_email(session, to.address)
    if found is None:
        found = User(name=to.name, email=to.address, locale=to.locale, is_staff=is_staff, created_at=now)
        session.add(found)
        session.flush()
        return Access(found, is_new=True, is_added=True)
    if is_being_erased(session, found.id):
        raise BeingErased
    return Access(found, is_new=False, is_added=False)
