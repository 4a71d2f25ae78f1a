"""Job `erasures`: remove name and address of people whose data is to be erased, at their own or the staff's request."""

from __future__ import annotations

from models.staff.erasing_people import erase, open_erasures
from tasks.reconcile.job_run import Run


def erase_people(run: Run) -> None:
    """Erase the people whose erasure was requested and whose access has ended.

    A person is left for a later run while a mail to or about them is unsent. A person who has been given a role again
    is not erased. Safe to run twice.
    """
    with run.transaction() as session:
        for erasure, user in open_erasures(session):
            done = erase(session, erasure, user, run.now)
            run.counts["erased" if done else "waiting"] += 1
