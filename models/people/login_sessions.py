"""Logins: the browsers in which people are signed in, and when a login expires."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base
from models.people.second_factors import factor_required_from, has_factor
from models.people.users import User
from models.text_cutting import shortened

IDLE, LONGEST = timedelta(days=30), timedelta(days=90)
"""A login expires after `IDLE` without a request by the browser, and `LONGEST` after it began at the latest."""
STAFF_IDLE, STAFF_LONGEST = timedelta(hours=1), timedelta(hours=12)
"""The same two limits for the carrier's staff, who see every customer's data.

NIST SP 800-63B-4 allows one hour and one day (AAL2).
"""
_SEEN_EVERY = timedelta(minutes=5)
_LONGEST_AGENT = 300


class Login(Base):
    """A browser in which a user is signed in. The browser keeps a secret; the table keeps only a hash of it.

    `user_agent` and `address` are the browser's User-Agent header and IP address at the sign-in. `factor_at` is when
    the user has last proved a second factor in this login; null if never.
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

        The condition does not consider that logins of the carrier's staff expire earlier.
        """
        return (cls.seen_at <= now - IDLE) | (cls.created_at <= now - LONGEST)

    @classmethod
    def in_force(cls, now: datetime | sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
        """Return an SQL condition on logins joined with their users: not expired, and the user is not disabled.

        A login of the carrier's staff expires after 1 hour without use and at the latest after 12 hours. Any other
        login expires after 30 days without use and at the latest after 90 days.
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
    """Return the login with this secret and its user; None if there is none, it has expired, or the user is disabled.

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


def end_all_logins(session: Session, user_id: int | None = None) -> int:
    """End every login of the user with this id (None: of all users), and return how many have ended."""
    query = sa.delete(Login) if user_id is None else sa.delete(Login).where(Login.user_id == user_id)
    return len(session.scalars(query.returning(Login.id)).all())


def secret_hash(secret: str) -> bytes:
    """Return the hash of a login's secret, under which the database stores the login."""
    return hashlib.sha256(secret.encode()).digest()
