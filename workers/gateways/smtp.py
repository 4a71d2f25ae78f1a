"""Outgoing mail over SMTP: one kept-open conversation for each process, correct MIME, no surprises."""

from __future__ import annotations

import binascii
import re
import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr
from urllib.parse import unquote, urlsplit

import idna

from models.values import utc_now
from tasks.ports import GatewayRefused, GatewayUnavailable, Mail

_TIMEOUT = 10.0
_TOO_LARGE = 552
_ON_THE_WIRE = compat32.clone(linesep="\r\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


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
        recipient, content = parseaddr(message["To"])[1], message.as_bytes(policy=_ON_THE_WIRE)
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


def build_message(mail: Mail, sender: Address) -> Message:
    """Text and HTML as alternatives. Raises `GatewayRefused` for an address that cannot stand in a header.

    With the library's older message classes: the newer ones take three times as long for the same bytes.
    """
    try:
        recipient = _mailbox(mail.recipient_name, mail.recipient_address)
    except (ValueError, IndexError, HeaderParseError) as error:
        raise GatewayRefused("header_not_possible") from error
    if _CONTROL.search(mail.subject):
        raise GatewayRefused("header_not_possible")
    message = MIMEMultipart("alternative", None, [_part("plain", mail.text), _part("html", mail.html)])
    message["From"] = formataddr((sender.display_name, sender.addr_spec))
    message["To"] = formataddr((recipient.display_name, recipient.addr_spec))
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = mail.locale
    return message


def _part(kind: str, text: str) -> MIMENonMultipart:
    part = MIMENonMultipart("text", kind, charset="utf-8")
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(binascii.b2a_qp(text.encode()).decode("ascii"))
    return part


def _mailbox(name: str, address: str) -> Address:
    # info@müller.de is info@xn--mller-kva.de to mail servers.
    local, at, domain = address.rpartition("@")
    if not domain.isascii():
        domain = idna.encode(domain, uts46=True).decode()
    return Address(name, addr_spec=local + at + domain)


def _answered(code: int) -> GatewayRefused | GatewayUnavailable:
    return GatewayRefused(str(code)) if 500 <= code < 600 else GatewayUnavailable(str(code))
