"""Validation and normalisation of e-mail addresses: an address is accepted if the mailer can send to it.

Needs no database.
"""

from __future__ import annotations

import re

import idna
from email_validator import EmailNotValidError, validate_email

from models.invisible_characters import typed_text

LONGEST_EMAIL = 254
"""Maximum length of an address, in characters."""

_WITH_NAME = re.compile(r"([^<>]*)<([^<>]*)>")
# Spellings that need no parser: plain letters, and none of the names that are kept for tests and private networks.
_PLAIN = re.compile(
    r"[a-z0-9_+-]{1,64}(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?!local$|localhost$|test$|invalid$|onion$|arpa$|alt$)[a-z]{2,24}"
)


class BadEmail(ValueError):
    """Raised when a text is no e-mail address that we can send to.

    `code` is `not_ascii_before_at` if the part before the @ has characters that most mail servers refuse, such as
    umlauts; otherwise `not_an_email_address`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def typed_email(typed: str) -> str:
    """Return a typed e-mail address with its domain in lower case and in Unicode: info@müller.de, not info@xn--….

    A name before the address ("Hanna Palmer <hanna@example.com>") and invisible characters are removed. Raises
    `BadEmail` if the text is no e-mail address that we can send to.
    """
    text = typed_text(typed).strip()
    if "<" in text and (found := _WITH_NAME.fullmatch(text)):
        text = found[2].strip()
    local, at, domain = text.rpartition("@")
    plain = f"{local}@{domain.lower()}"
    if len(plain) < 100 and "--" not in domain and len(local) <= 64 and _PLAIN.fullmatch(plain.lower()):
        return plain
    if at and not local.isascii():
        raise BadEmail("not_ascii_before_at")
    try:
        found_parts = validate_email(text, check_deliverability=False, allow_smtputf8=False, allow_quoted_local=True)
        sendable_address(found_parts.normalized)
    except (EmailNotValidError, ValueError) as error:
        raise BadEmail("not_an_email_address") from error
    return found_parts.normalized


def name_and_email(typed: str) -> tuple[str, str]:
    """Split a text such as `Palmer, Hanna <hanna@example.com>` into name and address; checks neither.

    Without angle brackets the name is empty and the whole text is the address.
    """
    found = _WITH_NAME.fullmatch(typed.strip())
    return (found[1].strip().strip('"').strip(), found[2].strip()) if found else ("", typed.strip())


def stored_spellings(typed: str) -> tuple[str, str]:
    """Return the two spellings in which a typed address may be stored, in lower case.

    They differ in the domain: in Unicode (info@müller.de), and in the ASCII form that browsers send and that older
    rows have (info@xn--mller-kva.de). A text that is no address is returned twice, in lower case.
    """
    try:
        address = typed_email(typed).lower()
        return address, sendable_address(address)
    except ValueError:
        text = typed.strip().lower()
        return text, text


def sendable_address(address: str) -> str:
    """Return the address as mail servers need it, with the ASCII form of the domain: info@xn--mller-kva.de.

    Raises `ValueError` if the domain has no ASCII form.
    """
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode()
    return local + at + domain
