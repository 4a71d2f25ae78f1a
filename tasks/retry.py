"""The retry policy: computes when a failed operation is tried again. It does not wait or schedule anything itself."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff: the first pause is `first`, each next pause is twice as long, up to `ceiling`.

    Each pause varies at random by the fraction `jitter`. After `patience` failed attempts a request is held, so that
    the back office sees it, and from then on it is retried every `while_held`.
    """

    first: timedelta = timedelta(seconds=1)
    ceiling: timedelta = timedelta(minutes=10)
    jitter: float = 0.2
    patience: int = 12
    while_held: timedelta = timedelta(minutes=30)

    def pause(self, attempts: int) -> timedelta:
        """Return how long to wait after this number of failed attempts (1 or more), with a random variation."""
        plain = min(self.first * int(2 ** min(attempts - 1, 30)), self.ceiling)
        spread: float = random.uniform(1 - self.jitter, 1 + self.jitter)
        return plain * spread

    def exhausted(self, attempts: int) -> bool:
        """Return whether the number of failed attempts has reached `patience`, so that the request is to be held."""
        return attempts >= self.patience
