"""The cookie by which the portal recognises a browser in which a user has signed in before.

The cookie does not replace the password. Failed sign-ins from a recognised browser are counted apart from those from
other browsers, and no mail warns the user of a sign-in from it.
"""

from __future__ import annotations

from flask import after_this_request, current_app, request
from werkzeug.wrappers import Response

from models.people.known_browsers import NAME, VALID_FOR, known_browser, new_mark
from models.people.users import User
from web.resources import resources

_THIS_HOST_ONLY = "__Host-"
"""The prefix of a cookie's name with which browsers accept the cookie only over https and only from this host."""


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
    """Return a text that identifies the browser of the current request, if the user with the address `email` knows it.

    The user knows a browser for a year after signing in there, and until the user's password or address changes. Return
    None for every other browser, and if no user has the address. Call this outside a transaction.
    """
    # Without the prefix also those that were kept before there was one: they are signed all the same.
    cookies = {name.removeprefix(_THIS_HOST_ONLY): value for name, value in request.cookies.items()}
    marks = {name: value for name, value in cookies.items() if name.startswith(NAME)}
    if not marks:
        return None
    with resources().database.transaction() as session:
        return known_browser(session, resources().vault, email, marks, resources().clock())
