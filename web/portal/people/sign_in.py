"""Who is at the other end of the browser: sign in, sign out, language. A session is a row, so that it can be ended."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, abort, redirect, render_template, request, session, url_for
from flask_babel import lazy_gettext as _
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, Length

from models.people.logins import end_login
from models.people.users import authenticate
from models.values import as_locale
from web.portal.page.session import end_session, let_in, login_manager, principal, start_session
from web.resources import resources

people = Blueprint("people", __name__)
login_manager.login_view = "people.sign_in"
login_manager.login_message = None
# The row is the protection: a phone that changes its network stays signed in.
login_manager.session_protection = None

# Endpoints and blueprints that a member of a local team may open: what is not named here stays closed to them.
_OPEN = frozenset({
    "static", "portal.home", "portal.overview", "users.invitation", "people", "logins", "forwardings", "telephone",
    "operations", "letters", "emails", "consents", "dev_mail",
})  # fmt: skip


class SignInForm(FlaskForm):  # type: ignore[misc]
    """E-mail address and password."""

    email = StringField(
        _("E-mail address"), validators=[DataRequired(_("Please enter your e-mail address.")), Length(max=254)]
    )
    password = PasswordField(
        _("Password"), validators=[DataRequired(_("Please enter your password.")), Length(max=1024)]
    )


@people.before_app_request
def know_who_it_is() -> None:
    """Before the view: neither its transaction nor a page that is being rendered shall have to wait for another."""
    if request.endpoint != "static":
        bool(current_user.is_authenticated)


@people.before_app_request
def keep_to_call_forwarding() -> None:
    """A member of a local team finds call forwarding, calls, their login, and what is open to all; nothing else."""
    endpoint, blueprint = request.endpoint or "", request.blueprint or ""
    if endpoint in _OPEN or blueprint in _OPEN or request.path.startswith("/api/"):
        return
    if current_user.is_authenticated and current_user.only_forwards:
        abort(404)


@people.route("/anmelden", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int]:
    """Wrong address and wrong password are one answer, after the same time."""
    if current_user.is_authenticated:
        return redirect(url_for("portal.overview"))
    form = SignInForm()
    if not form.validate_on_submit():
        return render_template("people/sign_in.html", form=form, wrong=False)
    resources().throttle.begin_try(form.email.data)
    with resources().database.transaction() as database:
        user = authenticate(database, form.email.data, form.password.data)
        found = let_in(database, user) if user is not None else None
    if found is None:
        resources().throttle.count_wrong_try()
        return render_template("people/sign_in.html", form=form, wrong=True), 422
    start_session(found)
    return redirect(_inside(request.args.get("next")) or url_for("portal.overview"))


@people.post("/abmelden")
@login_required
def sign_out() -> Response:
    """End the session, here and in the database."""
    with resources().database.transaction() as database:
        end_login(database, principal().user_id, current_user.login_id)
    end_session()
    return redirect(url_for("people.sign_in"))


@people.post("/sprache/<language>")
def set_language(language: str) -> Response:
    """Switch the language and stay on the page."""
    session["language"] = as_locale(language)
    return redirect(_inside(request.form.get("next")) or url_for("portal.overview"))


def _inside(target: str | None) -> str | None:
    # Only a path of our own: never another host, which a crafted link could name.
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return None
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else None
