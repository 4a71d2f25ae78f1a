"""The wait of a changed contract for the registrar, so that nobody reads that something works before it does."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from models.jobs.outages import ExternalSystem, Outage
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.steps.step import Hold, Postpone, Work

_LOOK_AGAIN = timedelta(seconds=10)
"""How often a request looks whether its trunks are written; usually the worker that has written one wakes it."""
_LONGEST_WRITE = timedelta(minutes=10)
"""The longest time in which a request's trunks are written; after it the request is held, so that staff look."""
_LOOK_WHILE_HELD = timedelta(minutes=1)


def wait_for_network(work: Work, request: Request) -> Postpone | Hold | None:
    """Return the wait for the registrar, which may still have a trunk as it was before the request; None if it has not.

    A change or an order of numbers waits for its trunk, a move for all trunks of the account. After ten minutes the
    request is held: staff have to look why the registrar does not take a trunk.
    """
    due = sa.select(SipTrunk.attempts).where(
        SipTrunk.account_id == request.account_id, SipTrunk.state != TrunkState.CLOSED, SipTrunk.due_at.is_not(None)
    )
    if request.changed_trunk_id is not None:
        due = due.where(SipTrunk.id == request.changed_trunk_id)
    attempts = work.session.scalars(due).all()
    if not attempts:
        return None
    if request.status is not Status.HELD and work.now < request.updated_at + _LONGEST_WRITE:
        return Postpone(work.now + _LOOK_AGAIN)
    refused = max(attempts) > 0 and work.session.get(Outage, ExternalSystem.REGISTRAR) is None
    return Hold(Reason.GATEWAY_REFUSED if refused else Reason.GATEWAY_UNAVAILABLE, _LOOK_WHILE_HELD)
