"""Logins (browsers in which people are signed in) and passwords. A new password ends all of the person's logins."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.advisory_locks import take_advisory_lock
from models.db.base import Base
from models.db.caller import Named, name_to_database
from models.emails import stored_spellings
from models.messages.outbox import Message, Recipient, queue_message
from models.people.audit_log import AuditEvent
from models.people.login_changes import Where, note_change
from models.people.passwords import ensure_hard_to_guess, hash_password
from models.people.second_factors import factor_required_from, has_factor
from models.people.users import User
from models.text_cutting import shortened
from models.vault import Vault

RESET_VALID_FOR = timedelta(hours=1)
FIRST_VALID_FOR = timedelta(days=7)
"""For how long a person can set the first password with the link that the carrier sent."""
_ONE_MAIL_IN = timedelta(minutes=10)
_MAILS_AT_ONCE = 3
_THEN_ONE_IN = timedelta(hours=3)
_DAY = timedelta(days=1)
IDLE, LONGEST = timedelta(days=30), timedelta(days=90)
"""A login expires after this time without a request by the browser, and at the latest this long after it began."""
STAFF_IDLE, STAFF_LONGEST = timedelta(hours=1), timedelta(hours=12)
"""These limits for our staff, who reach every customer's data (NIST SP 800-63B-4, AAL2: one day, one hour)."""
_SEEN_EVERY = timedelta(minutes=5)
_LONGEST_AGENT = 300


