"""Certificates of need: documents that show why a SIP trunk is to have more than 100 numbers.

A trunk can have 100 numbers (`MOST_NUMBERS`) without a certificate, or as many as the largest certificate that staff
have accepted. A request for numbers needs a new certificate if the trunk would have more, counting older running
requests for it, too. Numbers that a trunk has already, such as those of an imported account, need none. Orders need
none either: a new trunk gets one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.calendar_days import end_of_day
from models.proofs.deadlines import VALID_FOR
from models.proofs.documents import ProofDocument
from models.requests.requests import Request
from models.states import ENDED, Kind, Reason, Status, StepName
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk

MOST_NUMBERS = 100
"""The most numbers that a trunk can have without a certificate of need."""
AWAITED = (Reason.NEED_NOT_PROVED, Reason.CERTIFICATE_IN_REVIEW)
"""The reasons for which a request is pending while a certificate can be handed in."""


def numbers_of(session: Session, trunk_id: int) -> int:
    """Return how many numbers are assigned to the trunk."""
    return session.scalar(sa.select(sa.func.sum(NumberBlock.size)).where(NumberBlock.trunk_id == trunk_id)) or 0


def numbers_asked_for(session: Session, trunk_id: int, *, before: Request | None = None) -> int:
    """Return how many numbers the running requests for this trunk will still add.

    With `before`, only requests that are older than that one count.
    """
    waiting = adding_numbers(trunk_id, sa.select(sa.func.sum(Request.block_size)))
    if before is not None:
        waiting = waiting.where(Request.id < before.id)
    return session.scalar(waiting) or 0


def adding_numbers(trunk_id: int, query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Restrict `query`, which selects requests, to those that will add numbers to the trunk and have not ended.

    Requests that have added their numbers and only have to send their mails are left out.
    """
    return query.where(
        Request.changed_trunk_id == trunk_id,
        Request.kind == Kind.NUMBERS,
        Request.status.not_in(ENDED),
        Request.step != StepName.CONFIRM,
    )


def numbers_with(session: Session, request: Request) -> int:
    """Return how many numbers the trunk will have: those assigned, and those of this and all older running requests."""
    assert request.changed_trunk_id is not None and request.block_size is not None
    asked = numbers_asked_for(session, request.changed_trunk_id, before=request)
    return numbers_of(session, request.changed_trunk_id) + asked + request.block_size


def covered_numbers(session: Session, trunk_id: int) -> int:
    """Return how many numbers the trunk can have without a further certificate of need.

    These are 100 (`MOST_NUMBERS`) or, if it is more, the number for which staff have accepted a certificate.
    """
    accepted = (
        sa.select(sa.func.max(ProofDocument.numbers))
        .join(Request, Request.id == ProofDocument.request_id)
        .where(
            # By the index of the certificates, which are few among the proofs of addresses.
            ProofDocument.numbers.is_not(None),
            ProofDocument.released.is_(True),
            Request.changed_trunk_id == trunk_id,
        )
    )
    kept = session.scalar(sa.select(SipTrunk.certified_numbers).where(SipTrunk.id == trunk_id))
    return max(MOST_NUMBERS, kept or 0, session.scalar(accepted) or 0)


def needs_certificate(session: Session, request: Request) -> bool:
    """Return whether the request for numbers needs a certificate of need, in addition to those accepted so far."""
    assert request.changed_trunk_id is not None
    return numbers_with(session, request) > covered_numbers(session, request.changed_trunk_id)


def numbers_without_certificate(session: Session, request: Request) -> int | None:
    """Return the most numbers that the trunk of the request can have without a further certificate of need.

    None if even a smaller block than the request's would need one, because the trunk has, or will have, that many
    already.
    """
    assert request.changed_trunk_id is not None and request.block_size is not None
    covered = covered_numbers(session, request.changed_trunk_id)
    return covered if numbers_with(session, request) - request.block_size < covered else None


def keep_certificate(session: Session, trunk: SipTrunk) -> None:
    """Save with the trunk how many numbers its accepted certificates cover, as documents are deleted after a time."""
    covered = covered_numbers(session, trunk.id)
    if covered > MOST_NUMBERS:
        trunk.certified_numbers = covered


def certificate_until(request: Request) -> datetime:
    """Return the deadline, the end of a day, for handing in a certificate of need for the request.

    If the customer was not asked for a certificate yet, it is the end of the 14th day after the request was made.
    """
    return request.need_until or end_of_day(request.created_at + VALID_FOR)


def lock_awaiting(session: Session, trunk_id: int) -> Sequence[Request]:
    """Lock the requests for numbers of the trunk that wait for a certificate, in the order of their ids; return them.

    They are read anew: the transaction that held the locks may have changed them.
    """
    waiting = sa.select(Request).where(
        Request.changed_trunk_id == trunk_id, Request.status == Status.PENDING, Request.reason.in_(AWAITED)
    )
    locking = waiting.order_by(Request.id).with_for_update(of=Request)
    return session.scalars(locking.execution_options(populate_existing=True)).all()
