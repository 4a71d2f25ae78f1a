"""detach: take the account out from under the main account; it keeps its logins, numbers, contract and address."""

from __future__ import annotations

from models.accounts import accounts
from models.requests.requests import Request
from tasks.steps.step import Outcome, Work


def detach(work: Work, request: Request) -> Outcome:
    """Done once: an account that is no longer under this main account is refused."""
    assert request.account_id is not None
    account = accounts.detach(work.session, request.main_id, request.account_id)
    request.note(
        work.now,
        "detached",
        customer_number=account.customer_number,
        main_customer_number=request.main.customer_number,
    )
    return None
