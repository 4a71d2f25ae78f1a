"""The page on which an administrator requires all people of the company to use a second factor at sign-in."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response

from models.accounts.accounts import Account, account_by_number
from models.errors import FactorNeeded, TooEarly
from models.people.company_factor import GRACE, demand_factor, people_concerned, stop_demanding_factor
from models.people.rights import Action
from web.portal.page.account_access import ensure_right
from web.portal.page.form_errors import too_often_text
from web.portal.page.login_session import principal
from web.portal.people.users import users
from web.resources import resources

MOST_NAMED = 100
"""The most people without a second factor that the page names."""


@users.route("/benutzer/<customer_number>/zweiter-faktor", methods=["GET", "POST"])
@login_required
def company_factor(customer_number: str) -> Response | tuple[str, int]:
    """Show whether the company requires a second factor of its people; on POST require it or stop requiring it.

    The form field `demand` is "no" to stop, and anything else to require it. The POST redirects to the list of users
    with a message; after too many changes within a day it changes nothing, and the message says so. If the signed-in
    user has no second factor, a POST changes nothing and shows the page with status 409. Abort with 404 unless the user
    administers the account, and for a sub-account, because its main account decides.
    """
    form, refused = FlaskForm(), False
    with resources().database.transaction() as session:
        account = ensure_right(account_by_number(session, customer_number), Action.MANAGE_USERS)
        if account.main_id is not None:
            abort(404)
        count, without = people_concerned(session, account)
    if form.validate_on_submit():
        change = stop_demanding_factor if request.form.get("demand") == "no" else demand_factor
        try:
            with resources().database.transaction() as session:
                change(session, principal(), session.get_one(Account, account.id), resources().clock())
        except FactorNeeded:
            refused = True
        except TooEarly as error:
            flash(too_often_text(error), "warning")
            return redirect(url_for("users.listed", customer_number=customer_number), 303)
        else:
            flash(gettext("That is saved."))
            return redirect(url_for("users.listed", customer_number=customer_number), 303)
    page = render_template(
        "people/users/company_factor.html",
        account=account,
        count=count,
        without=without,
        most=MOST_NAMED,
        days=GRACE.days,
        may_demand=current_user.has_factor,
    )
    return page, 409 if refused else 200
