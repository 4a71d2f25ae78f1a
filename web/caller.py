"""Name the sender of the current HTTP request in a text, for PostgreSQL's row-level security.

Each transaction passes this text to PostgreSQL.
"""

from __future__ import annotations

from flask import has_request_context, request, session

from models.db.caller import NOBODY_SIGNED_IN, login_caller, token_caller
from models.people.api_tokens import token_hash
from models.people.login_sessions import secret_hash


def current_caller() -> str:
    """Return the text by which PostgreSQL identifies the sender of the current HTTP request (`models.db.caller`).

    The text contains the hash of the API token in the header, for calls of the API, or of the login's secret in the
    session cookie. The database looks the person up by that hash; an unknown hash is nobody. Without a token, a login
    or an HTTP request, the text is `NOBODY_SIGNED_IN`. Reads nothing from the database.
    """
    if not has_request_context():
        return NOBODY_SIGNED_IN
    if request.path.startswith("/api/"):
        token = bearer_token()
        return NOBODY_SIGNED_IN if token is None else token_caller(token_hash(token))
    secret = session.get("_user_id")
    return login_caller(secret_hash(secret)) if isinstance(secret, str) else NOBODY_SIGNED_IN


def bearer_token() -> str | None:
    """Return the API token in the header of the current call, as it was sent; None without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
