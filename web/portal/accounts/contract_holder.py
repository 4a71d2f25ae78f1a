"""The page on which an account's administrators see and change its contract holder.

The contract holder is the company or person with whom the carrier has the account's contracts.
"""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import login_required
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from models.accounts.accounts import Account
from models.accounts.contract_holders import has_own_holder, holder_of
from models.orders.holder_changes import set_holder
from models.people.rights import Action
from models.states import AccountState
from web.portal.page.account_access import ensure_right, get_visible_account
from web.portal.page.blueprints import locations
from web.portal.page.holder_form import HolderFields, holder_values
from web.portal.page.login_session import principal
from web.resources import resources


@locations.route("/<string(length=7):customer_number>/vertragsinhaber", methods=["GET", "POST"])
@login_required
def contract_holder(customer_number: str) -> Response | str | tuple[str, int]:
    """Show the account's contract holder in a form; on a valid POST save the holder and redirect to the dashboard.

    An invalid POST shows the form with its errors, with status 422. Abort with 404 unless the account is active, has a
    contract holder of its own, and the user administers the account.
    """
    now = resources().clock()
    with resources().database.transaction() as session:
        account = get_visible_account(session, customer_number).account
        if account.state is not AccountState.ACTIVE or not has_own_holder(account):
            abort(404)
        ensure_right(account, Action.MANAGE_HOLDER)
        found = holder_of(session, account)
    if request.method == "POST":
        form = HolderFields(request.form)
        data = form.checked(now)
        if data is not None:
            with resources().database.transaction() as session:
                set_holder(session, principal(), session.get_one(Account, account.id), data, now)
            flash(_("The contract holder is saved."))
            return redirect(url_for("locations.show", customer_number=customer_number), 303)
    else:
        form = HolderFields(MultiDict(holder_values(found or account)))
    page = render_template("accounts/contract_holder.html", account=account, form=form, found=found)
    return page, 422 if form.errors else 200
