"""Job `renewals`: remind of contracts that are extended soon, so that nobody misses the day for a notice."""

from __future__ import annotations

from models.changes.renewals import coming_renewals, remind
from tasks.reconcile.job_run import Run

BATCH = 500
"""The most contracts that are looked at in one transaction."""


def remind_of_renewals(run: Run) -> None:
    """Queue one mail before each extension of a contract, to each administrator who may cancel it.

    It is queued from 30 days before the last day for a notice on, and not after that day. The run counts mails as
    `reminded`, and as `nobody` the extensions of which nobody can be told. Safe to run twice: nobody is told of an
    extension twice.
    """
    after: int | None = 0
    while after is not None:
        with run.transaction() as session:
            coming, after = coming_renewals(session, run.now, after, BATCH)
            for one in coming:
                queued = remind(session, one, run.now)
                run.counts["nobody" if queued is None else "reminded"] += 1 if queued is None else queued
