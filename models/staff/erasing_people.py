"""Erasing of a user's personal data (GDPR, Art. 17): access ends at once, and a job later removes name and address.

Rows that contracts, business letters and the audit log need are kept, and refer to the user by id. The web front end
may not change names or addresses: it only records the request (`Erasure`), and the job `erasures` does the rest.
Entries of the audit log cannot be changed, but they contain only the user's id, so it is enough to remove the name from
the user's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.errors import Forbidden, LastAdministrator
from models.messages.outbox import Message, MessageState, Recipient, queue_message
from models.orders.drafts import Draft
from models.people.erasure_requests import Erasure
from models.people.invitations import Invitation
from models.people.invited_people import InvitedPerson
from models.people.login_sessions import Login, end_logins
from models.people.members import leave
from models.people.second_factors import RecoveryCode, SecondFactor
from models.people.users import Membership, User, administrators_of, roles_of
from models.requests.idempotency import IdempotencyKey
from models.requests.requests import Request
from models.staff.factor_resets import FactorReset
from models.states import AccountState

BUSINESS_LETTERS = (
    "order_receipt", "bulk_receipt", "link_receipt", "order_completed", "order_completed_contact", "bulk_ended",
    "change_receipt", "change_completed", "numbers_receipt", "numbers_completed", "move_receipt", "move_completed",
    "cancellation_receipt", "cancellation_taken_back", "cancellation_completed", "contract_renews",
    "link_completed", "link_completed_owner", "link_ended_owner", "main_consent_ended",
    "switch_completed_owner", "switch_completed_former", "detach_completed", "detach_completed_owner",
    "detach_planned", "detach_taken_back", "invoice_declined", "invoice_joined", "invoice_left", "invoice_offered",
    "request_ended", "request_held", "address_letter", "certificate_refused", "document_refused",
    "high_risk_allowed", "numbers_released",
)  # fmt: skip
"""Templates of the mails that are kept unchanged for six years (§ 257 HGB): they confirm, refuse or end agreements."""
NAMING = (
    "invitation", "administrator_named", "api_token_created", "api_token_expires", "secret_renewed",
    "approval_asked_file",
)  # fmt: skip
"""Templates of mails to other people that may name the user who has done something.

