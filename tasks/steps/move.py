"""The step `move`: give an account its new connection address, and its trunks the numbers that go with it.

The step `confirm` waits until the registrar has them.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from models.changes.making_moves import make_move
from models.jobs.outages import ExternalSystem, Outage
from models.requests.requests import Request
from models.states import Reason, Status
from models.telephony.trunks import SipTrunk, TrunkState
from tasks.steps.step import Hold, Outcome, Postpone, Work
from tasks.wording.formats import number_text, numbers_text

_LOOK_AGAIN = timedelta(seconds=10)
"""How often a move looks whether its trunks are written; usually the worker that has written one wakes it."""
_LONGEST_WRITE = timedelta(minutes=10)
"""The longest time in which a move's trunks are written; after it the move is held, so that staff look."""
_LOOK_WHILE_HELD = timedelta(minutes=1)


def move(work: Work, request: Request) -> Outcome:
    """Change the account's address and replace the numbers that cannot stay there. Returns None: the step is done.

    The trunks become due to be written to the registrar. Raises `RuleBroken`, which rejects the request and frees the
    reserved blocks, if the account is not active, has no open trunk, or has a number that cannot stay and of which that
    was not said. Safe to run twice: the change and the request's next step are saved in one transaction.
    """
    for lost in make_move(work.session, request, work.now):
        assert lost.numbers is not None
        request.note(work.now, "forwarding_lost", numbers=numbers_text(*lost.numbers), target=number_text(lost.target))
    place = request.place
    request.note(work.now, "moved", street=place.street, postal_code=place.postal_code, city=place.city)
    return None


def wait_for_network(work: Work, request: Request) -> Postpone | Hold | None:
    """Return the wait for the registrar, which may still have the old address of a trunk; None if it has none.

    The customer must not read before that emergency calls are routed by the new address. After ten minutes the move is
    held: staff have to look why the registrar does not take a trunk.
    """
    due = sa.select(SipTrunk.attempts).where(
        SipTrunk.account_id == request.account_id, SipTrunk.state != TrunkState.CLOSED, SipTrunk.due_at.is_not(None)
    )
    attempts = work.session.scalars(due).all()
    if not attempts:
        return None
    if request.status is not Status.HELD and work.now < request.updated_at + _LONGEST_WRITE:
        return Postpone(work.now + _LOOK_AGAIN)
    refused = max(attempts) > 0 and work.session.get(Outage, ExternalSystem.REGISTRAR) is None
    return Hold(Reason.GATEWAY_REFUSED if refused else Reason.GATEWAY_UNAVAILABLE, _LOOK_WHILE_HELD)
