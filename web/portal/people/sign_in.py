"""The pages for sign-in, sign-out and language. A login is a database row; deleting the row signs the browser out.

If the session ends while a form is being filled in, sending the form shows the sign-in page, and after the sign-in the
input is shown again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, Length

from models.db.caller import Named, name_to_database
from models.people.login_changes import tell_of_sign_in
from models.people.login_sessions import end_login
from models.people.password_links import password_state
from models.people.passwords import authenticate
from models.people.second_factors import factors_of
from models.people.sign_in_log import Refused, SignedInBy, SignedOut, record_sign_in, record_sign_out
from models.people.users import User
from models.values import as_locale
from web.portal.page.browser_names import here
from web.portal.page.kept_input import (
    KeptInput,
    is_from_here,
    local_page,
    open_input,
    owner_of_form,
    seal_input,
    sent_input,
)
from web.portal.page.known_browsers import this_browser
from web.portal.page.login_session import SignedIn, create_login, end_session, login_manager, principal, start_session
from web.portal.people.access_log import count_refused_sign_in
from web.portal.people.factor_form import FactorForm, proved
from web.portal.people.passkey_site import passkey_question
from web.portal.people.step_up_titles import step_title
from web.refused_rights import record_refused_right
from web.resources import resources

people = Blueprint("people", __name__)
login_manager.login_view = "people.sign_in"
login_manager.login_message = None
# The login's row is the protection. Sessions are not bound to an address, so phones can change networks.
login_manager.session_protection = None

_HALF = "half"
"""The session key of the user who has entered the right password but has not proved a second factor yet."""
_SECOND_STEP_WITHIN = timedelta(minutes=10)
SAID_OF_TRIES = 3
"""The text about a wrong login says how many tries are left, once they are this many or fewer."""

# The endpoints and blueprints that local members may open; all others are closed to them.
_OPEN_TO_LOCAL_MEMBERS = frozenset({
    "static", "portal.home", "portal.overview", "users.invitation", "people", "logins", "forwardings", "telephone",
    "health", "letters", "emails", "consents", "dev_mail", "carrier", "typeface",
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
    """Load the signed-in user before the view runs, so that the user is not loaded inside a transaction of the view.

    Nothing is loaded for static files, nor for the API, whose callers have a token instead.
    """
    if request.endpoint != "static" and not request.path.startswith("/api/"):
        bool(current_user.is_authenticated)


@people.before_app_request
def restrict_local_members() -> None:
    """Abort with 404 if a user who may only forward calls (a local member) opens a page for other users.

    This concerns users who are local members in all their accounts. The pages in `_OPEN_TO_LOCAL_MEMBERS` and the API
    are open to them.
    """
    endpoint, blueprint = request.endpoint or "", request.blueprint or ""
    if endpoint in _OPEN_TO_LOCAL_MEMBERS or blueprint in _OPEN_TO_LOCAL_MEMBERS or request.path.startswith("/api/"):
        return
    if current_user.is_authenticated and current_user.only_forwards:
        record_refused_right()
        abort(404)


@people.route("/anmelden", methods=["GET", "POST"])
def sign_in() -> Response | str | tuple[str, int]:
    """Show the sign-in form; on POST sign the user in and redirect to the page in the query parameter `next`.

    Without `next`, redirect to the overview. A user who is signed in already is redirected at once. A user with a
    second factor is asked for it first. If the form carries input that was sent after a session had ended, show a page
    that offers to send it again. A wrong address and a wrong password get the same answer (the form with an error,
    status 422) after the same time; after too many, the answer is 429.
    """
    if current_user.is_authenticated:
        return go_on()
    form = SignInForm()
    if not form.validate_on_submit():
        return _sign_in_page(form)
    email = form.email.data
    browser = this_browser(email)
    resources().throttle.begin_password_try(email, browser)
    with resources().database.transaction() as database:
        user = authenticate(database, email, form.password.data)
        needs_factor = user is not None and bool(factors_of(database, user.id))
        found = None
        if user is not None and not needs_factor:
            found = _signed_in(database, user, browser, SignedInBy.PASSWORD)
    if user is None:
        count_refused_sign_in(email, Refused.PASSWORD)
        return _sign_in_page(form, wrong=_wrong_login_text()), 422
    if found is None:
        session[_HALF] = {"user": user.id, "state": password_state(user), "at": resources().clock().isoformat()}
        return _factor_page(FactorForm(formdata=None), user.id)
    start_session(found)
    return go_on()


@people.route("/anmelden/faktor", methods=["GET", "POST"])
def second_step() -> Response | str | tuple[str, int]:
    """Ask for the second factor of a user who has just entered the right password; on POST sign the user in.

    Then redirect to the page in the query parameter `next`, else to the overview. If the form carries input that was
    sent after a session had ended, show a page that offers to send it again. A wrong code shows the form with an error
    (status 422); after too many, the answer is 429. Without a right password in the last ten minutes, redirect to the
    sign-in form.
    """
    if current_user.is_authenticated:
        return go_on()
    user = _half_signed_in()
    if user is None:
        return redirect(url_for("people.sign_in", next=local_page(request.args.get("next"))))
    form = FactorForm()
    browser = this_browser(user.email)
    now, by = resources().clock(), SignedInBy.PASSKEY if form.credential.data else SignedInBy.CODE
    found = proved(form, user, lambda database, user: _signed_in(database, user, browser, by, factor_at=now))
    if found is None:
        return _factor_page(form, user.id), 422 if form.errors else 200
    start_session(found)
    return go_on()


def _signed_in(
    database: Session, user: User, browser: str | None, by: SignedInBy, *, factor_at: datetime | None = None
) -> SignedIn:
    """Create a login (database row) of the user for this browser, and return the signed-in user.

    `by` is how the user has signed in, for the audit log. `browser` is None if the user has not signed in from this
    browser before: then a mail tells the user of the sign-in. `factor_at` is when the user has proved a second factor,
    None if not at all.
    """
    if browser is None:
        tell_of_sign_in(database, user, here(), resources().clock())
    found = create_login(database, user, factor_at=factor_at)
    record_sign_in(database, user, by, here(), resources().clock())
    return found


def _half_signed_in() -> User | None:
    """Return the user who entered the right password in this browser in the last ten minutes but no second factor.

    None if there is none, if the password was changed since, or if the user's login is disabled.
    """
    half = session.get(_HALF)
    if not half or resources().clock() >= datetime.fromisoformat(half["at"]) + _SECOND_STEP_WITHIN:
        return None
    with resources().database.transaction() as database:
        name_to_database(database, Named.PERSON, half["user"])
        user = database.get(User, half["user"])
    is_same = user is not None and user.disabled_at is None and password_state(user) == half["state"]
    return user if is_same else None


def _factor_page(form: FactorForm, user_id: int) -> str:
    back, question = local_page(request.args.get("next")), passkey_question(user_id)
    sealed = request.form.get("kept", "")
    return render_template("people/second_step.html", form=form, question=question, sealed=sealed, back=back)


@people.post("/abmelden")
@login_required
def sign_out() -> Response:
    """Sign the user out: end the login in the database and the session in the browser. Redirect to the sign-in form."""
    with resources().database.transaction() as database:
        now = resources().clock()
        record_sign_out(database, principal().user_id, SignedOut.HERE, here(), now)
        end_login(database, principal().user_id, current_user.login_id)
    end_session()
    return redirect(url_for("people.sign_in"))


@people.post("/sprache/<language>")
def set_language(language: str) -> Response:
    """Set the language of the session, and redirect to the page in the form field `next`, else to the overview.

    A `language` that begins with "en" means English, every other one German.
    """
    session["language"] = as_locale(language)
    return redirect(local_page(request.form.get("next")) or url_for("portal.overview"))


@login_manager.unauthorized_handler
def ask_to_sign_in() -> Response | tuple[str, int]:
    """Answer a request that needs a signed-in user: redirect to the sign-in page, which leads back to the wanted page.

    A request that sent a form is answered with the sign-in page itself (status 401), which keeps the form's input.
    """
    if request.method in ("GET", "HEAD"):
        return redirect(url_for("people.sign_in", next=local_page(request.full_path.removesuffix("?"))))
    return _sign_in_again()


def answer_stale_form(_error: CSRFError) -> Response | str | tuple[str, int]:
    """Answer a form that was refused because its CSRF token does not belong to the browser's session.

    The sign-in form is shown again (status 400); a user who is signed in already is redirected to the next page
    instead. The answer to any other form depends on its user, whom most forms name. If nobody is signed in and the form
    names its user, show the sign-in page, which keeps the input (401). If nobody is signed in and the form to sign out
    names no user, redirect to the sign-in form. If the form was made for the signed-in user, or names nobody and comes
    from this site, offer to send its input again (400). Otherwise show an error page (400).
    """
    # Loaded here, because the form is refused before the user is loaded, and templates begin no transaction.
    is_signed_in = current_user.is_authenticated
    owner = owner_of_form()
    if request.endpoint == "people.sign_in":
        if is_signed_in:
            return go_on()
        email = request.form.get("email", "")
        return _sign_in_page(SignInForm(formdata=None, data={"email": email}), no_cookie=True), 400
    if owner is not None and not is_signed_in:
        return _sign_in_again()
    if request.endpoint == "people.sign_out" and not is_signed_in:
        return redirect(url_for("people.sign_in"))
    is_own = owner == principal().user_id if owner is not None else is_from_here()
    if is_own:
        return _send_again_page(sent_input()), 400
    return render_template("page/error.html", status=400), 400


def _sign_in_again() -> tuple[str, int]:
    owner = owner_of_form()
    kept = sent_input()
    sealed = seal_input(kept, owner) if owner is not None else None
    return _sign_in_page(SignInForm(formdata=None), sealed=sealed, back=kept.back, ended=True), 401


def _wrong_login_text() -> str:
    """Return the error text for a wrong login, which does not reveal whether there is a user with the typed address.

    When few tries are left, the text says how many.
    """
    said = str(gettext("E-mail address or password is not right."))
    left = resources().throttle.tries_left()
    if left is None or left > SAID_OF_TRIES:
        return said
    more = ngettext("You have %(num)s more try.", "You have %(num)s more tries.", left)
    none = gettext("That was the last try for now.")
    return f"{said} {more if left else none}"


def _sign_in_page(
    form: SignInForm, *, sealed: str | None = None, back: str | None = None, wrong: str = "", **state: bool
) -> str:
    """Render the sign-in page as HTML.

    `sealed` is the encrypted input to keep (from `seal_input`), by default that in the submitted form. `back` is the
    page to redirect to after sign-in, by default `next` of the URL. `wrong` is the error text about a wrong login,
    empty without one. `state` can set two variables of the template: `ended` (a session has ended; by default, whether
    the cookie names a login) and `no_cookie` (the browser sent no cookie; False by default).
    """
    return render_template(
        "people/sign_in.html",
        form=form,
        sealed=sealed or request.form.get("kept", ""),
        back=back or local_page(request.args.get("next")),
        wrong=wrong,
        **{"ended": "_user_id" in session, "no_cookie": False, **state},
    )


def go_on() -> Response | str:
    """Redirect the user who has just signed in to the page in the query parameter `next`, else to the overview.

    If the form carries input that was sent after a session had ended, show a page that offers to send it again. Input
    that has expired or belongs to another user is dropped with a message. If it had files, or nothing but passwords,
    redirect to its form to be filled in again, because files and passwords are not kept.
    """
    target = local_page(request.args.get("next")) or url_for("portal.overview")
    sealed = request.form.get("kept")
    if not sealed:
        return redirect(target)
    found = open_input(sealed)
    if found is None:
        flash(gettext("What you had typed was kept for an hour and is gone now. Please type it again."), "warning")
        return redirect(target)
    kept, user_id = found
    if user_id != principal().user_id:
        flash(gettext("What was typed before belongs to another login and was not sent."), "warning")
        return redirect(url_for("portal.overview"))
    if kept.files:
        names = ", ".join(kept.files)
        flash(gettext("Nothing was sent yet. Please choose the file again: %(names)s", names=names), "warning")
        return redirect(kept.back)
    if kept.is_passwords_alone:
        said = gettext("Nothing has been sent yet, because we do not keep passwords. Please enter yours once more.")
        flash(said, "warning")
        return redirect(kept.back)
    return _send_again_page(kept)


def _send_again_page(kept: KeptInput) -> str:
    return render_template("people/send_again.html", kept=kept, here=kept.back, step=step_title(kept.path))
