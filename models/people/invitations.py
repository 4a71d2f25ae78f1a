"""Invitations by mail to become a user of an account.

An invitation gives no rights before it is accepted, which only a person who can read mail to the invited address can
do. People of a main account may also invite users to its sub-accounts. An order may name the first user of the new
account, who is then invited.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import retention
from models.accounts.accounts import Account
from models.accounts.company_limits import USUAL_LIMITS, Limit, Limits, lock_limits, take_one
from models.accounts.locks import lock_account
from models.calendar_days import end_of_day
from models.db.base import Base, enumeration
from models.emails import stored_spellings
from models.errors import (
    AlreadyInvited,
    AlreadyUser,
    Forbidden,
    NotFound,
    RuleBroken,
    SeveralAdministrators,
    TooManyInvitations,
)
from models.messages.outbox import Recipient, queue_message
from models.people.audit_log import AuditEvent, record
from models.people.invited_people import note_name
from models.people.rights import (
    Action,
    Principal,
    Role,
    counting_account,
    handles_invitation,
    invitable_roles,
    may,
    through_main,
)
from models.people.users import Membership, User, administrators_of, people_of_main, roles_of
from models.states import Reason
from models.values import Locale
from models.vault import new_salt

INVITATION_VALID_FOR = timedelta(days=7)
"""The time for which an invitation can be accepted, to the end of the last day."""

OPEN_PER_ACCOUNT = 50

OPEN_PER_INVITER = 100
"""The most unexpired invitations by one person, so that nobody can use the portal to send mass mail."""


class Invitation(Base):
    """An invitation to an account that was not accepted yet; it can be accepted until `expires_at`.

    `issue` counts the mails sent; the link in a new mail makes the older link invalid. `invited_by` is the user in
    whose name the mail was sent. `by_order` is true if an order named the invited person. Such an invitation belongs to
    the ordering company, so it stays when the user who ordered loses their role.
    """

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
    by_order: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    salt: Mapped[str | None] = mapped_column(default=new_salt)
    """A random value that goes into every link, so that the vault's key alone gives none; None in older rows."""

    __table_args__ = (
        sa.UniqueConstraint("account_id", "email"),
        sa.CheckConstraint("email = lower(email)", name="email_lower"),
        sa.CheckConstraint("locale IN ('de', 'en')", name="locale"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the invitation expired at least `retention.INVITATIONS` (30 days) ago."""
        return cls.expires_at <= now - retention.INVITATIONS

    def words(self) -> list[str]:
        """Return the texts from which the vault derives the secret token in the invitation's link."""
        words = ["invitation", str(self.id), str(self.issue), self.email]
        return words if self.salt is None else [*words, self.salt]


def invitations_of(session: Session, account: Account) -> Sequence[Invitation]:
    """Return the account's invitations that were not accepted yet, also expired ones, sorted by the invited name."""
    query = sa.select(Invitation).where(Invitation.account_id == account.id)
    return session.scalars(query.order_by(Invitation.name, Invitation.id)).all()


def roles_to_offer(session: Session, person: Principal, account: Account) -> list[Role]:
    """Return the roles that the person may offer in an invitation to the account; none if they may not invite.

    A person who may invite only through the main account may offer the role of administrator only if the main account
    has ordered the account, or if the account has no administrator.
    """
    return invitable_roles(person, account, has_administrator=bool(administrators_of(session, account.id)))


def invite(
    session: Session,
    person: Principal,
    account: Account,
    to: Recipient,
    role: Role,
    now: datetime,
    usual: Limits = USUAL_LIMITS,
) -> Invitation:
    """Invite a person to the account by mail, and record this in the account's audit log.

    If the address has an invitation to the account already, that one is renewed with a new link, and the old link
    becomes invalid. A user of the account who is no administrator can be invited to that role, but only by somebody who
    cannot change roles. Locks the daily limits of the company and then the account, until the transaction ends. `usual`
    are the limits of companies that have none of their own.

    Raises `Forbidden` if the inviting person may not offer the role. Raises `AlreadyUser` if the invited address
    already has a role in the account and cannot be invited to become administrator. Raises `AlreadyInvited` if the
    address has an unexpired invitation by the local team or the carrier and the inviting person may invite only through
    the main account. Raises `TooManyInvitations` if the account has 50 or the inviting person 100 unexpired
    invitations, those of orders not counted. Raises `LimitReached` if the company has sent its maximum for today,
    withdrawn invitations included.
    """
    company = counting_account(person, account)
    # Before the account, as orders lock: first the company's limits.
    lock_limits(session, company)
    person = lock_users(session, person, account, Action.INVITE_USERS)
    if role not in roles_to_offer(session, person, account):
        raise Forbidden
    _ensure_not_user(session, person, account, to, role)
    found = _found(session, account, to)
    if found is not None and now < found.expires_at and not handled_by(session, person, account, [found]):
        raise AlreadyInvited
    _ensure_few_are_open(session, person, account, found, now)
    take_one(session, company, Limit.INVITATIONS, now, usual)
    return _send(session, person, account, to, role, now)


def invite_by_order(
    session: Session, person: Principal, account: Account, to: Recipient, now: datetime, bulk_id: uuid.UUID | None
) -> None:
    """Invite the person named in an order as an administrator of the new account, in the name of `person`, who ordered.

    The caller must have locked the account. The number of such invitations is not limited, because each belongs to an
    order that was verified and costs money. `bulk_id` is the bulk (an uploaded file of orders) to which the order
    belongs, or None.
    """
    _send(session, person, account, to, Role.ADMINISTRATOR, now, by_order=True, bulk_id=bulk_id)


def invite_for_carrier(
    session: Session, staff: Principal, account: Account, to: Recipient, evidence: str, now: datetime
) -> Invitation:
    """Invite a person as an administrator of the account on behalf of the carrier, if it has at most one administrator.

    Locks the account and records the invitation in its audit log, with `evidence`: what proved to the member of staff
    that the person may administer the account. Raises `Forbidden` if `staff` is not one of the carrier's staff,
    `SeveralAdministrators` if the account has more than one administrator, and `AlreadyUser` if the person is the one
    administrator.
    """
    staff = lock_users(session, staff, account, Action.OPERATE)
    if len(administrators_of(session, account.id)) > 1:
        raise SeveralAdministrators
    _ensure_not_user(session, staff, account, to, Role.ADMINISTRATOR)
    return _send(session, staff, account, to, Role.ADMINISTRATOR, now, evidence=evidence)


def renew(
    session: Session,
    person: Principal,
    account: Account,
    invitation_id: int,
    now: datetime,
    usual: Limits = USUAL_LIMITS,
) -> Invitation:
    """Send an invitation to the account again, with a new link; its old link becomes invalid.

    Counts as a new invitation for the limits; `usual` are those of companies that have none of their own. Raises
    `NotFound` if the account has no such invitation, or if the local team or the carrier has sent it and the person may
    invite only through the main account. Raises `Forbidden` if the person may not offer the invitation's role, and
    `AlreadyUser` if the invited person has a role in the account by now and cannot be invited to become administrator.
    Raises `TooManyInvitations` if the account or the person has too many unexpired invitations, and `LimitReached` if
    the company has sent its maximum for today.
    """
    found = session.get(Invitation, invitation_id)
    if found is None or found.account_id != account.id or not handled_by(session, person, account, [found]):
        raise NotFound
    return invite(session, person, account, Recipient(found.name, found.email, found.locale), found.role, now, usual)


def withdraw(session: Session, person: Principal, account: Account, invitation_id: int, now: datetime) -> None:
    """Delete an invitation to the account, so that its link becomes invalid; do nothing if there is none.

    Locks the account and records the withdrawal in its audit log. Safe to run twice. Raises `Forbidden` if the person
    may not invite to the account, or if the local team or the carrier has sent the invitation and the person may invite
    only through the main account.
    """
    person = lock_users(session, person, account, Action.INVITE_USERS)
    found = session.get(Invitation, invitation_id)
    if found is not None and found.account_id == account.id:
        if not handled_by(session, person, account, [found]):
            raise Forbidden
        session.delete(found)
        # An invitation from before names were stored apart has none there yet.
        note_name(session, found.id, account.id, found.name, found.email, found.invited_at)
        about = {"invitation": found.id, "role": str(found.role)}
        record(session, person, account, AuditEvent.INVITATION_WITHDRAWN, Action.INVITE_USERS, now, about)


def handled_by(session: Session, person: Principal, account: Account, invitations: Sequence[Invitation]) -> set[int]:
    """Return the ids of those of the given invitations to the account that the person may send again or withdraw.

    A person who may invite only through the main account may do so only with invitations that an order caused or that
    people of the main account sent. Those of the local team or the carrier are left out.
    """
    above = people_of_main(session, account)
    return {
        invitation.id
        for invitation in invitations
        if handles_invitation(person, account, sent_from_main=invitation.by_order or invitation.invited_by in above)
    }


def ensure_administered(session: Session, account: Account, now: datetime) -> None:
    """Raise `RuleBroken` unless the account has an administrator of its own who can sign in.

    The error's reason is `INVITATION_OPEN` if there is an unexpired invitation to become administrator, otherwise
    `NO_ADMINISTRATOR`.
    """
    if administrators_of(session, account.id):
        return
    is_invited = open_administrator_invitation(session, account, now) is not None
    raise RuleBroken(Reason.INVITATION_OPEN if is_invited else Reason.NO_ADMINISTRATOR, account.customer_number)


def open_administrator_invitation(session: Session, account: Account, now: datetime) -> Invitation | None:
    """Return the unexpired invitation to become administrator of the account; None if there is none.

    If there are several, returns the one that expires last.
    """
    query = sa.select(Invitation).where(
        Invitation.account_id == account.id, Invitation.role == Role.ADMINISTRATOR, Invitation.expires_at > now
    )
    return session.scalar(query.order_by(Invitation.expires_at.desc(), Invitation.id.desc()).limit(1))


def void_foreign_invitations(session: Session, account: Account) -> None:
    """Delete the invitations to a detached account, except those that its own administrators or the carrier have sent.

    This prevents people of the former main account from giving others access to the account.
    """
    own = sa.select(Membership.user_id).where(
        Membership.account_id == account.id, Membership.role == Role.ADMINISTRATOR
    )
    carrier = sa.select(User.id).where(User.is_staff)
    sent = Invitation.account_id == account.id, Invitation.invited_by.not_in(own)
    session.execute(sa.delete(Invitation).where(*sent, Invitation.by_order | Invitation.invited_by.not_in(carrier)))


def _found(session: Session, account: Account, to: Recipient) -> Invitation | None:
    query = sa.select(Invitation).where(
        Invitation.account_id == account.id, Invitation.email.in_(stored_spellings(to.address))
    )
    return session.scalar(query.with_for_update())


def _email(to: Recipient) -> str:
    return to.address.strip().lower()


def _send(
    session: Session,
    person: Principal,
    account: Account,
    to: Recipient,
    role: Role,
    now: datetime,
    *,
    by_order: bool = False,
    evidence: str | None = None,
    bulk_id: uuid.UUID | None = None,
) -> Invitation:
    """Create or renew an invitation, queue its mail and record it in the account's audit log.

    `evidence` is what proved to the carrier's staff that the person may administer the account; None unless staff
    invite. `by_order`: an order named the invited person. `bulk_id` is the bulk (an uploaded file of orders) to which
    that order belongs, or None.
    """
    invited = {
        "name": to.name,
        "role": role,
        "locale": to.locale,
        "invited_by": person.user_id,
        "invited_at": now,
        "expires_at": end_of_day(now + INVITATION_VALID_FOR),
        "by_order": by_order,
    }
    # With one statement, and without writing the session's other changes: a batch of orders invites hundreds.
    new = postgresql.insert(Invitation).values(account_id=account.id, email=_email(to), issue=1, **invited)
    renewed = new.on_conflict_do_update(
        index_elements=[Invitation.account_id, Invitation.email], set_={**invited, "issue": Invitation.issue + 1}
    )
    found = session.scalars(renewed.returning(Invitation), execution_options={"populate_existing": True}).one()
    facts = {
        "path": f"/einladung/{found.id}/",
        "inviter": person.name,
        "by_carrier": evidence is not None,
        "account_name": account.name,
        "customer_number": account.customer_number,
        "role": str(role),
        "until": found.expires_at.isoformat(),
    }
    main_id = through_main(person, Action.INVITE_USERS, account)
    if main_id is not None:
        main = session.get_one(Account, main_id)
        facts |= {"main_account_name": main.name, "main_customer_number": main.customer_number}
    recipient = Recipient(to.name, found.email, to.locale)
    occasion = f"{found.id}/{found.issue}"
    queue_message(
        session,
        None,
        "invitation",
        recipient,
        facts,
        now,
        occasion=occasion,
        proof=found.words(),
        bulk_id=bulk_id,
    )
    right = Action.INVITE_USERS if evidence is None else Action.OPERATE
    # Not the name: an entry stays for ever, also if the person is erased.
    note_name(session, found.id, account.id, to.name, found.email, now)
    about = {"invitation": found.id, "role": str(role), **({"proof": evidence} if evidence is not None else {})}
    record(session, person, account, AuditEvent.USER_INVITED, right, now, about)
    return found


def _ensure_not_user(session: Session, person: Principal, account: Account, to: Recipient, role: Role) -> None:
    query = sa.select(Membership.role).join(User, User.id == Membership.user_id)
    known = session.scalar(
        query.where(Membership.account_id == account.id, User.email.in_(stored_spellings(to.address)))
    )
    if known is None:
        return
    # Nobody else may be there to change the role.
    rises = role is Role.ADMINISTRATOR is not known
    if not rises or may(person, Action.MANAGE_USERS, account):
        raise AlreadyUser


def lock_users(session: Session, person: Principal, account: Account, right: Action) -> Principal:
    """Lock the account against concurrent changes of its users, and return `person` with the roles as they are now.

    Raises `Forbidden` if the person does not have the right `right` in the account. Without the lock, two
    administrators who remove each other at the same time would leave the account without an administrator.
    """
    lock_account(session, account)
    # Read the roles again after the wait for the lock: the other transaction may have removed one.
    person = replace(person, roles=roles_of(session, person.user_id))
    if not may(person, right, account):
        raise Forbidden
    return person


def _ensure_few_are_open(
    session: Session, person: Principal, account: Account, renewed: Invitation | None, now: datetime
) -> None:
    # Lock the inviting person, too, so that two invitations to different accounts are not counted at the same time.
    session.execute(sa.select(User.id).where(User.id == person.user_id).with_for_update(key_share=True))
    others = sa.select(sa.func.count()).select_from(Invitation)
    others = others.where(Invitation.expires_at > now, ~Invitation.by_order)
    if renewed is not None:
        others = others.where(Invitation.id != renewed.id)
    if session.scalars(others.where(Invitation.account_id == account.id)).one() >= OPEN_PER_ACCOUNT:
        raise TooManyInvitations(OPEN_PER_ACCOUNT)
    if session.scalars(others.where(Invitation.invited_by == person.user_id)).one() >= OPEN_PER_INVITER:
        raise TooManyInvitations(OPEN_PER_INVITER)
