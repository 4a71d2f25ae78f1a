"""Job `renewals`: remind administrators by mail of contracts that are extended soon."""

from __future__ import annotations

from collections import defaultdict

from models.changes.renewals import ComingRenewal, coming_renewals, remind, who_may_cancel
from tasks.reconcile.job_run import Run

BATCH = 500
"""The most contracts that are checked in one transaction."""
PEOPLE = 50
"""The most people to whom mails are queued in one transaction."""


def remind_of_renewals(run: Run) -> None:
    """Queue one mail to each administrator who may cancel contracts that are extended soon, with a list of them.

    A contract is listed once for each extension and person. It is listed from 30 days before the last day on which
    notice can be given, and not after that day. The run counts mails as `reminded`, and as `nobody` the extensions of
    which nobody can be told. Safe to run twice: nobody is told of an extension twice.
    """
    waiting: defaultdict[int, list[ComingRenewal]] = defaultdict(list)
    after: int | None = 0
    while after is not None:
        with run.transaction() as session:
            coming, after = coming_renewals(session, run.now, after, BATCH)
            for one, ids in zip(coming, who_may_cancel(session, coming), strict=True):
                run.counts["nobody"] += not ids
                for id in ids:
                    waiting[id].append(one)
    people = sorted(waiting)
    for place in range(0, len(people), PEOPLE):
        with run.transaction() as session:
            told = remind(session, {id: waiting[id] for id in people[place : place + PEOPLE]}, run.now)
            run.counts["reminded"] += told
