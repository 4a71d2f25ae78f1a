"""The pages for sign-in, sign-out and language. A login is a row in the database, so that it can be ended there."""

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
from models.people.passwords import authenticate
from models.values import as_locale
from web.portal.page.session import create_login, end_session, login_manager, principal, start_session
from web.resources import resources

people = Blueprint("people", __name__)
login_manager.login_view = "people.sign_in"
login_manager.login_message = None
# The login's row is the protection. Sessions are not bound to an address, so phones can change networks.
login_manager.session_protection = None

# The endpoints and blueprints that local members may open; all others are closed to them.
_OPEN_TO_LOCAL_MEMBERS = frozenset({
    "static", "portal.home", "portal.overview", "users.invitation", "people", "logins", "forwardings", "telephone",
    "health", "letters", "emails", "consents", "dev_mail",
})  # fmt: skip


class SignInForm(FlaskForm):  # type: ignore[misc]
    """The form to sign in with e-mail address and password."""

    email = StringField(
        _("E-mail address"), validators=[DataRequired(_("Please enter your e-mail address.")), Length(max=254)]
    )
    password = PasswordField(
        _("Password"), validators=[DataRequired(_("Please enter your password.")), Length(max=1024)]
    )


@people.before_app_request
def load_user_before_view() -> None:
    """Load the signed-in user before the view runs, so that the user is not loaded inside a transaction of the view."""
    if request.endpoint != "static":
        bool(current_user.is_authenticated)


@people.before_app_request
def restrict_local_members() -> None:
    """Abort with 404 if a user who is only a local member, in every account, opens a page not open to local members.

    The pages open to them are those in `_OPEN_TO_LOCAL_MEMBERS` and the API.
    """
    endpoint, blueprint = request.endpoint or "", request.blueprint or ""
    if endpoint in _OPEN_TO_LOCAL_MEMBERS or blueprint in _OPEN_TO_LOCAL_MEMBERS or request.path.startswith("/api/"):
        return
    if current_user.is_authenticated and current_user.only_forwards:
        abort(404)


@people.route("/anmelden", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int]:
    """Show the sign-in form; on POST sign the user in and redirect to the page in the query parameter `next`.

    Without `next` redirect to the overview, also if the user is signed in already. A wrong address and a wrong password
    get the same answer (the form with an error, status 422) after the same time.
    """
    if current_user.is_authenticated:
        return redirect(url_for("portal.overview"))
    form = SignInForm()
    if not form.validate_on_submit():
        return render_template("people/sign_in.html", form=form, wrong=False)
    resources().throttle.begin_try(form.email.data)
    with resources().database.transaction() as database:
        user = authenticate(database, form.email.data, form.password.data)
        found = create_login(database, user) if user is not None else None
    if found is None:
        resources().throttle.count_wrong_try()
        return render_template("people/sign_in.html", form=form, wrong=True), 422
    start_session(found)
    return redirect(_safe_target(request.args.get("next")) or url_for("portal.overview"))


@people.post("/abmelden")
@login_required
def sign_out() -> Response:
    """Sign the user out: end the login in the database and the session in the browser. Redirect to the sign-in form."""
    with resources().database.transaction() as database:
        end_login(database, principal().user_id, current_user.login_id)
    end_session()
    return redirect(url_for("people.sign_in"))


@people.post("/sprache/<language>")
def set_language(language: str) -> Response:
    """Switch the language of the session, and redirect to the page in the form field `next`, else to the overview.

    A `language` that begins with "en" is English, every other one German.
    """
    session["language"] = as_locale(language)
    return redirect(_safe_target(request.form.get("next")) or url_for("portal.overview"))


def _safe_target(target: str | None) -> str | None:
    # Only paths of the portal, to prevent open redirects.
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return None
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else None
