"""Job `factor_resets`: remove the second factors of people who have lost them, a day after staff have asked for it."""

from __future__ import annotations

from models.staff.factor_resets import end_reset, open_resets
from tasks.reconcile.job_run import Run


def reset_lost_factors(run: Run) -> None:
    """Reset the second factors of each person for whom staff asked for it a day ago or earlier.

    A person who has used a second factor meanwhile keeps them, and the reset is deleted. Safe to run twice.
    """
    with run.transaction() as session:
        for reset, user in open_resets(session):
            run.counts[end_reset(session, reset, user, run.now)] += 1
