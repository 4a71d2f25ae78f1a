"""Digests of a SIP login, stored as the secret of a trunk that was taken over from another registrar.

They are stored if the other registrar has only the digests (HA1, RFC 2617) and not the password itself.
"""

from __future__ import annotations

import hashlib
import re

from models.vault import SecretUnreadable

_FORM = re.compile(r"\{HA1\}([0-9a-f]{32}):([0-9a-f]{32}|)")


class SecretUnknown(SecretUnreadable):
    """Raised when a trunk's secret is to be shown, but only its digests are known. Renewing the secret helps."""


def digests_as_secret(ha1: str, ha1b: str) -> str:
    """Return the text that is stored as a trunk's secret if only digests of its login are known: "{HA1}<ha1>:<ha1b>".

    `ha1` is Kamailio's digest HA1 of the SIP user, `ha1b` that of user@domain; `ha1b` may be empty. Raises `ValueError`
    if one of them is not 32 hexadecimal digits.
    """
    text = f"{{HA1}}{ha1.lower()}:{ha1b.lower()}"
    if not _FORM.fullmatch(text):
        raise ValueError("not a digest")
    return text


def known_digests(secret: str) -> tuple[str, str] | None:
    """Return the digests HA1 and HA1b of a secret in the form "{HA1}<ha1>:<ha1b>"; None if the secret is a password.

    HA1 is the digest for the SIP user, HA1b the one for user@domain; HA1b may be "".
    """
    found = _FORM.fullmatch(secret)
    return (found[1], found[2]) if found else None


def ha1_of(secret: str, sip_user: str, domain: str) -> str:
    """Return the digest HA1 (RFC 2617) of a SIP login, in hexadecimal digits.

    `secret` is the login's password, or its known digests in the form "{HA1}<ha1>:<ha1b>".
    """
    known = known_digests(secret)
    return known[0] if known else md5_of(f"{sip_user}:{domain}:{secret}")


def md5_of(text: str) -> str:
    """Return the MD5 digest of a text in hexadecimal digits."""
    # RFC 2617 digest authentication: MD5 is the algorithm that SIP phones support.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
