"""Job `erasures`: take away name and address of people who asked to be erased, or whom staff have erased."""

from __future__ import annotations

from models.staff.erasing_people import erase, open_erasures
from tasks.reconcile.job_run import Run


def erase_people(run: Run) -> None:
    """Erase each person whose access has ended for an erasure, as soon as no mail to or about the person is unsent.

    A person who has got a role again is not erased. Safe to run twice.
    """
    with run.transaction() as session:
        for erasure, user in open_erasures(session):
            done = erase(session, erasure, user, run.now)
            run.counts["erased" if done else "waiting"] += 1
