"""Asking people of the company to approve the requests of an uploaded file: one mail to each for the whole file."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.bulk.bulk import Bulk
from models.messages.outbox import Recipient, queue_message, was_queued
from models.requests.approvals import REMINDED_BEFORE, leaders_of
from models.requests.requests import Request
from models.states import ENDED
from tasks.wording.file_kinds import CONTENTS


def ask_to_approve_file(session: Session, bulk: Bulk, now: datetime) -> None:
    """Queue the mail that asks people to approve the file's requests that wait for it, or reminds them.

    Those who lead the main account are asked, without the person who sent the file. Reminds 7 and 2 days before the
    end. Safe to run twice: each mail is queued once. The caller has locked the bulk.
    """
    waiting = sa.select(sa.func.count(), sa.func.min(Request.approval_until)).where(
        Request.bulk_id == bulk.id,
        Request.approval_until > now,
        Request.approved.is_(None),
        Request.status.not_in(ENDED),
    )
    count, until = session.execute(waiting).one()
    if until is None:
        return
    left = sum(now < until - before for before in REMINDED_BEFORE)
    occasion = f"{bulk.id}/{left}"
    facts = {
        "contents": CONTENTS[bulk.kind],
        "file_name": bulk.file_name,
        "rows": count,
        "customer_number": bulk.main.customer_number,
        "requester_name": bulk.user.name,
        "until": until.isoformat(),
        "path": "/freigaben",
    }
    for person in leaders_of(session, bulk.main_id):
        to = Recipient(person.name, person.email, person.locale)
        if person.id != bulk.user_id and not was_queued(session, "approval_asked_file", occasion, to):
            queue_message(session, None, "approval_asked_file", to, facts, now, occasion=occasion)
