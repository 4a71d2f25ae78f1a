"""Trunks of which only the digests of the login are known, not the secret itself, as they were in another registrar."""

from __future__ import annotations

import re

from models.vault import SecretUnreadable

_FORM = re.compile(r"\{HA1\}([0-9a-f]{32}):([0-9a-f]{32}|)")


class SecretUnknown(SecretUnreadable):
    """Raised when a trunk's secret is asked for of which only the digests are known; renewing the secret helps."""


def digests_as_secret(ha1: str, ha1b: str) -> str:
    """Return a text that a trunk has in place of its secret: the digests HA1 of user and of user@domain, as Kamailio's.

    `ha1b` may be empty. Raises `ValueError` if one of them is not 32 hexadecimal digits.
    """
    text = f"{{HA1}}{ha1.lower()}:{ha1b.lower()}"
    if not _FORM.fullmatch(text):
        raise ValueError("not a digest")
    return text


def known_digests(secret: str) -> tuple[str, str] | None:
    """Return the two digests if `secret` is a result of `digests_as_secret`, None if it is a secret itself."""
    found = _FORM.fullmatch(secret)
    return (found[1], found[2]) if found else None
