"""Secrets that must be readable again (SIP passwords), encrypted with a key from the settings."""

from __future__ import annotations

import base64
import hashlib
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


class SecretUnreadable(Exception):
    """The secret was encrypted with a key that is not among ours."""


class Vault:
    """Encrypts with the first key, decrypts with any: a new key goes in front of the old ones."""

    def __init__(self, *keys: str) -> None:
        self._fernet = MultiFernet([Fernet(_derived(key)) for key in keys])

    def seal(self, secret: str) -> bytes:
        """Encrypt."""
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Decrypt. Raises `SecretUnreadable` if none of the keys fits."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise SecretUnreadable from error


def new_sip_secret() -> str:
    """24 characters without look-alikes, about 139 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(24))


def _derived(key: str) -> bytes:
    # SECRET_KEY is long and random already; the label keeps this use apart from every other.
    return base64.urlsafe_b64encode(hashlib.sha256(b"standorte/vault/1:" + key.encode()).digest())
