"""The summary, the last step of an order: its template variables, its form, and the placing of the order."""

from __future__ import annotations

from typing import Any

from flask import flash, request, url_for
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.contract_holders import holder_of
from models.orders.drafts import (
    Draft,
    DraftStep,
)
from models.orders.holder_changes import set_holder
from models.orders.local_user import reaches_sub_accounts
from models.orders.same_sites import same_site
from models.people.rights import Action, may
from models.people.users import User
from models.proofs.order_placement import place_order
from models.proofs.required_proofs import draft_proofs
from models.requests.requests import Request
from tasks.wording.contract_terms import terms_text
from web.portal.orders.wizard import SLUGS, Wizard
from web.portal.page.directory_form import PUBLICATION_NAMES
from web.portal.page.holder_form import HolderFields
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.resources import resources

AGAIN = "again"
"""The name of the checkbox with which a location is ordered although a sub-account has its name and address.

Its value is the customer number of that sub-account.
"""


def summary_facts(session: Session, wizard: Wizard, holder_form: HolderFields | None = None) -> dict[str, Any]:
    """Return the variables of the summary's template by name. Call only if all other steps are valid.

    `holder_form` has the contract holder that the user has typed, to be shown again; None for an empty form.
    """
    order = wizard.order(locale())
    twin = same_site(session, wizard.account, order.location)
    proofs = draft_proofs(session, wizard.account.id, order, session.get_one(User, principal().user_id))
    return {
        "wizard": wizard,
        "step": DraftStep.SUMMARY,
        "order": order,
        "email_known": not proofs.awaits_email,
        "address_known": not proofs.awaits_address,
        "publication_names": PUBLICATION_NAMES,
        "twin": twin,
        "twin_unconfirmed": twin is not None
        and request.form.get("shown") == wizard.fingerprint
        and not _is_confirmed(twin),
        "terms": terms_text(wizard.terms, locale()),
        "holder": holder_of(session, wizard.account),
        "holder_form": holder_form or HolderFields(),
        "may_change_holder": may(principal(), Action.MANAGE_HOLDER, wizard.account),
        "local_user_leads": order.local_user is not None
        and reaches_sub_accounts(session, wizard.account.id, order.local_user.email),
        "here": url_for("orders.show_step", id=wizard.id, slug=SLUGS[DraftStep.SUMMARY]),
    }


def refusal_of(session: Session, wizard: Wizard, typed: HolderFields) -> int:
    """Check the submitted summary; return the HTTP status with which to show it again, 0 if the order can be placed.

    The status is 409, with a message, if the order or a price has changed since the page was shown. It is 422 if the
    typed contract holder is wrong. It is also 422 if a sub-account has this name and address already, unless the user
    has ticked the box to order it again. With the result 0, a typed contract holder has been saved, unless the account
    had one already.
    """
    if request.form.get("shown") != wizard.fingerprint:
        flash(_("The order or a price has changed since this page was shown. Please check it once more."), "warning")
        return 409
    twin = same_site(session, wizard.account, wizard.order(locale()).location)
    if twin is not None and not _is_confirmed(twin):
        return 422
    return 0 if _enter_holder(session, wizard.account, typed) else 422


def submit(session: Session, draft: Draft, wizard: Wizard) -> Request:
    """Place the order at the prices that the summary showed, and return its request.

    Also extends the time for which the draft is kept. Raises `LimitReached` if a limit of the company does not allow
    the order, and errors such as `InvalidField` if it breaks another rule. Does not commit.
    """
    now = resources().clock()
    draft.touch(now)
    shown = {product.key: line for product, line in wizard.priced}
    usual = resources().settings.limits
    order = place_order(session, principal(), draft.account, wizard.order(locale()), now, usual, shown)
    session.flush()
    return order


def _enter_holder(session: Session, account: Account, form: HolderFields) -> bool:
    """Save the contract holder typed on the summary; return False if it is wrong, with errors at the form's fields.

    Return True without saving if no field is filled in, or if the account has a contract holder already.
    """
    if form.is_empty or holder_of(session, account) is not None:
        return True
    now = resources().clock()
    data = form.checked(now)
    if data is not None:
        set_holder(session, principal(), account, data, now)
    return data is not None


def _is_confirmed(twin: Account) -> bool:
    """Return whether the user has ticked the box that orders the location of the sub-account `twin` a second time."""
    return request.form.get(AGAIN) == twin.customer_number
