"""Who may see a request, and who may change it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import LEADS, Action, Principal, may
from models.requests.requests import Request
from models.states import OF_CONTRACTS, Kind


def concerns(session: Session, principal: Principal, request: Request) -> bool:
    """Return whether the person may see the request.

    They may view its main account or, of a detach request or one about contracts, the account that it is about.
    """
    of_both = request.kind in OF_CONTRACTS | {Kind.DETACH}
    sides = [request.main_id, request.account_id] if of_both else [request.main_id]
    return any(_may(session, principal, Action.VIEW, id) for id in sides)


def may_change(session: Session, principal: Principal, request: Request) -> bool:
    """Return whether the person may give the request's proofs, cancel it and retry it.

    An order, a link or a switch needs the right to order or link for the main account that asks, and one about
    contracts (a change, more numbers, a cancellation) that to change the account's contracts. A detach request needs
    the right to detach the sub-account, and a role on the side that has asked for it: the other side can neither keep
    the account nor let it go by changing that request.
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
        case Kind.CHANGE | Kind.NUMBERS | Kind.CANCEL:
            return _may(session, principal, Action.CHANGE_CONTRACT, request.account_id)


def acts_for(principal: Principal, account_id: int) -> bool:
    """Return whether the person acts for the account: by a role there that orders, links and detaches.

    A person with an API token acts for the token's account only.
    """
    return principal.token_account_id in (None, account_id) and principal.roles.get(account_id) in LEADS


def _may(session: Session, principal: Principal, action: Action, account_id: int | None) -> bool:
    # An account that has left its main account is hidden from the front, when row-level security is on.
    account = session.get(Account, account_id) if account_id is not None else None
    return account is not None and may(principal, action, account)
