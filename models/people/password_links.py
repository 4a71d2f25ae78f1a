"""Changing a password, and mailed links to set a forgotten or first password. A new password ends all logins."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.db.advisory_locks import take_advisory_lock
from models.db.caller import Named, name_to_database
from models.emails import stored_spellings
from models.messages.outbox import Message, Recipient, queue_message
from models.people.audit_log import AuditEvent
from models.people.login_changes import Where, note_change
from models.people.login_sessions import end_logins
from models.people.passwords import ensure_hard_to_guess, hash_password
from models.people.users import User
from models.vault import Vault

RESET_VALID_FOR = timedelta(hours=1)
FIRST_VALID_FOR = timedelta(days=7)
"""How long a link to set the first password, which the carrier has sent, is valid."""
_ONE_MAIL_IN = timedelta(minutes=10)
_MAILS_AT_ONCE = 3
_THEN_ONE_IN = timedelta(hours=3)
_DAY = timedelta(days=1)


def set_password(session: Session, user: User, password: str, where: Where | None, now: datetime) -> None:
    """Replace the user's password and end all of the user's logins.

    `where` is the browser in which the user does it: the change is recorded in the audit log, and the user told by
    mail. It is None for a first password, which is neither recorded nor mailed. Raises `PasswordGuessable` if the new
    password is too easy to guess.
    """
    ensure_hard_to_guess(password, user.email, user.name)
    user.password_hash = hash_password(password)
    end_logins(session, user.id)
    if where is not None:
        note_change(session, user, AuditEvent.PASSWORD_CHANGED, where, now)


def ask_for_reset(session: Session, email: str, now: datetime) -> None:
    """Queue a mail with a link to set a new password to the user with this e-mail address.

    A user gets at most one such mail in each ten minutes of the clock, and after three within a day only one in three
    hours. So a stranger who asks for links cannot keep the user from getting one for a whole day. After a change of the
    password, another mail can be sent at once. An unknown address, or one of a disabled user, gets no mail. The
    duration does not reveal whether the address is known: the statements, lock waits and disk writes are the same, and
    the queued mail is rolled back.
    """
    spellings = stored_spellings(email)
    take_advisory_lock(session, f"password {spellings[0]}")
    name_to_database(session, Named.EMAIL, *spellings)
    user = session.scalar(sa.select(User).where(User.email.in_(spellings)))
    about = user or User(id=0, email="nobody@invalid", name="Nobody", locale="de")
    issued = int(now.timestamp())
    period = issued // int(_ONE_MAIL_IN.total_seconds())
    words = f"{about.id}/{password_state(about)}"
    wanted = _may_mail(session, words, period) and user is not None and user.disabled_at is None
    occasion = f"{words}/{period}"
    to = Recipient(about.name, about.email, about.locale)
    facts = {"path": f"/passwort/{about.id}/{issued}/", "email": about.email}
    with session.begin_nested() as writing:
        # A random occasion for a mail that is rolled back, since a mail with the real occasion may exist already.
        occasion = occasion if wanted else secrets.token_hex()
        proof = _words(about, issued)
        queue_message(session, None, "password_reset", to, facts, now, occasion=occasion, proof=proof)
        session.flush()
        if not wanted:
            writing.rollback()


def user_by_reset(
    session: Session, vault: Vault, user_id: int, issued: int, token: str, now: datetime, *, lock: bool = False
) -> User | None:
    """Return the user of a password reset link; None if the link is wrong or no longer valid.

    A link is valid for one hour, or for 7 days if it is for a first password (`first_password_link`). It ends earlier
    if the password or e-mail address changes or the user is disabled. `user_id`, `issued` and `token` are the parts of
    the link: the user, the Unix time in seconds at which the link was made, and the secret. `lock` locks the user's row
    until the transaction ends.
    """
    name_to_database(session, Named.PERSON, user_id)
    user = session.get(User, user_id, with_for_update=lock or None)
    if user is None or user.disabled_at is not None:
        return None
    if vault.is_token(token, *_words(user, issued)):
        valid_for = RESET_VALID_FOR
    elif vault.is_token(token, *_first_words(user, issued)):
        valid_for = FIRST_VALID_FOR
    else:
        return None
    # The token is valid, so `issued` is a number that we made, and a possible time.
    return user if now < datetime.fromtimestamp(issued, UTC) + valid_for else None


def first_password_link(user: User, now: datetime) -> tuple[str, list[str]]:
    """Return the link with which a user sets the first password: its path up to the token, and the token's words.

    The vault derives the token from these words. The link is valid for `FIRST_VALID_FOR` (7 days), but only until the
    user has a password. `user_by_reset` finds the user of the link.
    """
    issued = int(now.timestamp())
    return f"/passwort/{user.id}/{issued}/", _first_words(user, issued)


def reset_password(session: Session, user: User, password: str, now: datetime, *, where: Where | None = None) -> None:
    """Set a new password for a user who has opened a mailed link, and end all of the user's logins.

    Also confirms the e-mail address, since a person with the link can read mail to the address. `where` is the browser:
    the change is recorded in the audit log, and the user told by mail. It is None for a first password, which is
    neither recorded nor mailed. Raises `PasswordGuessable` if the new password is too easy to guess.
    """
    set_password(session, user, password, where, now)
    user.email_confirmed_at = user.email_confirmed_at or now


def password_state(user: User) -> str:
    """Return a digest that changes when the user's e-mail address or password changes, or when the user is disabled.

    With such a change, mailed links and the signed cookies of known browsers become invalid: they are derived from the
    digest. They stay invalid when a disabled user is enabled again.
    """
    void = "" if user.links_void_at is None else f"\0{user.links_void_at.timestamp()}"
    return hashlib.sha256(f"{user.email}\0{user.password_hash or ''}{void}".encode()).hexdigest()[:16]


def _may_mail(session: Session, words: str, period: int) -> bool:
    """Return whether a reset link may be mailed in the period `period`, judged by the mails of the last day.

    Periods are ten minutes long and numbered since 1970. `words` is the user's id, a slash, and the `password_state`.
    The first three links within a day need only different periods; each further one may be mailed three hours after the
    one before, at the earliest.
    """
    day = range(period - _DAY // _ONE_MAIL_IN + 1, period + 1)
    query = sa.select(Message.occasion).where(
        Message.request_id.is_(None),
        Message.template == "password_reset",
        Message.occasion.in_([f"{words}/{one}" for one in day]),
    )
    mailed = [int(occasion.rpartition("/")[2]) for occasion in session.scalars(query)]
    pause = _ONE_MAIL_IN if len(mailed) < _MAILS_AT_ONCE else _THEN_ONE_IN
    return all(period - one >= pause // _ONE_MAIL_IN for one in mailed)


def _words(user: User, issued: int) -> list[str]:
    return ["password", str(user.id), str(issued), password_state(user)]


def _first_words(user: User, issued: int) -> list[str]:
    return ["first password", *_words(user, issued)[1:]]
