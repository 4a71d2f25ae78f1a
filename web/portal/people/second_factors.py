"""The pages on which users set up and remove their second factors, and get new recovery codes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import segno
from flask import abort, flash, redirect, render_template, url_for
from flask_babel import gettext, lazy_gettext
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from markupsafe import Markup
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import HiddenField, StringField
from wtforms.validators import DataRequired, Length

from models.errors import FactorNeeded, NotFound
from models.people.login_sessions import end_logins, note_factor
from models.people.passkeys import Answer, add_passkey, ask_for_new_passkey
from models.people.second_factors import (
    LONGEST_NAME,
    add_app,
    app_address,
    factors_of,
    find_factor,
    new_app_secret,
    open_setup,
    remove_factor,
    renew_recovery_codes,
    seal_setup,
)
from models.people.users import User
from web.portal.page.browser_names import here
from web.portal.page.form_errors import add_error
from web.portal.page.login_session import principal
from web.portal.people.login_sessions import logins
from web.portal.people.own_password import is_own_password, own_password_field
from web.portal.people.passkey_site import passkey_site
from web.resources import resources


class AppForm(FlaskForm):  # type: ignore[misc]
    """The form that adds an authenticator app; the user confirms it by the first code that the app shows.

    `setup` is a hidden field with the app's new secret, encrypted.
    """

    setup = HiddenField()
    name = StringField(
        lazy_gettext("Name"), validators=[DataRequired(lazy_gettext("Please enter a name.")), Length(max=LONGEST_NAME)]
    )
    code = StringField(
        lazy_gettext("Code from the app"),
        validators=[DataRequired(lazy_gettext("Please enter the code from the app.")), Length(max=40)],
    )
    password = own_password_field()


@logins.route("/anmeldung/app", methods=["GET", "POST"])
@login_required
def set_up_app() -> Response | str | tuple[str, int]:
    """Show a new secret for an authenticator app; on POST with the app's code and the user's password add the app.

    With the user's first factor, the recovery codes are shown, with status 201; after a further factor redirect to the
    list of factors. All other logins of the user end, because they were made without this factor. A wrong code or
    password shows the form with its errors, with status 422; after too many wrong passwords, the answer is 429. If the
    secret was shown more than half an hour ago, redirect to this page with a new secret.
    """
    form = AppForm()
    secret = open_setup(resources().vault, principal().user_id, form.setup.data or "", resources().clock())
    if secret is None:
        if form.is_submitted():
            flash(gettext("That took longer than half an hour. Please set the app up again."), "warning")
            return redirect(url_for("logins.set_up_app"), 303)
        secret = new_app_secret()
    if form.validate_on_submit() and is_own_password(form.password):
        name, vault, where, now = " ".join(form.name.data.split()), resources().vault, here(), resources().clock()
        key, typed = secret, form.code.data
        added = _add(name, lambda session, user: add_app(session, vault, user, name, key, typed, where, now))
        if added is not None:
            return added
        add_error(form.code, gettext("This is not the app's code of now. Check the time of your device."))
    form.setup.data = seal_setup(resources().vault, principal().user_id, secret, resources().clock())
    form.name.data = form.name.data or gettext("Authenticator app")
    issuer = resources().settings.carrier.name or "Standortverwaltung"
    address = app_address(secret, principal().email, issuer)
    picture = segno.make_qr(address).svg_inline(border=2, omitsize=True, svgclass=None, lineclass=None, light="#fff")
    page = render_template(
        "people/factors/app.html",
        form=form,
        address=address,
        # Made of digits only: an address that could hold tags is in its squares.
        picture=Markup(picture),  # noqa: S704
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
    )
    return page, 422 if form.errors else 200


class PasskeyForm(FlaskForm):  # type: ignore[misc]
    """The form that adds a passkey.

    `question` is a hidden field with the challenge to the device, encrypted; `credential` is the device's answer as
    JSON.
    """

    question = HiddenField()
    credential = HiddenField(validators=[Length(max=20_000)])
    name = StringField(
        lazy_gettext("Name"), validators=[DataRequired(lazy_gettext("Please enter a name.")), Length(max=LONGEST_NAME)]
    )
    password = own_password_field()


@logins.route("/anmeldung/passkey", methods=["GET", "POST"])
@login_required
def set_up_passkey() -> Response | tuple[str, int]:
    """Show the form for a new passkey; on POST with the device's answer and the user's password add the passkey.

    With the user's first factor, the recovery codes are shown, with status 201; after a further factor redirect to the
    list of factors. All other logins of the user end. A wrong answer or password shows the form with its errors, with
    status 422; after too many wrong passwords, the answer is 429. Abort with 404 if the portal's host is an IP address,
    for which there are no passkeys.
    """
    site, form = passkey_site(), PasskeyForm()
    if site is None:
        abort(404)
    if form.validate_on_submit() and is_own_password(form.password):
        name, answer = " ".join(form.name.data.split()), Answer(form.question.data or "", form.credential.data or "")
        vault, where, now = resources().vault, here(), resources().clock()
        added = _add(name, lambda session, user: add_passkey(session, vault, site, user, name, answer, where, now))
        if added is not None:
            return added
        add_error(form.name, gettext("The device has not set up a passkey. Please try again."))
    with resources().database.transaction() as session:
        user = session.get_one(User, principal().user_id)
        asked = ask_for_new_passkey(session, resources().vault, site, user, resources().clock())
    form.name.data = form.name.data or gettext("Passkey")
    page = render_template("people/factors/passkey.html", form=form, asked=asked)
    return page, 422 if form.errors else 200


@logins.route("/anmeldung/faktor/<uuid:id>/entfernen", methods=["GET", "POST"])
@login_required
def remove_own_factor(id: UUID) -> Response | tuple[str, int]:
    """Ask whether to remove the user's second factor `id`; on POST remove it and redirect to the list of factors.

    If the user is required to have a factor and this is the last one, it is not removed, and the page is shown with
    status 409. Abort with 404 if the user has no such factor.
    """
    form, refused = FlaskForm(), False
    user_id, is_required = principal().user_id, current_user.factor_required_from is not None
    try:
        with resources().database.transaction() as session:
            factor = find_factor(session, user_id, id)
            is_last = len(factors_of(session, user_id)) == 1
        if form.validate_on_submit():
            with resources().database.transaction() as session:
                remove_factor(session, user_id, id, here(), resources().clock(), is_required=is_required)
            flash(gettext("“%(name)s” is removed.", name=factor.name))
            return redirect(url_for("logins.overview"), 303)
    except NotFound:
        abort(404)
    except FactorNeeded:
        refused = True
    page = render_template(
        "people/factors/remove.html", factor=factor, is_last=is_last, refused=refused or (is_last and is_required)
    )
    return page, 409 if refused else 200


@logins.post("/anmeldung/wiederherstellung")
@login_required
def renew_codes() -> str | tuple[str, int]:
    """Replace the user's recovery codes and show the new ones, once, with status 201. A mail tells the user.

    Abort with 404 if the user has no second factor.
    """
    if not current_user.has_factor:
        abort(404)
    with resources().database.transaction() as session:
        user = session.get_one(User, principal().user_id)
        codes = renew_recovery_codes(session, user, resources().clock(), here())
    return _codes_page(codes, is_first=False)


def _add(name: str, add: Callable[[Session, User], bool]) -> Response | tuple[str, int] | None:
    """Add a second factor called `name` to the signed-in user, and return the next page; None if the proof is wrong.

    `add` is called with the session and the locked user; it adds the factor and returns whether the typed proof was
    right. All other logins of the user end, and the current one counts as proved by a second factor. With the user's
    first factor, recovery codes are made and shown (status 201). Otherwise the result redirects to the list of factors.
    """
    with resources().database.transaction() as session:
        # Of two first factors at once, one comes with the recovery codes.
        user = session.get_one(User, principal().user_id, with_for_update=True)
        is_first = not factors_of(session, user.id)
        if not add(session, user):
            return None
        codes = renew_recovery_codes(session, user, resources().clock()) if is_first else []
        note_factor(session, current_user.login_id, resources().clock())
        end_logins(session, user.id, but=current_user.login_id)
    flash(gettext("“%(name)s” is set up. Everywhere else you are signed out.", name=name))
    return _codes_page(codes, is_first=True) if codes else redirect(url_for("logins.overview"), 303)


def _codes_page(codes: list[str], *, is_first: bool) -> tuple[str, int]:
    # This page is only reached by POST, so switching the language leads to the overview.
    text, here = "\r\n".join(codes), url_for("logins.overview")
    page = render_template(
        "people/factors/codes.html",
        codes=codes,
        is_first=is_first,
        text=text,
        here=here,
    )
    return page, 201
