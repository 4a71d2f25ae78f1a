"""The users of an account: administrators invite people by mail, change their roles and remove users.

An invitation gives no rights. The rights begin when a person who can read mail to the invited address accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base, enumeration
from models.errors import AlreadyUser, Forbidden, LastAdministrator, NotFound, PasswordMissing, TooManyInvitations
from models.messages.outbox import Recipient, queue_message
from models.people.audit_log import AuditEntry, AuditEvent, record
from models.people.logins import reset_password
from models.people.rights import Action, Principal, Role, may
from models.people.users import Membership, User, roles_of
from models.values import Locale, end_of_day
from models.vault import Vault

INVITATION_VALID_FOR = timedelta(days=7)
"""How long an invitation can be accepted, to the end of the last day."""
OPEN_PER_ACCOUNT = 50
OPEN_PER_INVITER = 100
"""The maximum number of unexpired invitations by one person, so that nobody can use the portal to send mass mail."""
LISTED_FOR = timedelta(days=30)
"""The time for which an expired invitation stays on the list, where it can be renewed."""


class Invitation(Base):
    """An invitation that was not accepted yet. `issue` counts its mails; the link of a new mail voids the old link."""

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"))
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(enumeration(Role, "role"))
    locale: Mapped[Locale] = mapped_column(sa.Text)
    invited_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    issue: Mapped[int] = mapped_column(default=1)
    invited_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint("account_id", "email"),
        sa.CheckConstraint("email = lower(email)", name="email_lower"),
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the invitation expired at least `LISTED_FOR` (30 days) ago and was not renewed."""
        return cls.expires_at <= now - LISTED_FOR

    def words(self) -> list[str]:
        """Return the words from which the token of the invitation's link is derived."""
        return ["invitation", str(self.id), str(self.issue), self.email]


def users_of(session: Session, account: Account) -> list[tuple[User, Role]]:
    """Return every user with a role in the account, each with that role, sorted by the users' names."""
    query = sa.select(User, Membership.role).join(Membership, Membership.user_id == User.id)
    rows = session.execute(query.where(Membership.account_id == account.id).order_by(User.name, User.id))
    return [(user, role) for user, role in rows]


def invitations_of(session: Session, account: Account) -> Sequence[Invitation]:
    """Return the account's invitations that were not accepted yet, sorted by name."""
    query = sa.select(Invitation).where(Invitation.account_id == account.id)
    return session.scalars(query.order_by(Invitation.name, Invitation.id)).all()


def managed_accounts(session: Session, person: Principal) -> list[Account]:
    """Return the accounts whose users the person may manage, sorted by account id."""
    accounts = session.scalars(sa.select(Account).where(Account.id.in_(person.roles)).order_by(Account.id))
    return [account for account in accounts if may(person, Action.MANAGE_USERS, account)]


def invite(
    session: Session, person: Principal, account: Account, to: Recipient, role: Role, now: datetime
) -> Invitation:
    """Invite a person to the account by mail, or renew the invitation that the address already has.

    A renewed invitation gets a new link, and its old link becomes invalid. Raises `Forbidden` if the inviting person
    may not manage the account's users, `AlreadyUser` if the invited address has a role in the account, and
    `TooManyInvitations` if the account (50) or the inviting person (100) has the maximum of unexpired invitations.
    """
    _lock(session, person, account)
    email = to.address.strip().lower()
    query = sa.select(Membership).join(User, User.id == Membership.user_id)
    if session.scalar(query.where(Membership.account_id == account.id, User.email == email)) is not None:
        raise AlreadyUser
    found = session.scalar(
        sa.select(Invitation).where(Invitation.account_id == account.id, Invitation.email == email).with_for_update()
    )
    _ensure_few_are_open(session, person, account, found, now)
    if found is None:
        found = Invitation(account_id=account.id, email=email, issue=0)
        session.add(found)
    found.name, found.role, found.locale, found.invited_by = to.name, role, to.locale, person.user_id
    found.issue, found.invited_at, found.expires_at = found.issue + 1, now, end_of_day(now + INVITATION_VALID_FOR)
    session.flush()
    facts = {
        "path": f"/einladung/{found.id}/",
        "inviter": person.name,
        "account_name": account.name,
        "customer_number": account.customer_number,
        "role": str(role),
        "until": found.expires_at.isoformat(),
    }
    occasion = f"{found.id}/{found.issue}"
    recipient = Recipient(to.name, email, to.locale)
    queue_message(session, None, "invitation", recipient, facts, now, occasion=occasion, proof=found.words())
    about = {"name": to.name, "role": str(role)}
    record(session, person, account, AuditEvent.USER_INVITED, Action.MANAGE_USERS, now, about)
    return found


def withdraw(session: Session, person: Principal, account: Account, invitation_id: int, now: datetime) -> None:
    """Delete an invitation to the account, so that its link becomes invalid; do nothing if there is no such invitation.

    Safe to run twice. Raises `Forbidden` if the person may not manage the account's users.
    """
    _lock(session, person, account)
    found = session.get(Invitation, invitation_id)
    if found is not None and found.account_id == account.id:
        session.delete(found)
        about = {"name": found.name, "role": str(found.role)}
        record(session, person, account, AuditEvent.INVITATION_WITHDRAWN, Action.MANAGE_USERS, now, about)


def find_invitation(
    session: Session, vault: Vault, id: int, token: str, now: datetime, *, lock: bool = False
) -> Invitation:
    """Return the invitation whose link contains this id and this token.

    `lock` locks the invitation's account, and then its row, until the transaction ends. Raises `NotFound` if there is
    no such invitation, the token is wrong, or the invitation has expired.
    """
    if lock:
        account = sa.select(Invitation.account_id).where(Invitation.id == id).scalar_subquery()
        session.execute(sa.select(Account.id).where(Account.id == account).with_for_update(key_share=True))
    found = session.get(Invitation, id, with_for_update=lock or None)
    if found is None or not vault.is_token(token, *found.words()) or now >= found.expires_at:
        raise NotFound
    return found


