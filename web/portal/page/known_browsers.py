"""The cookie by which the portal recognises a browser in which a user has signed in before.

It replaces no password. Failed attempts from a recognised browser are counted apart from those of strangers, and no
mail warns of a sign-in from it.
"""

from __future__ import annotations

from flask import after_this_request, current_app, request
from werkzeug.wrappers import Response

from models.people.known_browsers import NAME, VALID_FOR, known_browser, new_mark
from models.people.users import User
from web.resources import resources

_THIS_HOST_ONLY = "__Host-"
"""Browsers take a cookie whose name begins so only over https and from this host, not from another of its domain."""


def remember_browser(user: User) -> None:
    """Mark the browser of the current request as known to the user, by a cookie set in the response.

    Call it only if the person in the browser has just proved to be the user.
    """
    name, value = new_mark(resources().vault, user, resources().clock())

    @after_this_request
    def keep(response: Response) -> Response:
        secure = current_app.config["SESSION_COOKIE_SECURE"]
        kept_as = _THIS_HOST_ONLY + name if secure else name
        response.set_cookie(kept_as, value, max_age=VALID_FOR, httponly=True, secure=secure, samesite="Lax")
        return response


def this_browser(email: str) -> str | None:
    """Return a text that identifies the browser of the current request, if the user with this address knows it.

    A browser is known for a year after the user has signed in there, and until the user's password or address changes.
    None for every other browser, and if there is no such user. Call it outside a transaction.
    """
    # Without the prefix also those that were kept before there was one: they are signed all the same.
    cookies = {name.removeprefix(_THIS_HOST_ONLY): value for name, value in request.cookies.items()}
    marks = {name: value for name, value in cookies.items() if name.startswith(NAME)}
    if not marks:
        return None
    with resources().database.transaction() as session:
        return known_browser(session, resources().vault, email, marks, resources().clock())
