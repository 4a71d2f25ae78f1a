"""Who may see a request, and who may change it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import LEADS, Action, Principal, may
from models.requests.requests import Request
from models.states import Kind


def concerns(session: Session, principal: Principal, request: Request) -> bool:
    """Return whether the person may see the request.

    They may view its main account or, of a detach request or a change, the account that it is about.
    """
    of_both = request.kind in (Kind.DETACH, Kind.CHANGE)
    sides = [request.main_id, request.account_id] if of_both else [request.main_id]
    return any(may(principal, Action.VIEW, session.get_one(Account, id)) for id in sides if id is not None)


def may_change(session: Session, principal: Principal, request: Request) -> bool:
    """Return whether the person may give the request's proofs, cancel it and retry it.

    An order or a link needs the right to order or link for the main account, and a change that to change the account's
    contracts. A detach request needs the right to detach the sub-account, and a role on the side that has asked for it:
    the other side can neither keep the account nor let it go by changing that request.
    """
    match request.kind:
        case Kind.ORDER:
            return may(principal, Action.ORDER, session.get_one(Account, request.main_id))
        case Kind.LINK:
            return may(principal, Action.LINK, session.get_one(Account, request.main_id))
        case Kind.DETACH:
            assert request.account_id is not None
            side = request.account_id if request.by_sub_account else request.main_id
            account = session.get_one(Account, request.account_id)
            return may(principal, Action.DETACH, account) and acts_for(principal, side)
        case Kind.CHANGE:
            assert request.account_id is not None
            return may(principal, Action.CHANGE_CONTRACT, session.get_one(Account, request.account_id))


def acts_for(principal: Principal, account_id: int) -> bool:
    """Return whether the person acts for the account: by a role there that orders, links and detaches.

    A person with an API token acts for the token's account only.
    """
    return principal.token_account_id in (None, account_id) and principal.roles.get(account_id) in LEADS
