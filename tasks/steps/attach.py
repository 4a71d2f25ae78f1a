"""The step `attach`: make the account a sub-account of the main account; the database enforces the hierarchy."""

from __future__ import annotations

from models.accounts import hierarchy
from models.accounts.locks import lock_accounts
from models.errors import AlreadyAttached
from models.links.switches import switch_account
from models.requests.contract_requests import hand_over_requests
from models.requests.requests import Request
from models.states import Kind, Origin, ProofMethod
from tasks.steps.step import Outcome, Work


def attach(work: Work, request: Request) -> Outcome:
    """Make the account a sub-account of the request's main account, and add a timeline entry. Returns None.

    A switch takes the account away from its former main account, which has agreed, in the same transaction. Running
    requests about the account's contracts belong to the new main account from then on. Any other request raises
    `AlreadyAttached`, which rejects the request, if the account has a main account already, even this one: another
    request was faster. Of several requests at the same time exactly one succeeds. Safe to run twice, because attaching
    and the request's next step are saved in one transaction.
    """
    account = request.account
    assert account is not None
    lock_accounts(work.session, [account.id])
    if account.main_id is None:
        hierarchy.attach(work.session, request.main_id, account.id, _origin(request), work.now)
    elif request.kind is Kind.SWITCH:
        switch_account(work.session, request, account, work.now)
    else:
        raise AlreadyAttached(account.customer_number)
    if request.kind is not Kind.ORDER:
        # Nobody could ask for anything in an account that has just been ordered.
        hand_over_requests(work.session, account, work.now)
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
    # Only a request without a requester was created by the job `invoices`.
    billed = request.requested_by is None and request.asked_proof is ProofMethod.COLLECTIVE_INVOICE
    return Origin.COLLECTIVE_INVOICE if billed else Origin.LINK
