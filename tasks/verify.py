"""verify: may this be done at all? Ownership for a link, the rules of the house for an order."""

from __future__ import annotations

from datetime import timedelta

from models.accounts import Account, promote
from models.errors import RuleBroken
from models.links import find_proof
from models.orders import area_code_fits, ordered_basket
from models.requests import Request
from models.states import Actor, Kind, Reason
from tasks.steps import Hold, Outcome, Wait, Work

TIME_TO_CORRECT = timedelta(days=14)
POOL_LOOKED_AT_AGAIN = timedelta(minutes=15)


def verify(work: Work, request: Request) -> Outcome:
    """Check the request against the rules. Safe to run twice: it only reads, but for the proof it records."""
    return _verify_order(work, request) if request.kind is Kind.ORDER else _verify_link(work, request)


def _verify_order(work: Work, request: Request) -> Outcome:
    assert request.area_code is not None and request.block_size is not None
    ordered_basket(work.session, request)
    if not area_code_fits(request):
        if request.waiting_until is not None and request.waiting_until <= work.now:
            raise RuleBroken(Reason.PROOF_EXPIRED)
        until = request.waiting_until or work.now + TIME_TO_CORRECT
        return Wait(Actor.REQUESTER, Reason.AREA_CODE_MISMATCH, until)
    # From here on it is a main account, so that nothing can pull it away while its order is provisioned.
    promote(work.session, request.main_id)
    if not work.pool.has(request.area_code, request.block_size):
        return Hold(Reason.NO_NUMBERS_AVAILABLE, POOL_LOOKED_AT_AGAIN)
    # The e-mail and address proofs are not built yet, and the timeline does not pretend otherwise.
    request.note(work.now, "order_verified")
    return None


def _verify_link(work: Work, request: Request) -> Outcome:
    proof = find_proof(work.session, request, work.now)
    if proof is None:
        raise RuleBroken(Reason.OWNERSHIP_NOT_PROVEN)
    request.account = work.session.get_one(Account, proof.account_id)
    request.note(work.now, f"proved_{proof.method}")
    return None
