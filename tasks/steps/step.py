"""What a step is. The engine in `pipeline` runs them; `verify`, `provision`, `attach`, `confirm` are them."""

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
    """A step's view while a transaction is open."""

    session: Session
    now: datetime
    runtime: Runtime
    pool: NumberPool
    book: ProofBook
    news: list[Callable[[], object]] = field(default_factory=list)

    def after_commit(self, tell: Callable[..., object], *facts: Any, **named: Any) -> None:
        """Log or count something when the transaction has been committed, and only then."""
        self.news.append(partial(tell, *facts, **named))


@dataclass(frozen=True, slots=True)
class Wait:
    """A person has to act until then: the step runs again when they did, or at `again_at` (a reminder, the end)."""

    actor: Actor
    reason: Reason
    until: datetime
    again_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """We have to act; tried again by itself after that time."""

    reason: Reason
    again_after: timedelta


NO_NUMBERS = Hold(Reason.NO_NUMBERS_AVAILABLE, timedelta(minutes=15))
"""The pool of the ordered area code and block size is empty."""


class Call(Protocol):
    """What a step has to do outside: made with no transaction open, recorded in the next one."""

    @staticmethod
    def make(calls: Sequence[Any], ports: Ports) -> list[GatewayError | None]:
        """Do what these calls of one step have to do, each under a key that makes doing it twice harmless.

        For each what went wrong, or None. If anything else is raised, each is made again alone.
        """

    def record(self, work: Work, request: Request, *, done: bool) -> None:
        """Write down what came of it; not `done` if it went wrong, to keep what was achieved until then."""


Outcome = Call | Wait | Hold | None
"""None: done, on with the next step."""

Step = Callable[[Work, Request], Outcome]
"""A step begins in a transaction with the request locked. It raises `RuleBroken` before it writes anything.

Safe to run twice: it may run again from the start after a worker died at any point.
"""
