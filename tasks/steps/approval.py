"""The wait for a second person's approval, before anybody else is asked about the request."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.changes.changes import ensure_asked_from_within
from models.errors import RuleBroken
from models.messages.outbox import Message, Recipient, queue_message
from models.people.audit_log import AuditEvent
from models.people.users import User, people_to_tell
from models.requests.approvals import AWAITING, REMINDED_BEFORE, approvers_of, company_of, monthly_rise
from models.requests.requests import Request
from models.states import Actor, Kind, Reason, Status
from tasks.steps.step import Wait, Work

APPROVAL_MAIL = "approval_asked"
"""The template of the mail that asks a person of the company for an approval, and of its reminders."""
_ASKED = {Kind.CHANGE: AuditEvent.CHANGE_ASKED, Kind.NUMBERS: AuditEvent.NUMBERS_ASKED}
"""What the audit log has of a request about the contracts of an account, which may leave its main account meanwhile."""


def wait_for_approval(work: Work, request: Request) -> Wait | None:
    """Return the wait for a second person's approval; None if the request needs none, or has been approved.

    Queues the mails that ask those who can approve it, and remind them 7 and 2 days before the end; for the requests of
    an uploaded file, `tasks.bulk.approvals` asks once for all. Once it is approved, queues the mail that tells the
    requester. Raises `RuleBroken` if it was refused, if the time is over, or if a main account has asked for it and the
    account was detached since. If nobody else of the company may approve it, the wait says so, and that the requester
    has to act.
    """
    until = request.approval_until
    if until is None:
        return None
    waits = request.status is Status.PENDING and request.reason in AWAITING
    if request.approved:
        if waits:
            _tell_of_approval(work, request)
        return None
    if request.approved is False:
        raise RuleBroken(Reason.APPROVAL_REFUSED)
    if work.now >= until:
        raise RuleBroken(Reason.APPROVAL_EXPIRED)
    if request.kind in _ASKED:
        ensure_asked_from_within(work.session, request, _ASKED[request.kind])
    ahead = [until - before for before in REMINDED_BEFORE if work.now < until - before]
    again_at = min([*ahead, until])
    people = approvers_of(work.session, request)
    if not people:
        return Wait(Actor.REQUESTER, Reason.APPROVER_MISSING, until, again_at)
    if request.bulk_id is None:
        for person in people:
            _ask(work, request, person, len(ahead))
    return Wait(Actor.APPROVER, Reason.APPROVAL_AWAITED, until, again_at)


def _ask(work: Work, request: Request, person: User, left: int) -> None:
    """Queue the mail that asks this person or reminds them, once for each `left`: how many reminders are ahead."""
    assert request.approval_until is not None
    to, occasion = Recipient(person.name, person.email, person.locale), f"{request.approval_until.isoformat()}/{left}"
    same = Message.occasion == occasion, Message.recipient_address == to.address
    about = Message.request_id == request.id, Message.template == APPROVAL_MAIL
    if work.session.scalar(sa.select(sa.exists().where(*about, *same))):
        return
    facts = {
        **_about(request),
        "requester_name": request.requester.name if request.requester is not None else "",
        "monthly_cents": monthly_rise(request),
        "until": request.approval_until.isoformat(),
        "path": f"/freigaben/{request.id}",
    }
    queue_message(work.session, request.id, APPROVAL_MAIL, to, facts, work.now, occasion=occasion)


def _tell_of_approval(work: Work, request: Request) -> None:
    if request.bulk_id is not None:
        return
    approver = work.session.get(User, request.approval_by) if request.approval_by is not None else None
    facts = {**_about(request), "approver_name": approver.name if approver is not None else ""}
    for person in people_to_tell(work.session, request.requested_by, company_of(request), request.account_id):
        to = Recipient(person.name, person.email, person.locale)
        queue_message(work.session, request.id, "approval_given", to, facts, work.now)


def _about(request: Request) -> dict[str, Any]:
    return {
        "kind": request.kind,
        "customer_number": request.customer_number,
        "main_customer_number": request.main.customer_number,
        "account_name": request.account.name if request.account is not None else "",
        "path": f"/anfragen/{request.id}",
    }
