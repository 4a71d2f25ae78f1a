"""The page about the user's security: second factors, and the browsers in which the user is signed in.

A login is the database row of one browser in which the user is signed in.
"""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask_babel import gettext
from flask_login import current_user, login_required
from werkzeug.wrappers import Response

from models.people.login_sessions import end_login, end_logins, logins_of
from models.people.second_factors import factors_of, recovery_codes_left
from models.people.sign_in_log import SignedOut, record_sign_out
from web.portal.page.browser_names import browser_name, here
from web.portal.page.login_session import principal
from web.portal.people.own_password import OwnPasswordForm, is_own_password
from web.portal.people.passkey_site import passkey_site
from web.resources import resources

logins = Blueprint("logins", __name__)


@logins.get("/anmeldung")
@login_required
def overview() -> str:
    """Show the user's second factors, and the browsers in which the user is signed in, with times of sign-in."""
    with resources().database.transaction() as session:
        listed = logins_of(session, principal().user_id, resources().clock())
        factors = factors_of(session, principal().user_id)
        codes_left = recovery_codes_left(session, principal().user_id)
    rows = [(login, browser_name(login.user_agent), login.id == current_user.login_id) for login in listed]
    return render_template(
        "people/logins/overview.html",
        listed=rows,
        person=principal(),
        factors=factors,
        codes_left=codes_left,
        takes_passkeys=passkey_site() is not None,
        is_last_needed=len(factors) == 1 and current_user.factor_required_from is not None,
    )


@logins.route("/anmeldung/<int:id>/beenden", methods=["GET", "POST"])
@login_required
def end(id: int) -> Response | tuple[str, int]:
    """Show in which browser the user's login `id` is, with a form for the user's password; on POST end that login.

    The POST signs that browser out and redirects to the list of browsers. A wrong password shows the form with its
    error, with status 422; after too many, the answer is 429. Abort with 404 if the user has no such login.
    """
    form = OwnPasswordForm()
    with resources().database.transaction() as session:
        listed = logins_of(session, principal().user_id, resources().clock())
    found = next((login for login in listed if login.id == id), None)
    if found is None:
        abort(404)
    if not (form.validate_on_submit() and is_own_password(form.password)):
        browser = browser_name(found.user_agent)
        page = render_template("people/logins/end.html", form=form, ended=found, browser=browser)
        return page, 422 if form.errors else 200
    with resources().database.transaction() as session:
        record_sign_out(session, principal().user_id, SignedOut.ONE, here(), resources().clock())
        end_login(session, principal().user_id, id)
    flash(gettext("Signed out there."))
    return redirect(url_for("logins.overview"), 303)


@logins.route("/anmeldung/andere/beenden", methods=["GET", "POST"])
@login_required
def end_others() -> Response | tuple[str, int]:
    """Show a form for the user's password; on POST sign out all other browsers, and redirect to the list of browsers.

    A wrong password shows the form with its error, with status 422; after too many, the answer is 429.
    """
    form = OwnPasswordForm()
    if not (form.validate_on_submit() and is_own_password(form.password)):
        return render_template("people/logins/end.html", form=form, ended=None), 422 if form.errors else 200
    with resources().database.transaction() as session:
        record_sign_out(session, principal().user_id, SignedOut.OTHERS, here(), resources().clock())
        end_logins(session, principal().user_id, but=current_user.login_id)
    flash(gettext("You are signed in nowhere else any more."))
    return redirect(url_for("logins.overview"), 303)
