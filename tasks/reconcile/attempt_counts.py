"""Job `attempt_counts`: delete old counts of failed attempts to sign in or to enter a code.

Anybody on the internet can cause such rows. Therefore they are not left to the daily job `leftovers`.
"""

from __future__ import annotations

from models.people.attempt_counts import AttemptCount
from tasks.reconcile.job_run import Run
from tasks.reconcile.leftovers import DeletionRule, delete_old

_OVER = DeletionRule(AttemptCount, lambda now, _periods: AttemptCount.left_over(now))


def clear_attempt_counts(run: Run) -> None:
    """Delete counts of failed attempts that are too old to count for a limit on attempts. Safe to run twice."""
    delete_old(run, _OVER)
