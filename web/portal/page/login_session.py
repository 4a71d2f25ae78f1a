"""The signed-in user and the language of the current request, and functions that start and end its session."""

from __future__ import annotations

from datetime import datetime

import structlog
from flask import Flask, Request, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import LoginManager, current_user, login_user, logout_user
from itsdangerous import BadSignature
from sqlalchemy.orm import Session

from models.db.caller import act_for, login_caller
from models.people.login_sessions import FoundLogin, begin_login, find_login, secret_hash
from models.people.rights import RIGHTS, Action, Principal, only_forwards
from models.people.users import User
from models.values import LOCALES, as_locale
from models.views.own_accounts import MenuFacts, person_with_menu
from web.portal.page.known_browsers import remember_browser
from web.resources import resources

log = structlog.get_logger()
login_manager = LoginManager()


def session_cookie(*, secure: bool) -> dict[str, object]:
    """Return Flask's settings of the session cookie, by name; `secure`: the portal is reached over https."""
    return {
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": secure,
        # Browsers take a cookie of this name only over https and from this host, not from another one of its domain.
        "SESSION_COOKIE_NAME": "__Host-session" if secure else "session",
    }


class AgelessSessions(SecureCookieSessionInterface):
    """Flask's sessions in signed cookies, without a check of the cookie's age: only the signature is checked.

    Flask would measure the age with the clock of the host that reads the cookie. If that clock is a second behind the
    clock that signed the cookie, Flask would refuse the cookie. How long a user stays signed in depends on the login's
    row in the database instead.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        """Return the session stored in the request's cookie; an empty one without a cookie or a valid signature."""
        cookie = request.cookies.get(self.get_cookie_name(app))
        if not cookie:
            # As of every call of the API: a serializer would be made to find nothing.
            return self.session_class()
        signing = self.get_signing_serializer(app)
        assert signing is not None
        try:
            return self.session_class(signing.loads(cookie))
        except BadSignature:
            return self.session_class()


class SignedIn:
    """A signed-in user for Flask-Login, with the roles and menu entries that apply at the current HTTP request."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, principal: Principal, menu: MenuFacts, *, secret: str, found: FoundLogin) -> None:
        self.principal = principal
        self.menu = menu
        self.login_id = found.login.id
        """The id of this browser's login."""
        self.has_factor = found.has_factor
        """Whether the user has a second factor."""
        self.factor_at = found.login.factor_at
        """When the user has last proved a second factor in this browser; None if never."""
        self.factor_required_from = found.required_from
        """From when on the user has to have a second factor; None if the user need not."""
        self._secret = secret
        self.manages_users = any(Action.MANAGE_USERS in RIGHTS[role] for role in principal.roles.values())
        self.only_forwards = only_forwards(principal)
        self.is_customer = bool(principal.roles) or not principal.is_staff
        """Whether the user has customer pages. One of the carrier's staff has them only with a role in an account."""

    def get_id(self) -> str:
        """Return the secret of the login, which Flask-Login stores in the session cookie."""
        return self._secret


@login_manager.user_loader
def load_user(secret: str) -> SignedIn | None:
    """Return the user whose login has this secret (from the session cookie), and record that the login is used.

    Return None if there is no such login, if it has ended, or if the database cannot be reached. A page that polls by
    itself does not count as use.
    """
    if g.get("database_is_away"):
        # The error page is rendered for a signed-out user.
        return None
    with resources().database.transaction() as database:
        # A page that asks for news by itself, perhaps in an empty office, keeps nobody signed in.
        asks_itself = (request.endpoint or "").endswith(".live")
        found = find_login(database, secret, resources().clock(), used=not asks_itself)
        if found is None:
            return None
        structlog.contextvars.bind_contextvars(user=found.user.id, login=found.login.id)
        return _signed_in(database, found, secret)


def _signed_in(database: Session, found: FoundLogin, secret: str) -> SignedIn:
    person, menu = person_with_menu(database, found.user, resources().clock())
    return SignedIn(person, menu, secret=secret, found=found)


def create_login(database: Session, user: User, *, factor_at: datetime | None = None) -> SignedIn:
    """Create a login of the user for this browser in the database and return the signed-in user.

    `factor_at` is the time at which the user proved a second factor; None without one. Also marks the browser as known
    to the user. The caller passes the result to `start_session` after the commit.
    """
    agent, now = request.user_agent.string, resources().clock()
    login, secret = begin_login(database, user, agent, request.remote_addr or "", now, factor_at=factor_at)
    act_for(database, login_caller(secret_hash(secret)))
    remember_browser(user)
    log.info("login.began", user=user.id, login=login.id)
    found = find_login(database, secret, now)
    assert found is not None
    return _signed_in(database, found, secret)


def start_session(person: SignedIn) -> None:
    """Start a session for the user in this browser.

    The previous session is emptied except for the chosen language, to prevent session fixation.
    """
    _empty_session()
    login_user(person)
    g.pop("_flask_babel", None)


def principal() -> Principal:
    """Return the signed-in user of the current HTTP request. Call only if a user is signed in."""
    found = current_user.principal
    assert isinstance(found, Principal)
    return found


def choose_language() -> str:
    """Return the code of the page's language, "de" or "en".

    It is the language chosen in this session, else the signed-in user's, else the one that the browser prefers.
    """
    if "language" in session:
        return as_locale(session["language"])
    if request.endpoint != "static" and current_user.is_authenticated:
        return principal().locale
    return as_locale(request.accept_languages.best_match(LOCALES, "de"))


def end_session() -> None:
    """Sign this browser out and empty its session except for the chosen language."""
    logout_user()
    _empty_session()


def _empty_session() -> None:
    # The language belongs to the browser, not to the login.
    language = session.get("language")
    session.clear()
    # Flask-WTF's token of this request is that of the old session.
    g.pop("csrf_token", None)
    if language:
        session["language"] = language
