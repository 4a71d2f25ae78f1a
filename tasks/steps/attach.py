"""attach: put the account under the main account, under the rules that the database keeps."""

from __future__ import annotations

from models.accounts import accounts
from models.errors import AlreadyAttached
from models.requests.requests import Request
from models.states import Kind, Origin, ProofMethod
from tasks.steps.step import Outcome, Work


def attach(work: Work, request: Request) -> Outcome:
    """Safe to run twice: with the account's link the request moves on to the next step, or neither is written.

    So an account that has a main account already, be it this one, got there by another request: rejected. Of many
    that try at one instant exactly one wins.
    """
    assert request.account is not None
    accounts.lock_accounts(work.session, [request.account.id])
    if request.account.main_id is not None:
        raise AlreadyAttached(request.account.customer_number)
    account = accounts.attach(work.session, request.main_id, request.account.id, _origin(request), work.now)
    request.note(
        work.now,
        "attached",
        customer_number=account.customer_number,
        main_customer_number=request.main.customer_number,
    )
    return None


def _origin(request: Request) -> Origin:
    if request.kind is Kind.ORDER:
        return Origin.ORDER
    # Nobody's wish: only what nobody has asked for is the invoice's doing.
    billed = request.requested_by is None and request.asked_proof is ProofMethod.COLLECTIVE_INVOICE
    return Origin.COLLECTIVE_INVOICE if billed else Origin.LINK
