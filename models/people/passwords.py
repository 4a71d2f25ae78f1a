"""Passwords: refusing weak ones, hashing them, and checking an e-mail address with a password."""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from sqlalchemy.orm import Session

from models.db.caller import Named, name_to_database
from models.emails import stored_spellings
from models.errors import PasswordGuessable
from models.people.users import User

SHORTEST_PASSWORD = 12
"""The least number of characters of a new password."""
_LEAST_SCORE = 3
"""The least score of zxcvbn that a password must have, from 0 to 4: 3 stands for at least 100 million guesses."""
_SHORTEST_WORD = 2
"""Known words up to this length, such as a short name, are not removed from a password before it is judged."""
OUR_WORDS = (
    *("Standortverwaltung", "Standort", "Standorte", "Hauptaccount", "Nebenaccount", "Account", "Kundenkonto"),
    *("Kundennummer", "Kundenportal", "Portal", "Rufnummer", "Telefon", "Telefonie", "SIP", "Trunk", "SIP-Trunk"),
    *("Backoffice", "Administrator", "Passwort", "Kennwort", "Password"),
)
"""Words of this portal that every attacker knows, so that they make no password harder to guess."""
_EXAMINED = 20
"""How many characters of the beginning and of the end of a password zxcvbn judges: for long texts it takes seconds."""


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """Return a well-formed Argon2id hash that matches no password, with the parameters of `hasher`.

    It is assembled as text, because computing a real hash would slow down the start of every program.
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${'A' * 22}${'A' * 43}"


_hasher = PasswordHasher()


# Checked when there is no such user, so that the answer takes as long as for a wrong password.
_NOBODY = _nobodys_hash(_hasher)


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, with the library's default parameters (RFC 9106, low-memory profile).

    The password is first normalised to NFKC (NIST SP 800-63B, 5.1.1.2), because devices encode the same letter in
    different ways.
    """
    return _hasher.hash(_normal(password))


def authenticate(session: Session, email: str, password: str) -> User | None:
    """Return the user with this e-mail address and password; None if either is wrong or the user is disabled.

    A wrong password, a user without a password and an unknown address take the same time. If the password is right, but
    its stored hash has outdated parameters or was made without NFKC normalisation, the hash is replaced.
    """
    spellings = stored_spellings(email)
    name_to_database(session, Named.EMAIL, *spellings)
    user = session.scalar(sa.select(User).where(User.email.in_(spellings)))
    known = user.password_hash if user is not None else None
    # Older hashes are of the password as it was typed.
    for spelling in dict.fromkeys((_normal(password), password)):
        if _fits(known or _NOBODY, spelling) and user is not None and known is not None:
            if spelling != _normal(password) or _hasher.check_needs_rehash(known):
                user.password_hash = hash_password(password)
            return user if user.disabled_at is None else None
    return None


def ensure_hard_to_guess(password: str, *known: str) -> None:
    """Raise `PasswordGuessable` if a password is common, a simple pattern, or made of words that others know.

    Such words are those of the portal (`OUR_WORDS`) and the words `known` about its user, for example the name and the
    e-mail address. They are removed. The library zxcvbn judges the rest of the password with its own lists of common
    passwords, offline.
    """
    # Large lists of words, needed only where a new password is chosen.
    from zxcvbn import zxcvbn

    text = _normal(password)
    words = {part for one in (*known, *OUR_WORDS) for part in (one, *re.split(r"\W+", one))}
    for word in sorted(words, key=len, reverse=True):
        if len(word) > _SHORTEST_WORD:
            text = re.sub(re.escape(_normal(word)), "", text, flags=re.IGNORECASE)
    # A long one is hard to guess if its beginning or its end is.
    if all(not part or zxcvbn(part)["score"] < _LEAST_SCORE for part in {text[:_EXAMINED], text[-_EXAMINED:]}):
        raise PasswordGuessable


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _fits(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False
