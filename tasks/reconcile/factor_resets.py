"""Job `factor_resets`: remove the second factors of people who lost them, a day after staff have requested it."""

from __future__ import annotations

from models.staff.factor_resets import end_reset, open_resets
from tasks.reconcile.job_run import Run


def reset_lost_factors(run: Run) -> None:
    """Remove the second factors of each person for whom staff requested it at least a day ago.

    The request is deleted instead if it is void, for example because the person has used or changed a second factor
    since. A person whose factors are removed is signed out everywhere and told by mail. Safe to run twice.
    """
    with run.transaction() as session:
        for reset, user in open_resets(session):
            run.counts[end_reset(session, reset, user, run.now)] += 1
