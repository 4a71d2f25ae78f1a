"""Receipts: the mail that confirms at once that an order or a link request has been received."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.messages.outbox import Recipient, queue_message
from models.people.rights import Principal
from models.requests.requests import Request


def queue_receipt(session: Session, request: Request, principal: Principal, template: str, now: datetime) -> None:
    """Queue the mail `template`, which confirms a new request, to the person who made the request.

    The mail's details are read from the request only when the mail is sent, so that accepting a request stays cheap. No
    Celery message is sent for the receipt alone: the receipt is sent together with the next mail of the request, or
    after the next regular search for due rows.
    """
    to, facts = Recipient(principal.name, principal.email, principal.locale), {"path": f"/anfragen/{request.id}"}
    queue_message(session, request.id, template, to, facts, now, hinted=False)
