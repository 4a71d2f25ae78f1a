"""The step `cancel`: close the account and end its contracts, on the day that was agreed."""

from __future__ import annotations

from models.bulk.bulk import is_in_running_bulk
from models.changes.cancellations import end_account
from models.errors import CannotClose
from models.requests.requests import Request
from tasks.steps.step import IN_USE, Outcome, Work


def cancel(work: Work, request: Request) -> Outcome:
    """Close the account with its trunks, numbers, contracts and users' rights, and queue the mails about the end.

    Its trunks become due to be written to the registrar. Returns None (the step is done), or a hold while the account
    acts as a main account. Safe to run twice: a closed account stays as it is.
    """
    try:
        end_account(work.session, request, work.now, is_in_file=is_in_running_bulk(work.session, request))
    except CannotClose:
        return IN_USE
    request.note(work.now, "contract_ended", customer_number=request.customer_number)
    return None
