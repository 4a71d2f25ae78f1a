"""Questions for consent that reach no administrator: the back office sees them, and an outsider sees no difference.

A question for consent asks the administrators of an account whether another customer may attach it.
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
    """Record whether a question for consent reaches an administrator of `account`, the account that is to be attached.

    If it reaches nobody, the back office has to act from now on (`unreached_since`), unless there is no such account
    (None), or the account could not be attached by a request of this kind: it is closed, still on order, a main account
    or, for a link, a sub-account.
    """
    roles = {AccountRole.STANDALONE, AccountRole.SUB} if kind is Kind.SWITCH else {AccountRole.STANDALONE}
    attachable = account is not None and account.role in roles and account.state is AccountState.ACTIVE
    consent.unreached_since = None if reaches or not attachable else consent.unreached_since or now


def note_refused(session: Session, message: Message, now: datetime) -> None:
    """Record that a question for consent reaches nobody, if the mail servers have refused every mail that asks it.

    `message` is the refused mail, of template `CONSENT_MAIL`.
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
    """Return the e-mail addresses to which a mail with a link request's question for consent was ever queued.

    Also those whose mail is not sent yet or was refused by a mail server. A person whose address is among them is not
    asked again as somebody who has become an administrator since.
    """
    query = sa.select(Message.recipient_address).where(
        Message.request_id == request.id, Message.template == CONSENT_MAIL
    )
    return set(session.scalars(query))


def end_cases(session: Session, account: Account) -> None:
    """Take the open questions for consent about the account off the back office's list.

    Called when the back office has acted: it has named an administrator of the account, who is now invited.
    """
    cases = sa.update(Consent).where(Consent.request_id.in_(sa.select(Request.id).where(*_open_questions(account))))
    session.execute(cases.values(unreached_since=None))


def forget_ended(session: Session) -> None:
    """Clear `unreached_since` of unanswered questions for consent of ended link requests: nobody has to act now."""
    ended = sa.exists().where(Request.id == Consent.request_id, Request.status.in_(ENDED))
    unreached = Consent.unreached_since.is_not(None), Consent.decision.is_(None)
    session.execute(sa.update(Consent).where(*unreached, ended).values(unreached_since=None))


def wake_questions(session: Session, account: Account, now: datetime) -> None:
    """Lock the link requests that wait for consent about the account, and schedule them to be worked on now.

    Called when an administrator has joined the account, so that this person is asked, too.
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
