"""Encryption of SIP passwords, and derivation of codes and link tokens, which are never stored, from secret keys.

The keys come from the setting `SECRET_KEY`. To change the key, put the new one in front of the old ones: the new key
then encrypts and derives, while the old keys still decrypt, and codes derived from them are still accepted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from models.typed_codes import code_from, plain_code

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


class SecretUnreadable(Exception):
    """Raised when a secret was encrypted with a key that is not among the configured keys."""


class Vault:
    """A key ring that encrypts secrets, and derives codes and tokens from keys.

    The first key encrypts and derives; every key of the ring decrypts secrets and checks codes and tokens, so that keys
    can be changed.
    """

    def __init__(self, *keys: str) -> None:
        ring = [Fernet(base64.urlsafe_b64encode(_derived("vault", key))) for key in keys]
        self._first, self._fernet = ring[0], MultiFernet(ring)
        self._ring = keys
        self._keys = [_derived("codes", key) for key in keys]

    def seal(self, secret: str) -> bytes:
        """Encrypt a secret with the first key. Only `open` can read the result, and notices if it was changed."""
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Decrypt a secret encrypted by `seal` with any key of the ring. Raises `SecretUnreadable` if none fits."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise SecretUnreadable from error

    def reseal(self, sealed: bytes) -> bytes | None:
        """Encrypt a secret again with the first key; return None if it is encrypted with the first key already.

        `sealed` is the encrypted secret. Raises `SecretUnreadable` if no key of the ring fits.
        """
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return self.seal(self.open(sealed))
        return None

    def fingerprints(self, use: str, content: bytes) -> list[bytes]:
        """Return keyed digests (HMAC-SHA-256) of the content, one for each key, the first key's first.

        Without a key nobody can guess the content from a digest. `use` names the purpose; digests for different
        purposes are made with different keys. Store the first digest. To compare other content with it later, check
        whether any of that content's digests equals the stored one, because the first key may have been replaced
        meanwhile.
        """
        return [hmac.digest(_derived(use, key), content, "sha256") for key in self._ring]

    def code(self, *about: str) -> str:
        """Derive the code that belongs to the words `about`: ten characters without look-alikes, the same at each call.

        `about` are texts that identify the code's purpose, such as a kind of proof, an id and a counter.
        """
        return code_from(_mac(self._keys[0], "code", about))

    def token(self, *about: str) -> str:
        """Derive the link token that belongs to the words `about`: 128 bits as URL-safe text, the same at each call.

        `about` are texts that identify the link's purpose, such as "invitation", an id and a counter.
        """
        return _token(self._keys[0], about)

    def is_code(self, typed: str, *about: str) -> bool:
        """Return whether the text is the code that belongs to the words `about`; case, spaces and dashes do not matter.

        Accepts a code derived with any key. Takes constant time.
        """
        plain = plain_code(typed).encode()
        # Every key is tried, so that the duration reveals nothing.
        return sum(hmac.compare_digest(plain, code_from(_mac(key, "code", about)).encode()) for key in self._keys) > 0

    def is_token(self, given: str, *about: str) -> bool:
        """Return whether the text is the token that belongs to the words `about`, by any key. Takes constant time."""
        return sum(hmac.compare_digest(given.encode(), _token(key, about).encode()) for key in self._keys) > 0


def new_salt() -> str:
    """Return 128 random bits as 32 hex digits, to be stored as one of the words that a code is derived from."""
    return secrets.token_hex(16)


def new_sip_secret() -> str:
    """Return a random SIP password: 24 characters without look-alikes, about 139 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(24))


def _derived(use: str, key: str) -> bytes:
    # SECRET_KEY is long and random already; the label gives each use a key of its own.
    return hashlib.sha256(f"standorte/{use}/1:{key}".encode()).digest()


def _mac(key: bytes, use: str, about: tuple[str, ...]) -> bytes:
    return hmac.digest(key, "\0".join((use, *about)).encode(), "sha256")


def _token(key: bytes, about: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(_mac(key, "token", about)[:16]).rstrip(b"=").decode()
