"""Passwords: the minimum length, hashing, and checking of an e-mail address with a password."""

from __future__ import annotations

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from sqlalchemy.orm import Session

from models.people.users import User


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """Return a hash that matches no password, with the hasher's parameters.

    Assembled as text, because computing a real hash would slow down the start of every program.
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${'A' * 22}${'A' * 43}"


_hasher = PasswordHasher()


# Checked when there is no such user, so that the answer takes as long as for a wrong password.
_NOBODY = _nobodys_hash(_hasher)


def hash_password(password: str) -> str:
    """Hash a password with Argon2id and the library's default parameters (RFC 9106, low-memory profile)."""
    return _hasher.hash(password)


def authenticate(session: Session, email: str, password: str) -> User | None:
    """Return the user with this e-mail address and password; None if either is wrong.

    A wrong password, a user without a password and an unknown address take the same time.
    """
    user = session.scalar(sa.select(User).where(User.email == email.strip().lower()))
    known = user.password_hash if user is not None else None
    try:
        _hasher.verify(known or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return None
    return user if known is not None else None


SHORTEST_PASSWORD = 12
