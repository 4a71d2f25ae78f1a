"""Record how external systems answer. All workers leave a system that is away alone: see `tasks.claims`."""

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
"""The kinds of work that wait for each system."""


def note_answers(claim: Claim, system: ExternalSystem, answers: Iterable[GatewayError | None]) -> None:
    """Record how the system answered the work of a claim: a pause begins if it was unavailable, else any pause ends.

    What was refused before it left this machine, with `NotSent`, says nothing about the system.
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
