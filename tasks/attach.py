"""attach: put the account under the main account, under the rules that the database keeps."""

from __future__ import annotations

from models import accounts
from models.requests import Request
from models.states import Kind, Origin
from tasks.steps import Outcome, Work


def attach(work: Work, request: Request) -> Outcome:
    """Safe to run twice: an account that is under this main account already stays so.

    Of many main accounts that try at one instant exactly one wins; the others are rejected.
    """
    assert request.account is not None
    origin = Origin.ORDER if request.kind is Kind.ORDER else Origin.LINK
    account = accounts.attach(work.session, request.main_id, request.account.id, origin, work.now)
    request.note(
        work.now,
        "attached",
        customer_number=account.customer_number,
        main_customer_number=request.main.customer_number,
    )
    return None
