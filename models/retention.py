"""How long rows are kept, and why: one period for each kind of row that is deleted after a time.

Each table's `left_over` defines from when its period counts; the job `leftovers` (`tasks.reconcile.leftovers`) deletes
rows past their period. Logins are deleted when they expire (`models.people.logins`). Other rows, such as requests with
their messages, are kept. Needs no database.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from models.calendar_days import BERLIN, berlin_day

BULKS = timedelta(days=30)
"""An uploaded file that was not sent: how long after its upload. It has names and addresses (GDPR, Art. 5)."""
DRAFTS = timedelta(days=90)
"""An order that is being entered: how long after its last change it can be resumed, to the end of the last day."""
IDEMPOTENCY_KEYS = timedelta(days=30)
"""A key of the API with its answer: far longer than a client repeats a failed call."""
INVITATIONS = timedelta(days=30)
"""An expired invitation: how long it stays on the list of the account's users, where it can be renewed."""
INVITED_NAMES = timedelta(days=400)
"""The name of an invited person in the audit log: long enough to see a year later who has invited whom."""
JOB_RUNS = timedelta(days=90)
"""A run of a scheduled job, with its findings."""
DIRECTORY_ENTRIES = timedelta(days=400)
"""A withdrawn entry of the telephone directory: long enough for exports that are made once a year."""
CALL_RECORDS = timedelta(days=7)
"""The registrar's records of calls and refused logins, which serve to find faults (TDDDG § 12)."""


def start_of_last_year(now: datetime) -> datetime:
    """Return the moment at which last year began in Berlin; rows that ended before it may be deleted.

    § 172 TKG asks for the data of a contract, and of who had a number, to be kept to the end of the calendar year
    after the one in which the contract ended or the number was lost.
    """
    return datetime(berlin_day(now).year - 1, 1, 1, tzinfo=BERLIN)
