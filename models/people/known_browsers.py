"""Known browsers: those in which a user has signed in before, as a signed cookie (the mark) in the browser proves.

Marks are not stored in the database. Failed sign-ins in other browsers, such as by strangers who guess passwords, do
not lock the user out of a known browser. A mark does not replace the password. It is valid for a year, and only until
the user's password or e-mail address changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.db.caller import Named, name_to_database
from models.emails import stored_spellings
from models.people.password_links import password_state
from models.people.users import User
from models.vault import Vault

VALID_FOR = timedelta(days=365)
"""How long a mark (the signed cookie of a known browser) is valid after the sign-in for which it was made."""
NAME = "browser_"
"""The prefix of the name of the cookie with a mark; the user's id follows."""


def new_mark(vault: Vault, user: User, now: datetime) -> tuple[str, str]:
    """Return the cookie name and the value of a new mark: a signed text that makes the browser a known one of the user.

    Call this only if the person in the browser has just proved to be the user, for example by the password.
    """
    browser = f"{int(now.timestamp())}.{secrets.token_urlsafe(9)}"
    return f"{NAME}{user.id}", f"{browser}.{vault.token(*_words(user, browser))}"


def known_browser(session: Session, vault: Vault, email: str, marks: Mapping[str, str], now: datetime) -> str | None:
    """Return the identifier in a browser's mark (a text), if the mark is valid for the user with this e-mail address.

    `marks` maps the names of the browser's cookies to their values; a mark is the signed cookie that `new_mark`
    creates. Returns None if there is no valid mark of this user, or no such user.
    """
    spellings = stored_spellings(email)
    name_to_database(session, Named.EMAIL, *spellings)
    user = session.scalar(sa.select(User).where(User.email.in_(spellings)))
    if user is None:
        return None
    browser, _, token = marks.get(f"{NAME}{user.id}", "").rpartition(".")
    if not browser or not vault.is_token(token, *_words(user, browser)):
        return None
    # The token is valid, so the text is one that `new_mark` made.
    made_at = int(browser.partition(".")[0])
    return browser if now.timestamp() < made_at + VALID_FOR.total_seconds() else None


def _words(user: User, browser: str) -> list[str]:
    return ["browser", str(user.id), browser, password_state(user)]
