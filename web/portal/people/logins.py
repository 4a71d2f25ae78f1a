"""The pages for the user's own logins, password and data: signed-in browsers, new password, own data, erasure.

A login is the database row of one browser in which the user is signed in.
"""

from __future__ import annotations

import json
import re

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import EmailField, PasswordField
from wtforms.validators import DataRequired, Length

from models.errors import LastAdministrator, PasswordGuessable
from models.people.login_changes import Where
from models.people.logins import (
    ask_for_reset,
    end_login,
    end_logins,
    logins_of,
    reset_password,
    set_password,
    user_by_reset,
)
from models.people.passwords import (
    SHORTEST_PASSWORD,
    authenticate,
)
from models.people.second_factors import factors_of, recovery_codes_left
from models.people.users import User
from models.staff.erasing_people import ask_for_erasure, only_administrator_of
from models.views.person_data import person_data
from tasks.wording.person_data import worded
from web.portal.page.downloads import attachment
from web.portal.page.form_errors import add_error
from web.portal.page.known_browsers import remember_browser, this_browser
from web.portal.page.locale import locale
from web.portal.page.session import create_login, end_session, principal, start_session
from web.portal.people.own_password import is_own_password, own_password_field
from web.portal.people.passkey_site import passkey_site
from web.resources import resources

logins = Blueprint("logins", __name__)

# In this order, because browsers also name the browsers that they imitate.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def new_password_field() -> PasswordField:
    """Create a form field for a new password, which must have at least `SHORTEST_PASSWORD` (12) characters."""
    return PasswordField(
        lazy_gettext("New password"),
        validators=[
            DataRequired(lazy_gettext("Please enter a new password.")),
            Length(SHORTEST_PASSWORD, 1024, lazy_gettext("A password has at least 12 characters.")),
        ],
    )


def add_guessable(field: PasswordField) -> None:
    """Add to the field the error message for a new password that is too easy to guess."""
    add_error(
        field,
        gettext("This password is easy to guess. Take several words that have nothing to do with you."),
    )


class ForgottenForm(FlaskForm):  # type: ignore[misc]
    """The form that requests a mail with a link to reset a forgotten password."""

    email = EmailField(
        lazy_gettext("E-mail address"),
        validators=[DataRequired(lazy_gettext("Please enter your e-mail address.")), Length(max=254)],
    )


class NewPasswordForm(FlaskForm):  # type: ignore[misc]
    """The form for a new password. It has no second field for it: the password can be shown while it is typed."""

    password = new_password_field()


class ChangePasswordForm(FlaskForm):  # type: ignore[misc]
    """The form for a new password of a user who knows the current one."""

    current = PasswordField(
        lazy_gettext("Current password"),
        validators=[DataRequired(lazy_gettext("Please enter your current password.")), Length(max=1024)],
    )
    password = new_password_field()


class OwnPasswordForm(FlaskForm):  # type: ignore[misc]
    """The form for the user's own password, before the file with their data is made or their login is erased."""

    password = own_password_field()


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


@logins.route("/anmeldung/daten", methods=["GET", "POST"])
@login_required
def own_data() -> str | Response | tuple[str, int]:
    """Show what the file with the user's own data contains; a POST with the user's password downloads the file as JSON.

    The parts and fields of the file are named in the page's language. A wrong password shows the page with an error,
    with status 422; after too many, the answer is 429.
    """
    form = OwnPasswordForm()
    if not form.validate_on_submit() or not is_own_password(form.password):
        return render_template("people/logins/own_data.html", form=form), 422 if form.errors else 200
    with resources().database.transaction() as session:
        data = worded(person_data(session, session.get_one(User, principal().user_id)), locale())
    content = json.dumps(data, ensure_ascii=False, indent=2)
    return Response(content, mimetype="application/json", headers=attachment(gettext("my-data") + ".json"))


@logins.route("/anmeldung/loeschen", methods=["GET", "POST"])
@login_required
def erase() -> str | Response | tuple[str, int]:
    """Show what erasing the user's login takes away and what is kept, and why; on POST with the password erase it.

    The POST signs the user out and redirects to sign-in. Nothing is done, with status 409, for the only administrator
    of an account, and for the carrier's staff; the page says what they can do. A wrong password gives status 422; after
    too many, the answer is 429.
    """
    form = OwnPasswordForm()
    confirmed = form.validate_on_submit() and is_own_password(form.password)
    now = resources().clock()
    status = 422 if form.errors else 200
    with resources().database.transaction() as session:
        user = session.get_one(User, principal().user_id)
        left, is_staff = only_administrator_of(session, user), user.is_staff
    if confirmed and not left and not is_staff:
        try:
            with resources().database.transaction() as session:
                ask_for_erasure(session, session.get_one(User, principal().user_id), now)
        except LastAdministrator:
            # Another administrator has left at the same moment.
            return redirect(url_for("logins.erase"), 303)
        end_session()
        flash(gettext("Your login is deleted. Within minutes your name and address are gone, too."))
        return redirect(url_for("people.sign_in"), 303)
    if confirmed:
        status = 409
    return render_template("people/logins/erase.html", form=form, left=left, is_staff=is_staff), status


