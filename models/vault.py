"""Secrets: SIP passwords that must be readable again, and codes and link tokens that are derived and never stored.

Everything comes from `SECRET_KEY`. A new key goes in front of the old ones: it seals and derives, the old ones still
open and are still accepted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
CODE_LENGTH = 10
"""About 49 bits: with five tries nobody guesses it."""


class SecretUnreadable(Exception):
    """The secret was encrypted with a key that is not among ours."""


class Vault:
    """Encrypts and derives with the first key, decrypts and accepts with any."""

    def __init__(self, *keys: str) -> None:
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(_derived("vault", key))) for key in keys])
        self._key = keys[0]
        self._keys = [_derived("codes", key) for key in keys]

    def seal(self, secret: str) -> bytes:
        """Encrypt."""
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Decrypt. Raises `SecretUnreadable` if none of the keys fits."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise SecretUnreadable from error

    def fingerprint(self, use: str, content: bytes) -> bytes:
        """A digest by which nobody guesses the content who has the database alone. A new key makes other ones."""
        return hmac.digest(_derived(use, self._key), content, "sha256")

    def code(self, *about: str) -> str:
        """Ten characters without look-alikes that belong to these words and to no others."""
        return _code(self._keys[0], about)

    def token(self, *about: str) -> str:
        """For a link: 128 bits that belong to these words."""
        return _token(self._keys[0], about)

    def is_code(self, typed: str, *about: str) -> bool:
        """Whether this is the code of these words, however it was typed. In constant time."""
        plain = plain_code(typed).encode()
        # Every key is tried, so that the time says nothing.
        return sum(hmac.compare_digest(plain, _code(key, about).encode()) for key in self._keys) > 0

    def is_token(self, given: str, *about: str) -> bool:
        """Whether this is the token of these words. In constant time."""
        return sum(hmac.compare_digest(given.encode(), _token(key, about).encode()) for key in self._keys) > 0


def display_code(code: str) -> str:
    """In two groups, as people read it aloud."""
    return f"{code[:5]} {code[5:]}"


def plain_code(typed: str) -> str:
    """As it was meant: without spaces and dashes, in capitals."""
    return "".join(character for character in typed.upper() if character.isalnum())


def new_sip_secret() -> str:
    """24 characters without look-alikes, about 139 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(24))


def _derived(use: str, key: str) -> bytes:
    # SECRET_KEY is long and random already; the label keeps each use apart from every other.
    return hashlib.sha256(f"standorte/{use}/1:{key}".encode()).digest()


def _mac(key: bytes, use: str, about: tuple[str, ...]) -> bytes:
    return hmac.digest(key, "\0".join((use, *about)).encode(), "sha256")


def _code(key: bytes, about: tuple[str, ...]) -> str:
    number = int.from_bytes(_mac(key, "code", about))
    characters = []
    for _ in range(CODE_LENGTH):
        number, place = divmod(number, len(CODE_ALPHABET))
        characters.append(CODE_ALPHABET[place])
    return "".join(characters)


def _token(key: bytes, about: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(_mac(key, "token", about)[:16]).rstrip(b"=").decode()
