"""When something that failed is tried again. A policy is a value: no sleeping, no countdown, only a time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter: `first`, then each pause twice the one before, up to `ceiling`.

    After `patience` attempts the request is held, so that the back office sees it, and tried again every
    `while_held`.
    """

    first: timedelta = timedelta(seconds=1)
    ceiling: timedelta = timedelta(minutes=10)
    jitter: float = 0.2
    patience: int = 12
    while_held: timedelta = timedelta(minutes=30)

    def pause(self, attempts: int) -> timedelta:
        """How long to wait after so many failed attempts (1 or more), give or take the jitter."""
        plain = min(self.first * int(2 ** min(attempts - 1, 30)), self.ceiling)
        spread: float = random.uniform(1 - self.jitter, 1 + self.jitter)
        return plain * spread

    def exhausted(self, attempts: int) -> bool:
        """Whether that was the last attempt before somebody has to look."""
        return attempts >= self.patience
