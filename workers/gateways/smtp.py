"""Outgoing mail over SMTP: one kept-open conversation for each process, correct MIME, no surprises."""

from __future__ import annotations

import smtplib
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from typing import cast
from urllib.parse import unquote, urlsplit

from models.values import utc_now
from tasks.ports import GatewayRefused, GatewayUnavailable, Mail

_TIMEOUT = 10.0
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


class SmtpMailer:
    """Hands mails to a mail server.

    `url` is smtp://host:port, smtps://user:password@host:465 or smtp+starttls://user:password@host:587;
    `sender` is the From header. Connects when the first mail comes, and again when the server has hung up.
    """

    def __init__(self, url: str, sender: str) -> None:
        self._url = urlsplit(url)
        name, address = parseaddr(sender)
        self._sender = Address(name, addr_spec=address)
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises `GatewayUnavailable` for what may heal, `GatewayRefused` for what will not."""
        message = build_message(mail, self._sender).as_bytes()
        fresh = self._smtp is None
        try:
            self._try(message, mail.recipient_address)
        except GatewayUnavailable:
            self.close()
            if fresh:
                raise
            # A server may hang up on a conversation that was idle: once more on a new one.
            self._try(message, mail.recipient_address)

    def ping(self) -> None:
        """Raise `GatewayUnavailable` unless the server answers."""
        try:
            self._connected().noop()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise GatewayUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """End the conversation."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            try:
                smtp.quit()
            except (OSError, smtplib.SMTPException):
                smtp.close()

    def _try(self, message: bytes, recipient: str) -> None:
        try:
            self._connected().sendmail(self._sender.addr_spec, [recipient], message)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, _)] = error.recipients.values()
            raise _answered(code) from error
        except smtplib.SMTPResponseException as error:
            raise _answered(error.smtp_code) from error
        except smtplib.SMTPNotSupportedError as error:
            raise GatewayRefused("address_not_supported") from error
        except (OSError, smtplib.SMTPException) as error:
            raise GatewayUnavailable(type(error).__name__) from error

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is None:
            self._smtp = self._connect()
        return self._smtp

    def _connect(self) -> smtplib.SMTP:
        scheme, host = self._url.scheme, self._url.hostname or "127.0.0.1"
        port = self._url.port or _PORTS[scheme]
        kind = smtplib.SMTP_SSL if scheme == "smtps" else smtplib.SMTP
        smtp = kind(host, port, timeout=_TIMEOUT)
        try:
            if scheme == "smtp+starttls":
                smtp.starttls()
            if self._url.username:
                smtp.login(unquote(self._url.username), unquote(self._url.password or ""))
        except BaseException:
            smtp.close()
            raise
        return smtp


class _HeaderTypes(HeaderRegistry):
    """The standard library makes a new class for every single header; one for each name is enough."""

    @lru_cache(maxsize=64)  # noqa: B019 - there is one registry, and it lives as long as the process
    def __getitem__(self, name: str) -> type:
        return cast(type, super().__getitem__(name))


_POLICY = SMTP.clone(header_factory=_HeaderTypes())


def build_message(mail: Mail, sender: Address) -> EmailMessage:
    """Text and HTML as alternatives. Raises `GatewayRefused` for an address that cannot stand in a header."""
    message = EmailMessage(policy=_POLICY)
    try:
        message["From"] = sender
        message["To"] = Address(mail.recipient_name, addr_spec=mail.recipient_address)
        message["Subject"] = mail.subject
    except (ValueError, IndexError) as error:
        raise GatewayRefused("header_not_possible") from error
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = mail.message_id
    message["Content-Language"] = mail.locale
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def _answered(code: int) -> GatewayRefused | GatewayUnavailable:
    return GatewayRefused(str(code)) if 500 <= code < 600 else GatewayUnavailable(str(code))
