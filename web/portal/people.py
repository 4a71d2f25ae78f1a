"""Who is at the other end of the browser: sign in, sign out, language. A session is a row, so that it can be ended."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, abort, g, redirect, render_template, request, session, url_for
from flask_babel import lazy_gettext as _
from flask_login import LoginManager, current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, Length

from models.logins import begin_login, end_login, find_login
from models.people import RIGHTS, Action, Principal, User, authenticate, only_forwards, principal_of
from models.queries import linkable_accounts, sees_locations
from models.values import LOCALES, as_locale
from models.waiting import consents_to_answer
from web.resources import resources

people = Blueprint("people", __name__)
login_manager = LoginManager()
login_manager.login_view = "people.sign_in"
login_manager.login_message = None
# The row is the protection: a phone that changes its network stays signed in.
login_manager.session_protection = None

# Endpoints and blueprints that a member of a local team may open: what is not named here stays closed to them.
_OPEN = frozenset({
    "static", "portal.home", "portal.overview", "users.invitation", "people", "logins", "forwardings", "telephone",
    "operations", "letters", "emails", "consents", "dev_mail",
})  # fmt: skip


class SignedIn:
    """A signed-in person as Flask-Login knows it: the roles and what the menu says, as they are at this request."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(
        self,
        principal: Principal,
        *,
        secret: str,
        login_id: int,
        gives_link_codes: bool,
        consents_waiting: int,
        sees_locations: bool,
    ) -> None:
        self.principal = principal
        self.login_id = login_id
        """Which of the person's logins this browser is."""
        self._secret = secret
        self.gives_link_codes = gives_link_codes
        """Whether there is an account of theirs that a main account could attach."""
        self.consents_waiting = consents_waiting
        """How many requests wait for this person's consent."""
        self.manages_users = any(Action.MANAGE_USERS in RIGHTS[role] for role in principal.roles.values())
        self.sees_locations = sees_locations
        """Whether they have an overview: with sub-accounts alone there is nothing to look over."""
        self.only_forwards = only_forwards(principal)
        self.is_customer = bool(principal.roles) or not principal.is_staff
        """Whether the portal's pages are for them: of the staff only for those with an account of their own."""

    def get_id(self) -> str:
        """For the session cookie: the secret of the login, which can be ended."""
        return self._secret


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


@login_manager.user_loader
def load_user(secret: str) -> SignedIn | None:
    """The person of this session, as long as it has not been ended."""
    if g.get("database_is_away"):
        # The page that says so is the same for everybody.
        return None
    with resources().database.transaction() as database:
        found = find_login(database, secret, resources().clock())
        return _signed_in(database, found[1], found[0].id, secret) if found is not None else None


def _signed_in(database: Session, user: User, login_id: int, secret: str) -> SignedIn:
    person = principal_of(database, user)
    gives = bool(linkable_accounts(database, person))
    return SignedIn(
        person,
        secret=secret,
        login_id=login_id,
        gives_link_codes=gives,
        consents_waiting=len(consents_to_answer(database, person, resources().clock())) if gives else 0,
        sees_locations=sees_locations(database, person),
    )


def let_in(database: Session, user: User) -> SignedIn:
    """A new login for this browser. `start_session` with it, after the commit."""
    agent = request.user_agent.string
    login, secret = begin_login(database, user, agent, request.remote_addr or "", resources().clock())
    return _signed_in(database, user, login.id, secret)


def start_session(person: SignedIn) -> None:
    """A new session: what an attacker may have planted before signing in is gone."""
    _empty_session()
    login_user(person)
    g.pop("_flask_babel", None)


def principal() -> Principal:
    """Who is signed in at this request."""
    found = current_user.principal
    assert isinstance(found, Principal)
    return found


def choose_language() -> str:
    """As chosen on the page, else the person's own, else what the browser prefers."""
    if "language" in session:
        return as_locale(session["language"])
    if request.endpoint != "static" and current_user.is_authenticated:
        return principal().locale
    return as_locale(request.accept_languages.best_match(LOCALES, "de"))


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
        return render_template("sign_in.html", form=form, wrong=False)
    resources().throttle.begin_try(form.email.data)
    with resources().database.transaction() as database:
        user = authenticate(database, form.email.data, form.password.data)
        found = let_in(database, user) if user is not None else None
    if found is None:
        resources().throttle.count_wrong_try()
        return render_template("sign_in.html", form=form, wrong=True), 422
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


def end_session() -> None:
    """This browser forgets who was signed in."""
    logout_user()
    _empty_session()


def _empty_session() -> None:
    # The language was chosen on the page, by whoever sits in front of it.
    language = session.get("language")
    session.clear()
    if language:
        session["language"] = language


def _inside(target: str | None) -> str | None:
    # Only a path of our own: never another host, which a crafted link could name.
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return None
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else None
