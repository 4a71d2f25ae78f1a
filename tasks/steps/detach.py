"""The step `detach`: unlink a sub-account from its main account. Its logins, numbers, contract and address stay."""

from __future__ import annotations

from models.accounts import hierarchy
from models.accounts.accounts import Account
from models.orders.holder_changes import keep_holder_of
from models.people.invitations import void_foreign_invitations
from models.proofs.main_consents import wake_switches
from models.requests.contract_requests import hand_over_requests
from models.requests.requests import Request
from models.states import Origin
from tasks.steps.step import Outcome, Work


def detach(work: Work, request: Request) -> Outcome:
    """Detach the account from its main account. Returns None: the step is done.

    Also deletes invitations to the account that the main account's people sent. Running requests about the account's
    contracts become those of the account itself. Switches that wait for the main account's consent continue without it.
    If the account was ordered and has no contract holder of its own, it is given that of the main account. Raises
    `RuleBroken`, which rejects the request, if the account is not attached to this main account any more.
    """
    assert request.account_id is not None
    account = work.session.get_one(Account, request.account_id)
    was_ordered = account.origin is Origin.ORDER
    hierarchy.detach(work.session, request.main_id, account.id)
    if was_ordered:
        keep_holder_of(work.session, request.main_id, account, work.now)
    void_foreign_invitations(work.session, account)
    hand_over_requests(work.session, account, work.now)
    wake_switches(work.session, account, work.now)
    request.note(
        work.now,
        "detached",
        customer_number=account.customer_number,
        main_customer_number=request.main.customer_number,
    )
    return None
