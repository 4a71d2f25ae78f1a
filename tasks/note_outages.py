"""Record which external systems are unavailable. No worker claims work that needs an unavailable system."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from models.db.work_queue import WorkKind, made_due
from models.jobs.outages import ExternalSystem, Outage, begin_pause, end_pause
from tasks.claims import Claim
from tasks.ports import GatewayError, GatewayUnavailable, NotSent

log = structlog.get_logger()

_WAITING = {
    ExternalSystem.REGISTRAR: (WorkKind.PROVISION, WorkKind.REGISTRAR),
    ExternalSystem.MAIL: (WorkKind.MESSAGES,),
    ExternalSystem.LETTER: (WorkKind.MESSAGES,),
}
"""Each external system, with the kinds of work that need it."""


def note_answers(claim: Claim, system: ExternalSystem, answers: Iterable[GatewayError | None]) -> None:
    """Record whether an external system was available for the calls made in a claim, in a transaction of its own.

    `answers` has one entry for each call: its error, or None for success. If a call found the system unavailable, a
    pause begins in which no worker contacts the system. If none did, a running pause ends, and the workers are notified
    of the work that waited for the system. Errors of the class `NotSent` do not count, because those calls never left
    this machine. A database outage is logged, not raised.
    """
    answers = [answer for answer in answers if not isinstance(answer, NotSent)]
    if not answers:
        return
    runtime = claim.runtime
    away = next((answer for answer in answers if isinstance(answer, GatewayUnavailable)), None)
    try:
        with runtime.database.transaction() as session:
            if away is not None:
                begin_pause(session, system, claim.failures, runtime.clock())
            elif session.get(Outage, system) is not None:
                end_pause(session, system)
                for kind in _WAITING[system]:
                    made_due(session, kind)
    except (DBAPIError, PoolTimeout) as error:
        # The answers themselves are worth more than what is known about the system.
        log.warning("system.not_noted", system=system, error=repr(error))
    if away is not None:
        log.warning("system.away", system=system, error=repr(away))
