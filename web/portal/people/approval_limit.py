"""The page on which an administrator sets from which monthly sum orders wait for a second person's approval."""

from __future__ import annotations

import re

from flask import abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from flask_login import login_required
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import StringField
from wtforms.validators import DataRequired, Regexp

from models.accounts.accounts import Account, account_by_number
from models.errors import SecondPersonNeeded, TooEarly
from models.people.rights import Action
from models.requests.approvals import TIME_TO_APPROVE, leaders_of, set_approval_limit
from models.states import Origin
from web.portal.page.account_access import ensure_right
from web.portal.page.form_errors import too_often_text
from web.portal.page.login_session import principal
from web.portal.page.typed_fields import strip
from web.portal.people.users import users
from web.resources import resources


class ApprovalLimitForm(FlaskForm):  # type: ignore[misc]
    """The form for the monthly sum, in whole euros, from which orders wait for an approval."""

    sum = StringField(
        lazy_gettext("From how many euros a month, without VAT"),
        filters=[strip],
        validators=[
            DataRequired(lazy_gettext("Please enter a sum.")),
            Regexp(
                re.compile(r"[1-9][0-9]{0,5}\Z", re.ASCII),
                message=lazy_gettext("Please enter whole euros, from 1 to 999999."),
            ),
        ],
    )


@users.route("/benutzer/<customer_number>/freigabe", methods=["GET", "POST"])
@login_required
def approval_limit(customer_number: str) -> Response | tuple[str, int]:
    """Show from which monthly sum orders wait for a second person; on POST set that sum, or end it with `off` = "yes".

    A POST redirects to the list of users with a message; after too many changes within a day it changes nothing, and
    the message says so. A faulty sum shows the form with the error (status 422). If only one person could order, no sum
    is set, and the page says why (status 409). Abort with 404 unless the user administers the account, and for a
    sub-account whose main account pays, because that one decides.
    """
    form, refused = ApprovalLimitForm(), False
    ends = request.form.get("off") == "yes"
    with resources().database.transaction() as session:
        account = ensure_right(account_by_number(session, customer_number), Action.MANAGE_USERS)
        if account.main_id is not None and account.origin is not Origin.LINK:
            abort(404)
        leaders = leaders_of(session, account.id)
    if (FlaskForm() if ends else form).validate_on_submit():
        cents = None if ends else int(form.sum.data) * 100
        try:
            with resources().database.transaction() as session:
                found = session.get_one(Account, account.id)
                set_approval_limit(session, principal(), found, cents, resources().clock())
        except SecondPersonNeeded:
            refused = True
        except TooEarly as error:
            flash(too_often_text(error), "warning")
            return redirect(url_for("users.listed", customer_number=customer_number), 303)
        else:
            flash(gettext("That is saved."))
            return redirect(url_for("users.listed", customer_number=customer_number), 303)
    page = render_template(
        "people/users/approval_limit.html", account=account, form=form, leaders=leaders, days=TIME_TO_APPROVE.days
    )
    return page, 409 if refused else 422 if form.errors else 200
