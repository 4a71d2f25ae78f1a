"""The order of a trunk's planned changes: each is agreed on top of those before it, prices included."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import object_session

from models.errors import LaterChangePlanned
from models.requests.requests import Request
from models.states import ENDED, Kind


def ensure_no_later_change(request: Request) -> None:
    """Raise `LaterChangePlanned` if a later change of the same trunk is planned; it has to be cancelled first.

    The price of the later change was agreed on top of this one, and would be wrong without it. Does nothing for
    requests that are no changes.
    """
    session = object_session(request)
    if request.kind is not Kind.CHANGE or session is None:
        return
    later = sa.select(sa.func.max(Request.effective_on)).where(
        Request.changed_trunk_id == request.changed_trunk_id, Request.status.not_in(ENDED), Request.id != request.id
    )
    if request.effective_on is not None:
        later = later.where(Request.effective_on > request.effective_on)
    day = session.scalar(later)
    if day is not None:
        raise LaterChangePlanned(request.status, day)
