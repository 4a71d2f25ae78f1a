"""Functions that look up the account or SIP trunk of a page and check that the signed-in user may see it."""

from __future__ import annotations

from dataclasses import dataclass

from flask import abort
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, account_by_number
from models.errors import Forbidden
from models.links.collective_invoices import is_billed_together
from models.people.looks import record_look
from models.people.rights import Action, may, through_main
from models.requests.request_rights import concerns
from models.requests.requests import Request
from models.states import AccountState, Kind
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from models.views import locations as listing
from web.portal.page.login_session import principal
from web.resources import resources


@dataclass(frozen=True, slots=True)
class VisibleAccount:
    """An account that the user may see, its main account, and the running requests about it that the user may see.

    `main` is the account's main account. For an account that is still on order, `main` is the account that ordered it;
    for any other account without a main account it is None.
    """

    account: Account
    main: Account | None
    running: list[Request]
    is_billed_together: bool
    """Whether a collective invoice of its main account bills the account, so that the customer cannot detach it."""

    @property
    def detaching(self) -> Request | None:
        """Return the running request that detaches the account from its main account; None if there is none."""
        return next((found for found in self.running if found.kind is Kind.DETACH), None)

    @property
    def is_foreign(self) -> bool:
        """Return whether the user sees the account only by a role in its main account or in the one that orders it."""
        person = principal()
        # An ordered account has neither a main account nor users of its own.
        seen_by_order = not may(person, Action.VIEW, self.account)
        return seen_by_order or through_main(person, Action.VIEW, self.account) is not None

    @property
    def may_detach(self) -> bool:
        """Return whether the user may detach the account from its main account."""
        return self.account.main_id is not None and may(principal(), Action.DETACH, self.account)


def ensure_right(account: Account | None, action: Action) -> Account:
    """Return the account if the user may perform the action on it; otherwise the answer is status 404.

    Raises `Forbidden` if the user has a role in the account or in its main account, or is one of the carrier's staff.
    The error handler of the app then answers 404 and records the refusal in the audit log. For any other account, and
    for None, abort with 404 without a record: an entry would tell the user's company that the account exists.
    """
    if account is None:
        abort(404)
    if may(principal(), action, account):
        return account
    if principal().is_staff or {account.id, account.main_id} & principal().roles.keys():
        raise Forbidden
    abort(404)


def get_visible_account(database: Session, customer_number: str) -> VisibleAccount:
    """Return the account with this customer number, and the running requests about it that the user may see.

    Abort with 404 if there is no such account, if it is closed, or if the user may view neither the account nor its
    running order. If such a user has a role in the account or in its main account, raise `Forbidden` instead, which is
    answered with 404 and recorded in the audit log.
    """
    account = account_by_number(database, customer_number)
    if account is None or account.state is AccountState.CLOSED:
        abort(404)
    # Requests of other main accounts are not shown.
    about = listing.running_about(database, account)
    running = [found for found in about if concerns(database, principal(), found)]
    # An ordered account has no main account yet. A user who sees its order sees it, unless it was detached since.
    is_ordered = account.state is AccountState.ORDERED
    orders = (found.main_id for found in running if found.kind is Kind.ORDER)
    coming = next((main_id for main_id in orders if is_ordered or main_id == account.main_id), None)
    if coming is None and not may(principal(), Action.VIEW, account):
        ensure_right(account, Action.VIEW)
    main_id = account.main_id or coming
    main = database.get(Account, main_id) if main_id is not None else None
    return VisibleAccount(account, main, running, is_billed_together(database, account))


def get_visible_trunk(customer_number: str, id: int, right: Action) -> tuple[Account, SipTrunk]:
    """Return the account with this customer number and its SIP trunk `id`, both read in a transaction of its own.

    `right` is what the user wants to do with the trunk. Abort with 404 if the user may not view the account. Raises
    `NotFound` if the account has no such trunk, and `Forbidden` if the user may not perform the action `right`; both
    are answered with 404, too. A view by a user of the main account or by the carrier's staff is recorded in the
    account's audit log.
    """
    with resources().database.transaction() as database:
        account = get_visible_account(database, customer_number).account
        trunk = find_trunk(database, principal(), right, account, id)
        record_look(database, principal(), account, resources().clock())
    return account, trunk
