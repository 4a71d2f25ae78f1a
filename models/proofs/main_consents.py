"""The consent of a sub-account's present main account to a switch: that the account goes to another main account."""

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
    """Save and return the question to the main account of `account` whether the switch may take the account away.

    If the person who asks for the switch administers that main account, too, it is answered with yes in their name. A
    person with an API token acts for the token's account alone, and is asked.
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
    """Record the answer of an administrator of the present main account to a switch, if the code is right.

    `user` is the administrator, `typed` the code from the mail, None for a signed-in person. Return False if the code
    is wrong. The first answer counts; the switch's next step is scheduled for now, and the account's log says who
    answered. Raises `NotAwaited` if the switch is not pending, or the question is answered, has expired, or was put to
    an account that is not the main account any more, and `Forbidden` if the user may not decide for the main account.
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
    """Make due now the pending switches of this account that wait for a main account's answer.

    Called when the account has left its main account, so that nobody waits for an answer that does not count any more.
    Switches that another transaction has locked are left out: those are being worked on.
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
