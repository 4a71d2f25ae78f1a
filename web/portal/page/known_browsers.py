"""The cookie by which a browser is recognised in which a person has signed in before. It replaces no password."""

from __future__ import annotations

from flask import after_this_request, current_app, request
from werkzeug.wrappers import Response

from models.people.known_browsers import NAME, VALID_FOR, known_browser, new_mark
from models.people.users import User
from web.resources import resources


def remember_browser(user: User) -> None:
    """Let the answer to the current request make its browser known to the user, who has proved to be themselves."""
    name, value = new_mark(resources().vault, user, resources().clock())

    @after_this_request
    def keep(response: Response) -> Response:
        secure = current_app.config["SESSION_COOKIE_SECURE"]
        response.set_cookie(name, value, max_age=VALID_FOR, httponly=True, secure=secure, samesite="Lax")
        return response


def this_browser(email: str) -> str | None:
    """Return what identifies the current request's browser if the person with this address has signed in there before.

    Return None otherwise. Call it outside a transaction.
    """
    marks = {name: value for name, value in request.cookies.items() if name.startswith(NAME)}
    if not marks:
        return None
    with resources().database.transaction() as session:
        return known_browser(session, resources().vault, email, marks, resources().clock())
