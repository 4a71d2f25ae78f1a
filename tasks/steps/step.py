"""The interface of a step: its context and its possible outcomes. `tasks.engine.advance` runs the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy.orm import Session

from models.proofs.proof_book import ProofBook
from models.requests.requests import Request
from models.states import Actor, Reason
from models.telephony.number_pool import NumberPool
from tasks.ports import GatewayError, Ports
from tasks.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Work:
    """The context in which steps run while a transaction is open.

    `session` is that of the transaction, `now` one time for all its rows, `runtime` the worker's resources. `pool` has
    number blocks for the requests of the batch, and `book` the proofs that these requests need. `committed_callbacks`
    are called after the commit.
    """

    session: Session
    now: datetime
    runtime: Runtime
    pool: NumberPool
    book: ProofBook
    committed_callbacks: list[Callable[[], object]] = field(default_factory=list)

    def after_commit(self, callback: Callable[..., object], *facts: Any, **named: Any) -> None:
        """Register a call of `callback` with these arguments for after the commit, such as a log event or a metric."""
        self.committed_callbacks.append(partial(callback, *facts, **named))


@dataclass(frozen=True, slots=True)
class Wait:
    """The outcome of a step whose request waits, for `reason`, for `actor` to act until the deadline `until`.

    The step runs again as soon as that person has acted, or at `again_at` if nobody has.
    """

    actor: Actor
    reason: Reason
    until: datetime
    again_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """The outcome of a step whose request is held for `reason`, because the carrier has to act.

    The step is tried again when `again_after` has passed, or earlier if the back office retries the request.
    """

    reason: Reason
    again_after: timedelta


@dataclass(frozen=True, slots=True)
class Postpone:
    """The outcome of a step whose time has not come: it runs again at `again_at`, and nobody has to act until then."""

    again_at: datetime


NO_NUMBERS = Hold(Reason.NO_NUMBERS_AVAILABLE, timedelta(minutes=15))
"""The outcome of a step if the pool has no free block of the ordered area code and size."""

IN_USE = Hold(Reason.ACCOUNT_IN_USE, timedelta(minutes=15))
"""The outcome of a step that would close an account which acts as a main account: others belong to it, or will."""


class Call(Protocol):
    """A call to an external system that a step asks for: made with no transaction open, recorded in the next one."""

    @staticmethod
    def make(calls: Sequence[Any], ports: Ports) -> list[GatewayError | None]:
        """Make several calls of one step. Return each call's error, in order; None if the call succeeded.

        Safe to repeat: each call has an idempotency key. If this method raises, the engine makes each call again alone.
        """

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """Save the call's result in the database. `done` is False if the call failed."""

    def begin_again(self, work: Work, request: Request, failure: GatewayError) -> bool:
        """Undo what the failure shows to be wrong, and return whether the step can then run again immediately.

        Return False, and change nothing, for a failure that is retried after a pause or ends the request.
        """


Outcome = Call | Wait | Hold | Postpone | None
"""The result of a step: an external call to make, a wait, a hold or a later time; None if the step is done."""

Step = Callable[[Work, Request], Outcome]
"""A step: a function that is called in a transaction with the request locked.

A step that raises `RuleBroken` does so before it writes anything; the request is then rejected. A step is safe to run
twice: it may run again from its start after a worker died at any point.
"""
