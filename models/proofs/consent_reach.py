"""Records which questions for consent reach no administrator, so that the back office can act.

A question for consent (`Consent`) asks the administrators of an account whether another customer may attach it. The
requester is not shown whether it reaches anybody.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Message, MessageState
from models.proofs.proofs import Consent
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, AccountRole, AccountState, Kind, Reason, Status

CONSENT_MAIL = "consent_asked"
"""The name of the mail that asks for consent."""


def note_reach(
    consent: Consent, account: Account | None, now: datetime, *, reaches: bool, kind: Kind = Kind.LINK
) -> None:
    """Record whether the question `consent`, whether `account` may be attached, reaches one of its administrators.

    If `reaches` is False, `unreached_since` is set, unless it is set already: the back office has to act. It is cleared
    if `reaches` is True, if `account` is None (the requester named an unknown number), or if a request of this kind
    could not attach the account anyway, because it is not in service, is a main account or, for a link, is a
    sub-account.
    """
    roles = {AccountRole.STANDALONE, AccountRole.SUB} if kind is Kind.SWITCH else {AccountRole.STANDALONE}
    attachable = account is not None and account.role in roles and account.state is AccountState.ACTIVE
    consent.unreached_since = None if reaches or not attachable else consent.unreached_since or now


def note_refused(session: Session, message: Message, now: datetime) -> None:
    """Record that a link request's question for consent reaches nobody, if mail servers have refused all its mails.

    The question asks an account's administrators whether the account may be attached. `message` is the mail refused
    just now, of template `CONSENT_MAIL`. Flushes the session.
    """
    session.flush()
    link = message.request_id
    query = sa.select(Message.id).where(
        Message.request_id == link, Message.template == CONSENT_MAIL, Message.state != MessageState.REFUSED
    )
    if session.scalar(query.limit(1)) is None:
        unanswered = Consent.request_id == link, Consent.decision.is_(None), Consent.unreached_since.is_(None)
        session.execute(sa.update(Consent).where(*unanswered).values(unreached_since=now))


def asked_addresses(session: Session, request: Request) -> set[str]:
    """Return the e-mail addresses to which the link request's question for consent was ever queued as a mail.

    Mails that are not sent yet or were refused by a mail server are included. Callers use this to ask each person only
    once, also those who become administrators of the account later.
    """
    query = sa.select(Message.recipient_address).where(
        Message.request_id == request.id, Message.template == CONSENT_MAIL
    )
    return set(session.scalars(query))


def end_cases(session: Session, account: Account) -> None:
    """Remove the questions whether the account may be attached from the back office's list of those that reach nobody.

    Call this when the back office has invited an administrator to the account. Answered questions stay as they are.
    """
    cases = sa.update(Consent).where(Consent.request_id.in_(sa.select(Request.id).where(*_open_questions(account))))
    session.execute(cases.values(unreached_since=None))


def forget_ended(session: Session) -> None:
    """Clear `unreached_since` of the unanswered questions for consent whose link request has ended.

    The back office need not act on them any more.
    """
    ended = sa.exists().where(Request.id == Consent.request_id, Request.status.in_(ENDED))
    unreached = Consent.unreached_since.is_not(None), Consent.decision.is_(None)
    session.execute(sa.update(Consent).where(*unreached, ended).values(unreached_since=None))


def wake_questions(session: Session, account: Account, now: datetime) -> None:
    """Lock the requests that wait for the account's consent to be attached, and schedule their next steps for now.

    Call this when an administrator has joined the account, so that this person is asked, too.
    """
    waiting = sa.select(Request).where(*_open_questions(account))
    for request in session.scalars(waiting.order_by(Request.id).with_for_update()):
        request.make_due(now)


def _open_questions(account: Account) -> list[sa.ColumnElement[bool]]:
    return [
        Request.kind.in_(ATTACHING),
        Request.customer_number == account.customer_number,
        Request.status == Status.PENDING,
        Request.reason == Reason.CONSENT_AWAITED,
    ]
