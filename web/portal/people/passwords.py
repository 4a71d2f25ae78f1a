"""The pages on which users change their password, or set a forgotten or first one by a mailed link."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext, lazy_gettext
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import EmailField, PasswordField
from wtforms.validators import DataRequired, Length

from models.errors import PasswordGuessable
from models.people.password_links import ask_for_reset, reset_password, set_password, user_by_reset
from models.people.passwords import (
    SHORTEST_PASSWORD,
    authenticate,
)
from models.people.sign_in_log import Refused
from models.people.users import User
from web.portal.page.browser_names import here
from web.portal.page.form_errors import add_error
from web.portal.page.known_browsers import remember_browser, this_browser
from web.portal.page.login_session import create_login, end_session, principal, start_session
from web.portal.people.access_log import count_refused_sign_in
from web.portal.people.login_sessions import logins
from web.resources import resources


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
    """The form for a new password. The password is typed once, because it can be shown while it is typed."""

    password = new_password_field()


class ChangePasswordForm(FlaskForm):  # type: ignore[misc]
    """The form for a new password of a user who knows the current one."""

    current = PasswordField(
        lazy_gettext("Current password"),
        validators=[DataRequired(lazy_gettext("Please enter your current password.")), Length(max=1024)],
    )
    password = new_password_field()


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
            count_refused_sign_in(principal().email, Refused.OWN_PASSWORD)
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
    the secret. A POST also signs the user out in all browsers. The browser that sent it counts as known to the user
    from then on. A link that is wrong or no longer valid shows a page that says so, with status 404.
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
