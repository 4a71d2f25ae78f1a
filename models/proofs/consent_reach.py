"""Recording which questions for consent reach no administrator, so that the back office can act.

A question for consent (`Consent`) asks the administrators of an account whether another customer may attach it. Once
they have agreed to a switch, another question (`MainConsent`) asks those of the account's present main account whether
the account may go. The requester is not shown whether a question reaches anybody.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Message, MessageState
from models.proofs.proofs import Consent, MainConsent
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, AccountRole, AccountState, Kind, Reason, Status

CONSENT_MAIL = "consent_asked"
"""The template of the mail that asks an account's administrators whether another customer may attach the account."""
MAIN_CONSENT_MAIL = "main_consent_asked"
"""The template of the mail that asks a main account's administrators whether a sub-account may go to another one."""


def note_reach(
    consent: Consent, account: Account | None, now: datetime, *, reaches: bool, kind: Kind = Kind.LINK
) -> None:
    """Record whether a question for consent to attach `account` reaches (`reaches`) one of its administrators.

    If not, sets `unreached_since` of the question `consent`, unless it is set already: the back office has to act.
    Clears it if the question reaches somebody, if `account` is None (the requester named an unknown number), or if a
    request of this `kind` could not attach the account anyway. That is so if the account is not active, is a main
    account or, for a link, is a sub-account.
    """
    roles = {AccountRole.STANDALONE, AccountRole.SUB} if kind is Kind.SWITCH else {AccountRole.STANDALONE}
    attachable = account is not None and account.role in roles and account.state is AccountState.ACTIVE
    consent.unreached_since = None if reaches or not attachable else consent.unreached_since or now


def note_main_reach(consent: MainConsent, now: datetime, *, reaches: bool) -> None:
    """Record whether the question to a present main account reaches one of its administrators.

    If not, `unreached_since` is set, unless it is set already: the back office has to act.
    """
    consent.unreached_since = None if reaches else consent.unreached_since or now


def note_refused(session: Session, message: Message, now: datetime) -> None:
    """Record that a link request's question for consent reaches nobody, if mail servers have refused all its mails.

    The question asks an account's administrators whether the account may be attached, or those of its present main
    account whether it may go. `message` is the mail refused just now, of template `CONSENT_MAIL` or
    `MAIN_CONSENT_MAIL`. Flushes the session.
    """
    session.flush()
    link, table = message.request_id, MainConsent if message.template == MAIN_CONSENT_MAIL else Consent
    query = sa.select(Message.id).where(
        Message.request_id == link, Message.template == message.template, Message.state != MessageState.REFUSED
    )
    if session.scalar(query.limit(1)) is None:
        unanswered = table.request_id == link, table.decision.is_(None), table.unreached_since.is_(None)
        session.execute(sa.update(table).where(*unanswered).values(unreached_since=now))


def asked_addresses(session: Session, request: Request, template: str) -> set[str]:
    """Return the e-mail addresses to which the request's question for consent was ever queued as a mail of `template`.

    Mails that are not sent yet or were refused by a mail server are included. Callers use this to ask each person only
    once, also those who become administrators later.
    """
    query = sa.select(Message.recipient_address).where(Message.request_id == request.id, Message.template == template)
    return set(session.scalars(query))


def end_cases(session: Session, account: Account) -> None:
    """Remove the questions to the account's administrators from the back office's list of questions that reach nobody.

    They are the questions whether the account may be attached, and whether one of its sub-accounts may go to another
    main account. Call this when the back office has invited an administrator to the account. Answered questions stay as
    they are.
    """
    for table, open_ones in ((Consent, _asked_itself(account)), (MainConsent, _asked_as_main(account))):
        cases = sa.update(table).where(table.request_id.in_(sa.select(Request.id).where(open_ones)))
        session.execute(cases.values(unreached_since=None))


def forget_ended(session: Session) -> None:
    """Clear `unreached_since` of the unanswered questions for consent whose request has ended.

    The back office need not act on them any more.
    """
    for table in (Consent, MainConsent):
        ended = sa.exists().where(Request.id == table.request_id, Request.status.in_(ENDED))
        unreached = table.unreached_since.is_not(None), table.decision.is_(None)
        session.execute(sa.update(table).where(*unreached, ended).values(unreached_since=None))


def wake_questions(session: Session, account: Account, now: datetime) -> None:
    """Lock the requests that wait for the consent of this account, and schedule their next steps for now.

    These would attach the account, or take one of its sub-accounts to another main account. Call this when an
    administrator has joined the account, so that this person is asked, too.
    """
    waiting = sa.select(Request).where(sa.or_(_asked_itself(account), _asked_as_main(account)))
    for request in session.scalars(waiting.order_by(Request.id).with_for_update()):
        request.make_due(now)


def _asked_itself(account: Account) -> sa.ColumnElement[bool]:
    """Return an SQL condition on `Request`: it waits for the consent of the account that it would attach."""
    return sa.and_(
        Request.kind.in_(ATTACHING),
        Request.customer_number == account.customer_number,
        Request.status == Status.PENDING,
        Request.reason == Reason.CONSENT_AWAITED,
    )


def _asked_as_main(account: Account) -> sa.ColumnElement[bool]:
    """Return an SQL condition on `Request`: a switch that waits for the account's consent as present main account."""
    asked = MainConsent.main_id == account.id, MainConsent.decision.is_(None)
    return sa.and_(
        Request.id.in_(sa.select(MainConsent.request_id).where(*asked)),
        Request.kind == Kind.SWITCH,
        Request.status == Status.PENDING,
        Request.reason == Reason.MAIN_CONSENT_AWAITED,
    )
