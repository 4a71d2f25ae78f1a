"""Consents of main accounts to a switch, that is to a sub-account's move to another main account."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, account_by_number
from models.errors import Forbidden, NotAwaited
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.people.users import User, principal_of
from models.proofs.proofs import Decision, MainConsent
from models.requests.requests import Request
from models.states import Kind, Reason, Status
from models.vault import Vault


def open_main_consent(session: Session, switch: Request, account: Account, now: datetime) -> MainConsent:
    """Store and return the question to the main account of `account`: may the account move to another main account?

    `switch` is the request for this move. If the user who made the request administers that main account, too, the
    question is answered with yes in their name, which the audit log records. This is not done for a request made with
    an API token, because a token acts for its own account only. Flushes the session.
    """
    assert account.main_id is not None
    consent = MainConsent(request_id=switch.id, main_id=account.main_id, issue=1, sent_issue=0)
    consent.ask(now)
    session.add(consent)
    if switch.requested_by is not None and switch.token_id is None:
        requester = principal_of(session, session.get_one(User, switch.requested_by))
        if may(requester, Action.PROVE_OWNERSHIP, session.get_one(Account, account.main_id)):
            consent.answer(Decision.ACCEPTED, requester.user_id, now)
            _log(session, switch, account, requester, Decision.ACCEPTED, now)
    session.flush()
    return consent


def decide_for_main(
    session: Session, vault: Vault, switch: Request, user: User, decision: Decision, typed: str | None, now: datetime
) -> bool:
    """Record an administrator's answer, for the present main account, to a switch; return whether the code is right.

    A switch is a request to move a sub-account to another main account. `typed` is the code from the mail, or None if
    the administrator `user` is signed in. Returns False, and records nothing, if the code is wrong. Otherwise the
    switch's next step is scheduled for now, and the account's audit log names the user. Raises `NotAwaited` if the
    switch is not pending, or if the question is answered already, has expired, or was put to an account that is not the
    main account any more. Raises `Forbidden` if the user may not decide for the main account.
    """
    session.refresh(switch, with_for_update=True)
    consent = session.get(MainConsent, switch.id, with_for_update=True)
    if (switch.kind, switch.status) != (Kind.SWITCH, Status.PENDING) or consent is None:
        raise NotAwaited
    if consent.decision is not None or now >= consent.expires_at:
        raise NotAwaited
    account = account_by_number(session, switch.customer_number)
    if account is None or account.main_id != consent.main_id:
        raise NotAwaited
    person = principal_of(session, user)
    if not may(person, Action.PROVE_OWNERSHIP, session.get_one(Account, consent.main_id)):
        raise Forbidden
    if typed is not None and not consent.try_code(vault, typed, consent.words(user), now):
        return False
    consent.answer(decision, user.id, now)
    _log(session, switch, account, person, decision, now)
    switch.make_due(now)
    return True


def wake_switches(session: Session, account: Account, now: datetime) -> None:
    """Schedule, for now, the next steps of the account's pending switches that wait for its main account's answer.

    A switch is a request to move the account to another main account. Call this when the account has left its main
    account, so that no switch waits for an answer that does not count any more. Switches locked by other transactions
    are skipped: they are being processed already.
    """
    waiting = sa.select(Request).where(
        Request.kind == Kind.SWITCH,
        Request.customer_number == account.customer_number,
        Request.status == Status.PENDING,
        Request.reason == Reason.MAIN_CONSENT_AWAITED,
    )
    for switch in session.scalars(waiting.order_by(Request.id).with_for_update(skip_locked=True)):
        switch.make_due(now)


def _log(
    session: Session, switch: Request, account: Account, person: Principal, decision: Decision, now: datetime
) -> None:
    to = session.get_one(Account, switch.main_id)
    facts = {"main": to.customer_number, "decision": decision}
    # Letting the account go is what the right to detach it allows over its main account.
    record(session, person, account, AuditEvent.SWITCH_ANSWERED, Action.DETACH, now, facts)
