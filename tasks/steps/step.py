"""The interface of a step: its context and its possible outcomes. `tasks.engine.advance` runs the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy.orm import Session

from models.proofs.proofs import ProofBook
from models.requests.requests import Request
from models.states import Actor, Reason
from models.telephony.number_pool import NumberPool
from tasks.ports import GatewayError, Ports
from tasks.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Work:
    """The context of steps while a transaction is open."""

    session: Session
    now: datetime
    runtime: Runtime
    pool: NumberPool
    book: ProofBook
    committed_callbacks: list[Callable[[], object]] = field(default_factory=list)

    def after_commit(self, callback: Callable[..., object], *facts: Any, **named: Any) -> None:
        """Register a call, such as a log event or a metric, to be made only after the transaction has committed."""
        self.committed_callbacks.append(partial(callback, *facts, **named))


@dataclass(frozen=True, slots=True)
class Wait:
    """The request waits for a person until a deadline. The step runs again when that person acts, or at `again_at`."""

    actor: Actor
    reason: Reason
    until: datetime
    again_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """The carrier has to act. The step is retried automatically after `again_after`."""

    reason: Reason
    again_after: timedelta


NO_NUMBERS = Hold(Reason.NO_NUMBERS_AVAILABLE, timedelta(minutes=15))
"""The pool of the ordered area code and block size is empty."""


class Call(Protocol):
    """A call to an external system: made with no transaction open, recorded in the next transaction."""

    @staticmethod
    def make(calls: Sequence[Any], ports: Ports) -> list[GatewayError | None]:
        """Make several calls of one step together. Return each call's error in order; None if it succeeded.

        Safe to repeat: each call has an idempotency key. If this raises, the engine makes each call again alone.
        """

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """Save the call's result. `done` is False if the call failed; what it achieved until then is kept."""

    def begin_again(self, work: Work, request: Request, failure: GatewayError) -> bool:
        """Undo what the failure shows to be wrong, so that the step can run again at once. Return whether it can."""


Outcome = Call | Wait | Hold | None
"""None: done, on with the next step."""

Step = Callable[[Work, Request], Outcome]
"""A step begins in a transaction with the request locked. It raises `RuleBroken` before it writes anything.

Safe to run twice: it may run again from the start after a worker died at any point.
"""
