"""Sends mail over SMTP: one connection for each process, which is kept open, and standard MIME messages."""

from __future__ import annotations

import re
import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit

import idna

from models.values import utc_now
from tasks.ports import GatewayRefused, GatewayUnavailable, Mail

_TIMEOUT = 10.0
_TOO_LARGE = 552
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Characters that are harmless in a mail, but that Python's email library treats as line breaks.
_LINE_SEPARATOR = re.compile("[\x85\u2028\u2029]")
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


class _Policy(EmailPolicy):
    """Parses and encodes a header only if it is not plain ASCII text already; every header stands once.

    Without it, two thirds of the time that building a mail takes go into parsing what we have just written.
    """

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        if isinstance(value, str) and value.isascii() and "=?" not in value and not _CONTROL.search(value):
            return name, value
        return super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value

    def header_max_count(self, name: str) -> int:
        return 1


# RFC 2045 allows 76 characters in a line of quoted-printable text, RFC 5321 allows 998 in any line. Headers are not
# folded at 76: when folding, Python 3.11 drops spaces of a subject and the quotes around a name, whose commas would
# then split the address.
_TEXT = _Policy(linesep="\r\n", max_line_length=76)
_ON_THE_WIRE = _TEXT.clone(max_line_length=998)


class SmtpMailer:
    """A client of one mail server.

    `url` is smtp://host:port, smtps://user:password@host:465 or smtp+starttls://user:password@host:587;
    `sender` is the From header. Connects for the first mail, and again after the server has closed the connection.
    The server's certificate is verified; the environment variable SSL_CERT_FILE can name an additional certificate.
    """

    def __init__(self, url: str, sender: str) -> None:
        self._url = urlsplit(url)
        self._sender = _mailbox(*parseaddr(sender))
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises `GatewayUnavailable` for temporary failures, `GatewayRefused` for permanent ones."""
        message = build_message(mail, self._sender)
        recipient, content = parseaddr(message["To"])[1], message.as_bytes(policy=_ON_THE_WIRE)
        fresh = self._smtp is None
        try:
            self._try(recipient, content)
        except GatewayUnavailable:
            self.close()
            if fresh:
                raise
            # A server may close an idle connection, so try once more on a new connection.
            self._try(recipient, content)

    def ping(self) -> None:
        """Raise `GatewayUnavailable` unless the server answers."""
        try:
            self._connected().noop()
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise GatewayUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Close the connection to the server; the next mail connects again."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            try:
                smtp.quit()
            except (OSError, smtplib.SMTPException):
                smtp.close()

    def _try(self, recipient: str, content: bytes) -> None:
        smtp = self._connected()
        try:
            smtp.sendmail(self._sender.addr_spec, [recipient], content)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, _)] = error.recipients.values()
            raise _answered(code) from error
        except smtplib.SMTPSenderRefused as error:
            # Unless the mail is too large, the server refuses us as a sender, which is not the mail's fault.
            too_large = error.smtp_code == _TOO_LARGE
            raise _answered(_TOO_LARGE) if too_large else GatewayUnavailable(str(error.smtp_code)) from error
        except smtplib.SMTPDataError as error:
            raise _answered(error.smtp_code) from error
        except (OSError, smtplib.SMTPException) as error:
            raise GatewayUnavailable(type(error).__name__) from error

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is None:
            try:
                self._smtp = self._connect()
            except (OSError, smtplib.SMTPException) as error:
                # A failure of greeting, certificate or login, before the first mail, is not the mail's fault.
                raise GatewayUnavailable(type(error).__name__) from error
        return self._smtp

    def _connect(self) -> smtplib.SMTP:
        scheme, host = self._url.scheme, self._url.hostname or "127.0.0.1"
        port = self._url.port or _PORTS[scheme]
        smtp: smtplib.SMTP
        if scheme == "smtps":
            smtp = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=ssl.create_default_context())
        else:
            smtp = smtplib.SMTP(host, port, timeout=_TIMEOUT)
        try:
            if scheme == "smtp+starttls":
                smtp.starttls(context=ssl.create_default_context())
            if self._url.username:
                smtp.login(unquote(self._url.username), unquote(self._url.password or ""))
        except BaseException:
            smtp.close()
            raise
        return smtp


def build_message(mail: Mail, sender: Address) -> EmailMessage:
    """Return the mail as a MIME message with text and HTML as alternatives.

    Raises `GatewayRefused` if the recipient's address or name, or the subject, is not allowed in a header.
    """
    message = EmailMessage(policy=_TEXT)
    try:
        message["To"] = str(_mailbox(mail.recipient_name, mail.recipient_address))
        message["Subject"] = mail.subject
    except (ValueError, IndexError, HeaderParseError) as error:
        raise GatewayRefused("header_not_possible") from error
    # Python 3.11 decodes a line break hidden in a name like =?utf-8?q?=0ABcc:_...?= and would write it into the header.
    if any(_CONTROL.search(str(value)) for value in message.values()):
        raise GatewayRefused("header_not_possible")
    message["From"] = str(sender)
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message["MIME-Version"] = "1.0"
    message.make_alternative()
    # Set afterwards, because make_alternative moves every Content header that exists into the first part.
    message["Content-Language"] = mail.locale
    message.add_alternative(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def _mailbox(name: str, address: str) -> Address:
    # Mail servers need the ASCII form of a domain: info@xn--mller-kva.de for info@müller.de.
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode()
    return Address(_LINE_SEPARATOR.sub(" ", name), addr_spec=local + at + domain)


def _answered(code: int) -> GatewayRefused | GatewayUnavailable:
    return GatewayRefused(str(code)) if 500 <= code < 600 else GatewayUnavailable(str(code))
