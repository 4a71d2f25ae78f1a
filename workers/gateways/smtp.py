"""Outgoing mail over SMTP: one kept-open conversation for each process, correct MIME, no surprises."""

from __future__ import annotations

import re
import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

import idna

from models.values import utc_now
from tasks.ports import GatewayRefused, GatewayUnavailable, Mail

_TIMEOUT = 10.0
_TOO_LARGE = 552
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Harmless in a mail; the library takes them for line breaks.
_LINE_SEPARATOR = re.compile("[\x85\u2028\u2029]")
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
# What RFC 2045 allows for a line of quoted-printable text, and RFC 5321 for any line. Headers are not broken into
# shorter lines: there Python 3.11 drops blanks of a subject and the quotes around a name, whose commas then divide it.
_TEXT = SMTP.clone(max_line_length=76)
_ON_THE_WIRE = SMTP.clone(max_line_length=998)


class SmtpMailer:
    """Hands mails to a mail server.

    `url` is smtp://host:port, smtps://user:password@host:465 or smtp+starttls://user:password@host:587;
    `sender` is the From header. Connects when the first mail comes, and again when the server has hung up.
    A certificate is checked; SSL_CERT_FILE names one that the machine does not know.
    """

    def __init__(self, url: str, sender: str) -> None:
        self._url = urlsplit(url)
        self._sender = _mailbox(*parseaddr(sender))
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises `GatewayUnavailable` for what may heal, `GatewayRefused` for what will not."""
        message = build_message(mail, self._sender)
        recipient, content = message["To"].addresses[0].addr_spec, message.as_bytes(policy=_ON_THE_WIRE)
        fresh = self._smtp is None
        try:
            self._try(recipient, content)
        except GatewayUnavailable:
            self.close()
            if fresh:
                raise
            # A server may hang up on a conversation that was idle: once more on a new one.
            self._try(recipient, content)

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

    def _try(self, recipient: str, content: bytes) -> None:
        smtp = self._connected()
        try:
            smtp.sendmail(self._sender.addr_spec, [recipient], content)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, _)] = error.recipients.values()
            raise _answered(code) from error
        except smtplib.SMTPSenderRefused as error:
            # Unless the mail is too large it is ourselves whom the server does not want, and no fault of the mail.
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
                # A greeting, a certificate, a login: what is wrong before the first mail is no mail's fault.
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
    """Build the mail with text and HTML as alternatives.

    Raises `GatewayRefused` for an address, a name or a subject that cannot stand in a header.
    """
    message = EmailMessage(policy=_TEXT)
    try:
        message["To"] = str(_mailbox(mail.recipient_name, mail.recipient_address))
        message["Subject"] = mail.subject
    except (ValueError, IndexError, HeaderParseError) as error:
        raise GatewayRefused("header_not_possible") from error
    # In a name like =?utf-8?q?=0ABcc:_...?= Python 3.11 decodes the line break that is hidden, and would write it.
    if any(_CONTROL.search(str(value)) for value in message.values()):
        raise GatewayRefused("header_not_possible")
    message["From"] = sender
    message["Date"] = utc_now()
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    # Last: making alternatives moves every Content header that is there into the first part.
    message["Content-Language"] = mail.locale
    return message


def _mailbox(name: str, address: str) -> Address:
    # info@müller.de is info@xn--mller-kva.de to mail servers.
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode()
    return Address(_LINE_SEPARATOR.sub(" ", name), addr_spec=local + at + domain)


def _answered(code: int) -> GatewayRefused | GatewayUnavailable:
    return GatewayRefused(str(code)) if 500 <= code < 600 else GatewayUnavailable(str(code))
