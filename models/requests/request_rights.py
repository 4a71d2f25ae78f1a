"""Rights on requests: who may see a request, and who may change it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import LEADS, Action, Principal, may
from models.requests.requests import Request
from models.states import OF_CONTRACTS, Kind


def concerns(session: Session, principal: Principal, request: Request) -> bool:
    """Return whether the person may see the request: they may view the main account that made it.

    For a detach request, or a request about contracts, the right to view the account concerned is enough, too.
    """
    of_both = request.kind in OF_CONTRACTS | {Kind.DETACH}
    sides = [request.main_id, request.account_id] if of_both else [request.main_id]
    return any(_may(session, principal, Action.VIEW, id) for id in sides)


def may_change(session: Session, principal: Principal, request: Request) -> bool:
    """Return whether the person may cancel or retry the request and submit its proofs.

    For an order, link or switch they need the right to order or link for the requesting main account. For a request
    about contracts (change, more numbers, move, cancellation) they need the right to change the account's contracts.
    For a detach request they need the right to detach the sub-account, and a role in the account that made the request.
    So the other account can neither stop the detachment nor bring it about.
    """
    match request.kind:
        case Kind.ORDER:
            return _may(session, principal, Action.ORDER, request.main_id)
        case Kind.LINK | Kind.SWITCH:
            return _may(session, principal, Action.LINK, request.main_id)
        case Kind.DETACH:
            side = request.account_id if request.by_sub_account else request.main_id
            return (
                side is not None
                and acts_for(principal, side)
                and _may(session, principal, Action.DETACH, request.account_id)
            )
        case Kind.CHANGE | Kind.NUMBERS | Kind.MOVE | Kind.CANCEL:
            return _may(session, principal, Action.CHANGE_CONTRACT, request.account_id)


def acts_for(principal: Principal, account_id: int) -> bool:
    """Return whether the person may act for the account: they have a role there that may order, link and detach.

    A person with an API token acts only for the token's account.
    """
    return principal.token_account_id in (None, account_id) and principal.roles.get(account_id) in LEADS


def _may(session: Session, principal: Principal, action: Action, account_id: int | None) -> bool:
    # An account that has left its main account is hidden from the front, when row-level security is on.
    account = session.get(Account, account_id) if account_id is not None else None
    return account is not None and may(principal, action, account)
