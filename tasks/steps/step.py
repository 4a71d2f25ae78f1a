"""The interface of a step of a request: its context (`Work`) and its possible outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy.orm import Session

from models.db.trace_context import current_traceparent
from models.proofs.proof_book import ProofBook
from models.requests.requests import Request
from models.states import Actor, Reason
from models.telephony.number_pool import NumberPool
from tasks.ports import GatewayError, Ports
from tasks.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Work:
    """The context in which steps run, for all requests of one transaction.

    `session` is the transaction's session, `now` the time that all its rows get, `runtime` the worker's resources.
    `pool` hands out number blocks, `book` finds the proofs that the requests need. `committed_callbacks` are called
    after the commit.
    """

    session: Session
    now: datetime
    runtime: Runtime
    pool: NumberPool
    book: ProofBook
    committed_callbacks: list[Callable[[], object]] = field(default_factory=list)

    def after_commit(self, callback: Callable[..., object], *facts: Any, **named: Any) -> None:
        """Call `callback` with these arguments after the commit; for log events and metrics.

        Nothing is called if the transaction is rolled back. Log lines of the callback belong to the span that is
        current when this method is called.
        """
        later = partial(callback, *facts, **named)
        if current_traceparent() is not None:
            later = partial(copy_context().run, later)
        self.committed_callbacks.append(later)


@dataclass(frozen=True, slots=True)
class Wait:
    """The outcome of a step that waits for a person: for `reason`, `actor` has to act until the deadline `until`.

    The step runs again as soon as the person has acted, or at `again_at` if nobody has.
    """

    actor: Actor
    reason: Reason
    until: datetime
    again_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """The outcome of a step that cannot go on because of `reason` until the carrier acts. The request is held.

    The step runs again after `again_after`, or earlier if the back office retries the request.
    """

    reason: Reason
    again_after: timedelta


@dataclass(frozen=True, slots=True)
class Postpone:
    """The outcome of a step that is too early: it runs again at `again_at`, and nobody has to act until then."""

    again_at: datetime


NO_NUMBERS = Hold(Reason.NO_NUMBERS_AVAILABLE, timedelta(minutes=15))
"""The outcome of a step if the pool has no free block of the ordered area code and size.

The request is held; the step runs again every 15 minutes.
"""

IN_USE = Hold(Reason.ACCOUNT_IN_USE, timedelta(minutes=15))
"""The outcome of a step that cannot close an account, because the account acts as a main account.

The request is held; the step runs again every 15 minutes.
"""


class Call(Protocol):
    """A call to an external system that a step returns.

    The engine makes it with no transaction open, and records its result in a new transaction.
    """

    @staticmethod
    def make(calls: Sequence[Any], ports: Ports) -> list[GatewayError | None]:
        """Make several calls of the same step. Return each call's error, in order; None if the call succeeded.

        Safe to repeat: each call has an idempotency key. If this method raises, the engine makes each call again alone.
        """

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """Save the call's result in the database. `done` is True if the call succeeded, False if it failed."""

    def begin_again(self, work: Work, request: Request, failure: GatewayError) -> bool:
        """Undo what the failed call has shown to be wrong; return whether the step can run again immediately.

        Returns False, and changes nothing, if the failure has to be retried after a pause or ends the request.
        """


Outcome = Call | Wait | Hold | Postpone | None
"""The result of a step: an external call to make, a wait, a hold or a later time; None if the step is done."""

Step = Callable[[Work, Request], Outcome]
"""A step: a function that is called in a transaction with the request locked.

A step that raises `RuleBroken` does so before it writes anything; the request is then rejected. A step is safe to run
twice: it may run again from its start after a worker died at any point.
"""
