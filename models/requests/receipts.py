"""Receipts: the mail that confirms at once that an order or a link request has arrived."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.messages.outbox import Recipient, queue_message
from models.people.rights import Principal
from models.requests.requests import Request


def queue_receipt(session: Session, request: Request, principal: Principal, template: str, now: datetime) -> None:
    """Queue the receipt of a new request to the person who made it, in the transaction that saves the request.

    The row has no facts of the request: they are read when the mail is sent, so that accepting a request stays cheap.
    No Celery message tells the workers of the receipt alone: it leaves with the first mail of the request's first
    check, or when the sweep next looks for due work.
    """
    to, facts = Recipient(principal.name, principal.email, principal.locale), {"path": f"/anfragen/{request.id}"}
    queue_message(session, request.id, template, to, facts, now, hinted=False)