@logins.post("/anmeldung/<int:id>/beenden")
@login_required
def end(id: int) -> Response:
    """End the user's login `id`, so that its browser is signed out, and redirect to the list of browsers.

    Does nothing if the user has no such login.
    """
    with resources().database.transaction() as session:
        end_login(session, principal().user_id, id)
    flash(gettext("Signed out there."))
    return redirect(url_for("logins.overview"), 303)


@logins.post("/anmeldung/andere/beenden")
@login_required
def end_others() -> Response:
    """Sign out all browsers of the user except the current one, and redirect to the list of browsers."""
    with resources().database.transaction() as session:
        end_logins(session, principal().user_id, but=current_user.login_id)
    flash(gettext("You are signed in nowhere else any more."))
    return redirect(url_for("logins.overview"), 303)


@logins.route("/anmeldung/passwort", methods=["GET", "POST"])
@login_required
def change() -> Response | tuple[str, int]:
    """Show the form for the current and a new password.

    On POST with the right current password set the new one, sign out all other browsers and redirect to the list of
    browsers. If the current password is wrong, or the new one is too short or too easy to guess, show the form with
    its errors, with status 422; after too many wrong passwords, the answer is 429.
    """
    form = ChangePasswordForm()
    if form.validate_on_submit():
        resources().throttle.begin_own_password_try(current_user.login_id)
        try:
            with resources().database.transaction() as session:
                user = authenticate(session, principal().email, form.current.data)
                person = None
                if user is not None:
                    set_password(session, user, form.password.data, here(), resources().clock())
                    person = create_login(session, user, factor_at=current_user.factor_at)
        except PasswordGuessable:
            add_guessable(form.password)
        else:
            if person is not None:
                start_session(person)
                flash(gettext("Your password is changed. Everywhere else you are signed out."))
                return redirect(url_for("logins.overview"), 303)
            resources().throttle.count_wrong_try()
            add_error(form.current, gettext("This is not your current password."))
    return render_template("people/logins/change.html", form=form), 422 if form.errors else 200


@logins.route("/passwort", methods=["GET", "POST"])
def forgotten() -> Response | tuple[str, int]:
    """Show the form for a forgotten password; on POST send a link by mail and redirect to a page that says so.

    The answer is the same whether or not there is a user with this e-mail address. Every request with a valid address
    is counted; after too many, the request is answered with 429. A malformed address shows the form with an error,
    status 422.
    """
    form = ForgottenForm()
    if form.validate_on_submit():
        throttle = resources().throttle
        # Every attempt counts, to prevent floods of mails and guessing of addresses.
        throttle.begin_mail_request(form.email.data, this_browser(form.email.data))
        throttle.count_wrong_try()
        with resources().database.transaction() as session:
            ask_for_reset(session, form.email.data, resources().clock())
        return redirect(url_for("logins.asked"), 303)
    return render_template("people/logins/forgotten.html", form=form), 422 if form.errors else 200


@logins.get("/passwort/unterwegs")
def asked() -> str:
    """Show what the user can do after a link to reset a password was requested."""
    return render_template("people/logins/reset_link_sent.html")


@logins.route("/passwort/<int:user_id>/<int:issued>/<token>", methods=["GET", "POST"])
def reset(user_id: int, issued: int, token: str) -> Response | tuple[str, int]:
    """Show the form for a new password behind the link in the mail; on POST set the password and redirect to sign-in.

    `user_id`, `issued` and `token` are the parts of the link: the user, the Unix time at which the link was made, and
    the secret. A POST also signs the user out in all browsers, and makes this one known to the user. A link that is
    wrong or no longer valid shows a page that says so, with status 404.
    """
    form = NewPasswordForm()
    if (user := _user(user_id, issued, token)) is None:
        return render_template("people/logins/reset_link_invalid.html"), 404
    if form.validate_on_submit():
        try:
            with resources().database.transaction() as session:
                now = resources().clock()
                found = user_by_reset(session, resources().vault, user_id, issued, token, now, lock=True)
                if found is None:
                    abort(404)
                reset_password(session, found, form.password.data, now, where=here())
                remember_browser(found)
        except PasswordGuessable:
            add_guessable(form.password)
        else:
            end_session()
            flash(gettext("Your new password is set. Please sign in with it."))
            return redirect(url_for("people.sign_in"), 303)
    return render_template("people/logins/reset.html", form=form, user=user), 422 if form.errors else 200


def _user(user_id: int, issued: int, token: str) -> User | None:
    with resources().database.transaction() as session:
        return user_by_reset(session, resources().vault, user_id, issued, token, resources().clock())


def browser_name(user_agent: str) -> str:
    """Return the browser and operating system that a User-Agent header names: "Firefox, Windows".

    A part that is not recognized is left out; without both, returns "Unknown browser" in the user's language.
    """
    return known_browser_name(user_agent) or gettext("Unknown browser")


def known_browser_name(user_agent: str) -> str:
    """Return the browser and operating system that a User-Agent header names; empty if neither is recognized."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), None)
    system = next((name for sign, name in _SYSTEMS if re.search(rf"\b{sign}\b", user_agent)), None)
    return ", ".join(filter(None, (browser, system)))


def here() -> Where:
    """Return the browser and the address of the current request, as mails about logins name them."""
    return Where(known_browser_name(request.user_agent.string), request.remote_addr or "")