class Login(Base):
    """A browser in which a person is signed in. The browser keeps the secret; the table keeps only a hash of it.

    `factor_at` is when the person has last proved a second factor in this login; null if never.
    """

    __tablename__ = "logins"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"), index=True)
    # Not loaded: the front may not read it, as a caller is told by it (`models.db.caller`).
    secret_hash: Mapped[bytes] = mapped_column(unique=True, deferred=True)
    user_agent: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    factor_at: Mapped[datetime | None]

    @classmethod
    def left_over(cls, now: datetime | sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the login has expired, after 30 days without use (`IDLE`) or 90 in all (`LONGEST`).

        Logins of the carrier's staff expire earlier, which this condition leaves out.
        """
        return (cls.seen_at <= now - IDLE) | (cls.created_at <= now - LONGEST)

    @classmethod
    def in_force(cls, now: datetime | sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
        """Return an SQL condition on logins joined with their users: not expired, and the user is not shut out.

        A login of the carrier's staff expires unused after 1 hour and at the latest after 12 hours, others after 30
        and 90 days.
        """
        too_long = (cls.seen_at <= now - STAFF_IDLE) | (cls.created_at <= now - STAFF_LONGEST)
        return ~cls.left_over(now) & ~(User.is_staff & too_long) & User.disabled_at.is_(None)


@dataclass(frozen=True, slots=True)
class FoundLogin:
    """A login with its user, and whether the user has a second factor.

    `required_from` is the time from which the user has to have a second factor; None if the user need not.
    """

    login: Login
    user: User
    has_factor: bool
    required_from: datetime | None


def begin_login(
    session: Session, user: User, user_agent: str, address: str, now: datetime, *, factor_at: datetime | None = None
) -> tuple[Login, str]:
    """Create a login of the user; return it and its secret, which the browser must keep.

    `user_agent` is the browser's User-Agent header, `address` its IP address. `factor_at` is when the person has proved
    a second factor; None if not at all.
    """
    secret = secrets.token_urlsafe(32)
    login = Login(
        user_id=user.id,
        secret_hash=secret_hash(secret),
        user_agent=shortened(user_agent, _LONGEST_AGENT),
        address=address,
        created_at=now,
        seen_at=now,
        factor_at=factor_at,
    )
    session.add(login)
    session.flush()
    return login, secret


def find_login(session: Session, secret: str, now: datetime, *, used: bool = True) -> FoundLogin | None:
    """Return the login with this secret and its user; None if there is none, it has expired, or the user is shut out.

    `used`: the request comes from a person, not from a page that reloads itself. Then the time at which the login was
    last seen is updated, at most every 5 minutes.
    """
    row = session.execute(_by_secret(), {"hash": secret_hash(secret), "now": now}).one_or_none()
    if row is None:
        return None
    login, user, has, required_from = row
    if used and login.seen_at < now - _SEEN_EVERY:
        # A separate UPDATE instead of a change to the object: if the login ends at this moment, no error is raised.
        session.execute(sa.update(Login).where(Login.id == login.id).values(seen_at=now))
    return FoundLogin(login, user, has, user.created_at if user.is_staff else required_from)


@cache
def _by_secret() -> sa.Select[Login, User, bool, datetime | None]:
    """Return the query for the login whose secret has the hash `:hash`, if the login has not expired at `:now`.

    It is built once, because it runs at each request of a browser, and building it takes longer than running it.
    """
    return (
        sa.select(Login, User, has_factor(User.id), factor_required_from(User.id))
        .join(User, User.id == Login.user_id)
        .where(
            Login.id
            == sa.select(sa.func.login_of_secret(sa.bindparam("hash", type_=sa.LargeBinary))).scalar_subquery(),
            Login.in_force(sa.bindparam("now", type_=Login.seen_at.type)),
        )
    )


def logins_of(session: Session, user_id: int, now: datetime) -> Sequence[Login]:
    """Return the logins of the user with this id that have not expired, the most recently used first."""
    query = sa.select(Login).join(User, User.id == Login.user_id).where(Login.user_id == user_id, Login.in_force(now))
    return session.scalars(query.order_by(Login.seen_at.desc(), Login.id.desc())).all()


def note_factor(session: Session, login_id: int, now: datetime) -> None:
    """Record that the person has just proved a second factor in the login `login_id`."""
    session.execute(sa.update(Login).where(Login.id == login_id).values(factor_at=now))


def end_login(session: Session, user_id: int, login_id: int) -> None:
    """End the login `login_id` of the user `user_id`, so that its browser is signed out. Safe to run twice."""
    session.execute(sa.delete(Login).where(Login.user_id == user_id, Login.id == login_id))


def end_logins(session: Session, user_id: int, *, but: int | None = None) -> None:
    """End every login of the user with this id, except the login with the id `but` (None: no exception).

    Safe to run twice.
    """
    query = sa.delete(Login).where(Login.user_id == user_id)
    session.execute(query if but is None else query.where(Login.id != but))


def set_password(session: Session, user: User, password: str, where: Where | None, now: datetime) -> None:
    """Replace the user's password and end all of the user's logins.

    `where` is the browser in which the user does it: the change is logged, and the user told by mail. None for a first
    password, which is neither logged nor told. Raises `PasswordGuessable` if the new password is too easy to guess.
    """
    ensure_hard_to_guess(password, user.email, user.name)
    user.password_hash = hash_password(password)
    end_logins(session, user.id)
    if where is not None:
        note_change(session, user, AuditEvent.PASSWORD_CHANGED, where, now)


def ask_for_reset(session: Session, email: str, now: datetime) -> None:
    """Mail a link to set a new password, at most one in each ten minutes of the clock.

    After three within a day it is one in three hours: ten on the first day, eight on each further one. No stranger can
    use this up so that the person gets no link for a day. An unknown address, and one of a user who is shut out, gets
    no mail. After a change of the password, another link may be asked for at once. The duration does not reveal whether
    the address is known: for an unknown address the statements, lock waits and disk writes are identical, and the
    queued mail is rolled back.
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

    A link is valid for one hour, the one to a first password (`first_password_link`) for 7 days, each until the
    password changes or the user is shut out. `user_id`, `issued` and `token` are the parts of the link: the user, the
    Unix time in seconds at which the link was made, and the secret. `lock` locks the user's row until the transaction
    ends.
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

    The vault derives the token from these words. The link is valid for `FIRST_VALID_FOR` (7 days), and until the user
    has a password. `user_by_reset` finds the user of the link.
    """
    issued = int(now.timestamp())
    return f"/passwort/{user.id}/{issued}/", _first_words(user, issued)


def reset_password(session: Session, user: User, password: str, now: datetime, *, where: Where | None = None) -> None:
    """Set a new password for a user who has opened a mailed link, and end all of the user's logins.

    Also confirms the e-mail address, since a person with the link can read mail to the address. `where` is the
    browser: the change is logged, and the user told by mail; None for a first password, which is neither logged nor
    told. Raises `PasswordGuessable` if the new password is too easy to guess.
    """
    set_password(session, user, password, where, now)
    user.email_confirmed_at = user.email_confirmed_at or now


def password_state(user: User) -> str:
    """Return a digest of the user's address and password hash, which changes with each of them, and if shut out.

    A link or mark derived from the digest therefore ends when the password or the address changes or the user is shut
    out, and stays ended when the user is let in again.
    """
    void = "" if user.links_void_at is None else f"\0{user.links_void_at.timestamp()}"
    return hashlib.sha256(f"{user.email}\0{user.password_hash or ''}{void}".encode()).hexdigest()[:16]


def _may_mail(session: Session, words: str, period: int) -> bool:
    """Return whether a link may be mailed in this period of ten minutes, judged by the mails of the last day.

    The periods are numbered; `words` name the person and the password. Three links within a day may follow in any
    period, further ones only three hours after the last.
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


def secret_hash(secret: str) -> bytes:
    """Return the hash under which the database knows the secret of a login."""
    return hashlib.sha256(secret.encode()).digest()