def invited_user(session: Session, invitation: Invitation) -> User | None:
    """Return the user with the invited e-mail address; None if there is none, or the user has no password yet."""
    return session.scalar(sa.select(User).where(User.email == invitation.email, User.password_hash.is_not(None)))


def accept(session: Session, invitation: Invitation, password: str | None, now: datetime) -> tuple[User, bool]:
    """Give the invited person the offered role and delete the invitation; create the person's user if there is none.

    Returns the user, and whether `password` was set as the user's password: an existing password stays. Raises
    `PasswordMissing` if the user has no password and `password` is None.
    """
    # Invitations to two accounts may be accepted at the same time: the second then finds the user of the first.
    made = {"email": invitation.email, "name": invitation.name, "locale": invitation.locale, "created_at": now}
    session.execute(postgresql.insert(User).values(made).on_conflict_do_nothing(index_elements=[User.email]))
    query = sa.select(User).where(User.email == invitation.email).with_for_update()
    user = session.scalars(query.execution_options(populate_existing=True)).one()
    is_new = user.password_hash is None
    if is_new:
        if password is None:
            raise PasswordMissing
        reset_password(session, user, password, now)
    user.email_confirmed_at = user.email_confirmed_at or now
    if session.get(Membership, (user.id, invitation.account_id)) is None:
        session.add(Membership(user_id=user.id, account_id=invitation.account_id, role=invitation.role))
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
    session.flush()
    return user, is_new


def change_role(session: Session, person: Principal, account: Account, user_id: int, role: Role, now: datetime) -> None:
    """Change a user's role in the account.

    Unless the new role is administrator, deletes the open invitations to this account that the user has sent.
    Raises `Forbidden` if `person` may not manage the account's users, `NotFound` if no user of the account has the id
    `user_id`, and `LastAdministrator` if the user is the account's only administrator and `role` is another role.
    """
    membership = _membership(session, person, account, user_id)
    if role is not Role.ADMINISTRATOR:
        _keep_an_administrator(session, membership)
        _void_what_they_sent(session, membership)
    if role is not membership.role:
        _record(
            session, person, account, AuditEvent.ROLE_CHANGED, membership, now, before=str(membership.role), role=role
        )
    membership.role = role


def remove_user(session: Session, person: Principal, account: Account, user_id: int, now: datetime) -> None:
    """Remove a user from the account, and delete the invitations to the account that the user has sent.

    Raises `Forbidden` if `person` may not manage the account's users, `NotFound` if no user of the account has the id
    `user_id`, and `LastAdministrator` if the user is the account's only administrator.
    """
    membership = _membership(session, person, account, user_id)
    _keep_an_administrator(session, membership)
    _void_what_they_sent(session, membership)
    session.delete(membership)
    _record(session, person, account, AuditEvent.USER_REMOVED, membership, now, role=str(membership.role))


def _record(
    session: Session,
    person: Principal,
    account: Account,
    deed: AuditEvent,
    about: Membership,
    now: datetime,
    **facts: str,
) -> None:
    name = session.get_one(User, about.user_id).name
    record(session, person, account, deed, Action.MANAGE_USERS, now, {"name": name, **facts})


def _membership(session: Session, person: Principal, account: Account, user_id: int) -> Membership:
    _lock(session, person, account)
    found = session.get(Membership, (user_id, account.id), populate_existing=True)
    if found is None:
        raise NotFound
    return found


def _lock(session: Session, person: Principal, account: Account) -> None:
    """Lock the account against parallel changes of its users; raise `Forbidden` if the person may not manage them.

    Without the lock, two administrators who remove each other at the same time would leave no administrator.
    """
    session.execute(sa.select(Account.id).where(Account.id == account.id).with_for_update(key_share=True))
    # Read the role again after the wait for the lock: the other transaction may have removed it.
    if not may(replace(person, roles=roles_of(session, person.user_id)), Action.MANAGE_USERS, account):
        raise Forbidden


def _ensure_few_are_open(
    session: Session, person: Principal, account: Account, renewed: Invitation | None, now: datetime
) -> None:
    # Lock the inviting person, too, so that two invitations to different accounts are not counted at the same time.
    session.execute(sa.select(User.id).where(User.id == person.user_id).with_for_update(key_share=True))
    others = sa.select(sa.func.count()).select_from(Invitation).where(Invitation.expires_at > now)
    if renewed is not None:
        others = others.where(Invitation.id != renewed.id)
    if session.scalars(others.where(Invitation.account_id == account.id)).one() >= OPEN_PER_ACCOUNT:
        raise TooManyInvitations(OPEN_PER_ACCOUNT)
    if session.scalars(others.where(Invitation.invited_by == person.user_id)).one() >= OPEN_PER_INVITER:
        raise TooManyInvitations(OPEN_PER_INVITER)


def _keep_an_administrator(session: Session, membership: Membership) -> None:
    others = sa.select(sa.func.count()).where(
        Membership.account_id == membership.account_id,
        Membership.role == Role.ADMINISTRATOR,
        Membership.user_id != membership.user_id,
    )
    if membership.role is Role.ADMINISTRATOR and not session.scalar(others):
        raise LastAdministrator


def _void_what_they_sent(session: Session, membership: Membership) -> None:
    """Delete the invitations to the account that the member has sent.

    Otherwise a former administrator could come back by an invitation to another address of their own.
    """
    sent = Invitation.account_id == membership.account_id, Invitation.invited_by == membership.user_id
    session.execute(sa.delete(Invitation).where(*sent))