These mails are about no request and are no business letters.
"""
ERASED_NAME = "Gelöschte Person"
"""The text that replaces the name of an erased person."""


def only_administrator_of(session: Session, user: User) -> list[Account]:
    """Return the accounts of which the user is the only administrator, sorted by id; closed accounts are left out.

    Before the user can be erased, each of them must get another administrator or be closed.
    """
    mine = sa.select(Account).join(Membership, Membership.account_id == Account.id).where(Membership.user_id == user.id)
    accounts = session.scalars(mine.where(Account.state != AccountState.CLOSED).order_by(Account.id))
    return [account for account in accounts if administrators_of(session, account.id) == [user]]


def ask_for_erasure(session: Session, user: User, now: datetime) -> None:
    """End the user's access everywhere, and record that their personal data is to be erased. Safe to run twice.

    Locks the user's accounts, then the user. The user's roles, logins, password, API tokens and unsent orders end at
    once, each account's audit log says that the user has left, and a last mail is queued to the user. Raises
    `LastAdministrator` if an account would be left without an administrator. Raises `Forbidden` if the user is one of
    the carrier's staff, who cannot be erased in this way.
    """
    if user.is_staff:
        raise Forbidden
    accounts = _lock_with_accounts(session, user)
    for account in accounts:
        if account.state is not AccountState.CLOSED and administrators_of(session, account.id) == [user]:
            raise LastAdministrator
    # By roles and logins the database knows who asks, and shows the front what is theirs: they go last.
    session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.user_id == user.id))
    session.execute(sa.delete(Draft).where(Draft.user_id == user.id, Draft.request_id.is_(None)))
    user.password_hash, user.email_confirmed_at = None, None
    if session.get(Erasure, user.id) is None:
        session.add(Erasure(user_id=user.id, asked_at=now))
        # The job waits until this has left; then the address is gone.
        facts = {"email": user.email, "at": now.isoformat(), "path": "/anmelden"}
        to = Recipient(user.name, user.email, user.locale)
        queue_message(session, None, "login_erased", to, facts, now, occasion=f"{user.id} {now.isoformat()}")
    session.flush()
    for account in accounts:
        leave(session, user, account, now)
    end_logins(session, user.id)


def _lock_with_accounts(session: Session, user: User) -> Sequence[Account]:
    """Lock the accounts in which the user has a role, and then the user; return these accounts, sorted by id.

    Until the transaction ends, nobody can give the user a role or take one away: accepting an invitation takes the
    locks in the same order. The locks also prevent the last two administrators of an account from leaving it at the
    same time.
    """
    mine = sa.select(Account).join(Membership, Membership.account_id == Account.id).where(Membership.user_id == user.id)
    while True:
        with session.begin_nested() as attempt:
            accounts = session.scalars(mine.order_by(Account.id)).all()
            for account in accounts:
                lock_account(session, account)
            # No stronger: an order of the same person may hold a draft and refer to the person.
            session.refresh(user, with_for_update={"key_share": True})
            if session.scalars(mine.order_by(Account.id)).all() == accounts:
                return accounts
            # An invitation was accepted meanwhile: its account has to be locked before the user.
            attempt.rollback()


def open_erasures(session: Session) -> Sequence[tuple[Erasure, User]]:
    """Lock and return the erasures that are not carried out yet, each with the user to erase.

    Skips erasures that another transaction has locked.
    """
    query = sa.select(Erasure, User).join(User, User.id == Erasure.user_id).where(Erasure.done_at.is_(None))
    rows = session.execute(query.order_by(Erasure.user_id).with_for_update(skip_locked=True, of=Erasure))
    return [(erasure, user) for erasure, user in rows]


def erase(session: Session, erasure: Erasure, user: User, now: datetime) -> bool:
    """Remove the user's name and e-mail address, and return True; return False if that is not possible yet.

    It is not possible while a mail to the user, or a mail to others with the user's name, is still queued, or if the
    user has a role again. Sent mails to the user lose recipient and content unless they are business letters; sent
    mails to others that name the user lose their content. Logins, second factors, and invitations to the address from
    before the erasure was requested are deleted. Locks the user's row.
    """
    # Accepting an invitation locks the user, too.
    session.refresh(user, with_for_update=True)
    if roles_of(session, user.id):
        return False
    address = user.email
    theirs, named = Message.recipient_address == address, _names_in_mails_of_others(user)
    has_left = Message.state != MessageState.QUEUED
    nobody = f"erased-{user.id}@erased.invalid"
    scrubbed: dict[str, Any] = {"recipient_name": "", "recipient_address": nobody, "facts": {}, "proof": None}
    gone = sa.update(Message).where(theirs, has_left, Message.template.not_in(BUSINESS_LETTERS)).values(scrubbed)
    silent = sa.update(Message).where(named, has_left).values(facts={})
    for change in (gone, silent):
        session.execute(change.execution_options(synchronize_session=False))
    # After the changes, which leave out what another transaction queues meanwhile.
    if session.scalar(sa.select(sa.exists().where(theirs | named, ~has_left))):
        return False
    before = InvitedPerson.invited_at <= erasure.asked_at
    session.execute(sa.delete(InvitedPerson).where(InvitedPerson.email == address, before))
    session.execute(sa.delete(Invitation).where(Invitation.email == address, Invitation.invited_at <= erasure.asked_at))
    for table in (Login, SecondFactor, RecoveryCode, FactorReset):
        session.execute(sa.delete(table).where(table.user_id == user.id))
    user.name, user.email, user.password_hash, user.email_confirmed_at = ERASED_NAME, nobody, None, None
    erasure.done_at = now
    return True


def _names_in_mails_of_others(user: User) -> sa.ColumnElement[bool]:
    """Return an SQL condition on `Message`: a mail to others, no business letter, that contains the user's name.

    Mails about another person with the same name may match. That does no harm: a sent mail's content is not needed.
    """
    fact = sa.func.jsonb_each_text(Message.facts).table_valued("key", "value")
    asked = sa.select(Request.id).where(sa.or_(Request.requested_by == user.id, Request.approval_by == user.id))
    about = (Message.request_id.is_(None) & Message.template.in_(NAMING)) | (
        Message.request_id.in_(asked) & Message.template.not_in(BUSINESS_LETTERS)
    )
    return about & sa.exists().select_from(fact).where(fact.c.value == user.name)
