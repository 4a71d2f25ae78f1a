"""Send mails as MIME messages over SMTP, through one connection for each process, which is kept open."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from email.errors import HeaderParseError
from email.generator import BytesGenerator
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from io import BufferedReader, BytesIO, RawIOBase
from typing import Any
from urllib.parse import unquote, urlsplit

from models.emails import sendable_address
from models.values import Clock, utc_now  # noqa: TID251 - for callers who send nothing
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, Mail, NotSent, RecipientUnavailable

CONVERSATION = timedelta(seconds=30)
"""The time limit for sending one mail, including the connection.

It is shorter than a lease (`LEASE_SECONDS`), so that no other worker sends the same mail meanwhile.
"""

# Seconds without an answer. After the content a server may look for viruses first: who does not wait for its answer
# sends the mail again, and it arrives twice.
_TIMEOUT, _AFTER_DATA = 10.0, 25.0
# Seconds in all: for a sign of life, and for taking leave.
_PING, _QUIT = 10.0, 5.0
_OK, _FORWARDED, _CLOSED, _TOO_LARGE = 250, 251, 421, 552
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Characters that are harmless in a mail, but that Python's email library treats as line breaks.
_LINE_SEPARATOR = re.compile("[\x85\u2028\u2029]")
_LOCAL = "127.0.0.1"
# The most that TLS encrypts at once: a longer content would be several waits.
_RECORD = 16_384
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


class _Policy(EmailPolicy):
    """An email policy that stores headers in plain ASCII without parsing them. A message has each header once at most.

    With the standard policy, two thirds of the time for building a mail would be spent on parsing the new headers.
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
_LINE_END = re.compile("\r\n|\r|\n")


class _Generator(BytesGenerator):
    """A generator that writes a message as bytes, all lines of a part at once; the standard one writes line by line."""

    def _write_lines(self, lines: str) -> None:
        self.write(_LINE_END.sub("\r\n", lines))


class _Client(smtplib.SMTP):
    """An SMTP client with a time limit for every wait. The function `opens(host, port)` opens its connection.

    Before each wait, `limit()` returns the greatest number of seconds to wait, or raises `TimeoutError`. If `tls` is
    not None, the connection uses TLS from its beginning.
    """

    def __init__(
        self,
        host: str,
        port: int,
        opens: Callable[[str, int], socket.socket],
        limit: Callable[[], float],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._opens, self._limit, self._tls = opens, limit, tls
        super().__init__(host, port)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        opened = self._opens(host, port)
        return opened if self._tls is None else self._tls.wrap_socket(opened, server_hostname=host)

    def getreply(self) -> tuple[int, bytes]:
        """Read the server's answer in parts, and wait for each part for at most `limit()` seconds.

        Return the answer's status code and text.
        """
        if self.file is None and self.sock is not None:
            self.file = BufferedReader(_Answers(self.sock, self._limit))
        return super().getreply()

    def docmd(self, cmd: str, args: str = "") -> tuple[int, bytes]:
        """Send a command that is no part of a mail, such as STARTTLS; return the answer's status code and text."""
        reply = super().docmd(cmd, args)
        if self.sock is not None:
            # For the handshake of TLS, whose wait is that of the connection.
            self.sock.settimeout(self._limit())
        return reply

    def send(self, s: Any) -> None:
        """Send a command or the content of a mail in parts, and wait for each part for at most `limit()` seconds."""
        content = s.encode(self.command_encoding) if isinstance(s, str) else s
        for begin in range(0, len(content), _RECORD):
            if self.sock is not None:
                self.sock.settimeout(self._limit())
            super().send(content[begin : begin + _RECORD])


class _Answers(RawIOBase):
    """A stream of the bytes that a server sends over `connection`; each read waits for at most `limit()` seconds.

    A socket's own timeout starts again with each part: a server that sends an answer byte by byte could keep this
    process busy for hours.
    """

    def __init__(self, connection: socket.socket, limit: Callable[[], float]) -> None:
        self._connection, self._limit = connection, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._limit())
        return self._connection.recv_into(buffer)


class SmtpMailer:
    """A client of one mail server.

    `url` is smtp://host:port, smtps://user:password@host:465 or smtp+starttls://user:password@host:587; `sender` is the
    From header and `reply_to` the address in Reply-To, None for no such header. `clock` gives the time for the Date
    header. Connects for the first mail, and again after the server has closed the connection. The server's certificate
    is verified; the environment variable SSL_CERT_FILE can name an additional certificate.
    """

    def __init__(self, url: str, sender: str, reply_to: str | None = None, clock: Clock = utc_now) -> None:
        self._url = urlsplit(url)
        self._clock = clock
        self._reply_to = _mailbox("", reply_to) if reply_to is not None else None
        self._sender = _mailbox(*parseaddr(sender))
        self._smtp: smtplib.SMTP | None = None
        self._ends = 0.0
        """The value of `time.monotonic()` at which the conversation ends."""
        self._patience = _TIMEOUT
        """Seconds that the next answer may take, unless the conversation ends before."""

    @property
    def server(self) -> str:
        """Return host and port of the mail server, such as "mail.example:587"."""
        return f"{self._url.hostname or _LOCAL}:{self._url.port or _PORTS[self._url.scheme]}"

    def send(self, mail: Mail) -> None:
        """Send one mail, in 30 seconds at most (`CONVERSATION`).

        Raises `GatewayRefused` if the server refuses recipient or content with 5xx, the mail is too large, or a header
        is not allowed; `RecipientUnavailable` if the server answers 4xx (except 421) to recipient or content;
        `GatewayUnavailable` if the server does not answer, closes the connection or refuses the sender.
        """
        message = build_message(mail, self._sender, self._reply_to, self._clock)
        recipient, content = parseaddr(message["To"])[1], message_bytes(message)
        try:
            self._begin(CONVERSATION.total_seconds())
            self._name_sender(len(content))
            self._hand_over(recipient, content)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            self._drop()
            raise GatewayUnavailable(type(error).__name__) from error
        except GatewayUnavailable:
            self._drop()
            raise

    def ping(self) -> None:
        """Raise `GatewayUnavailable` unless the mail server accepts the login and a NOOP command within 10 seconds."""
        try:
            self._begin(_PING)
            code, _ = self._connected().noop()
            if code != _OK:
                raise GatewayUnavailable(str(code))
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise GatewayUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Close the connection to the server, in 5 seconds at most; the next mail connects again."""
        if self._smtp is not None:
            self._begin(_QUIT)
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
        self._drop()

    def _begin(self, seconds: float) -> None:
        """Give a conversation with the server `seconds` from now: every wait after that raises `TimeoutError`."""
        self._ends = time.monotonic() + seconds
        self._patience = _TIMEOUT

    def _limit(self) -> float:
        """Return for how many seconds to wait at most until the server sends or accepts the next part.

        Raises `TimeoutError` if the time of the conversation is over.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(self._patience, left)

    def _name_sender(self, size: int) -> None:
        """Begin a mail of `size` bytes with MAIL FROM; if the server has closed the connection, open a new one first.

        Raises `GatewayRefused` if the mail is too large for the server, `GatewayUnavailable` for any other refusal.
        """
        code = _CLOSED if self._smtp is None else self._mail_from(self._smtp, size)
        if code == _CLOSED:
            self._drop()
            code = self._mail_from(self._connected(), size)
        if code == _TOO_LARGE:
            self._connected().rset()
            raise GatewayRefused(str(code))
        if code != _OK:
            # The server does not want us as a sender, which is not the mail's fault.
            raise GatewayUnavailable(str(code))

    def _mail_from(self, smtp: smtplib.SMTP, size: int) -> int:
        try:
            return smtp.mail(self._sender.addr_spec, [f"size={size}"] if smtp.has_extn("size") else [])[0]
        except smtplib.SMTPServerDisconnected:
            return _CLOSED

    def _hand_over(self, recipient: str, content: bytes) -> None:
        """Send the recipient (RCPT TO) and the content of a mail that was begun with `_name_sender`.

        Raises `RecipientUnavailable` for a 4xx answer, such as a full mailbox or greylisting; `GatewayUnavailable` for
        421, with which a server closes the connection; and `GatewayRefused` for 5xx.
        """
        smtp = self._connected()
        code, _ = smtp.rcpt(recipient)
        if code not in (_OK, _FORWARDED):
            if code != _CLOSED:
                smtp.rset()
            raise _failure(code)
        self._patience = _AFTER_DATA
        try:
            code, _ = smtp.data(content)
        except smtplib.SMTPDataError as error:
            code = error.smtp_code
        if code != _OK:
            raise _failure(code)

    def _drop(self) -> None:
        """Close the connection without sending QUIT to the server, which might not answer."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is None:
            try:
                self._connect()
            except (OSError, smtplib.SMTPException) as error:
                # A failure of greeting, certificate or login, before the first mail, is not the mail's fault.
                self._drop()
                raise GatewayUnavailable(type(error).__name__) from error
        assert self._smtp is not None
        return self._smtp

    def _connect(self) -> None:
        scheme, host = self._url.scheme, self._url.hostname or _LOCAL
        port = self._url.port or _PORTS[scheme]
        tls = ssl.create_default_context() if scheme == "smtps" else None
        self._smtp = _Client(host, port, self._open, self._limit, tls)
        if scheme == "smtp+starttls":
            self._smtp.starttls(context=ssl.create_default_context())
        if self._url.username:
            self._smtp.login(unquote(self._url.username), unquote(self._url.password or ""))
        self._smtp.ehlo_or_helo_if_needed()

    def _open(self, host: str, port: int) -> socket.socket:
        """Connect to the first of the host's addresses that answers. Raises `OSError` if none does."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            opened = socket.socket(family, kind, protocol)
            try:
                # Otherwise the second part of a long mail waits 40 ms until the server has acknowledged the first one.
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.settimeout(self._limit())
                opened.connect(address)
                # For the handshake of TLS, whose wait is that of the connection.
                opened.settimeout(self._limit())
            except OSError as error:
                opened.close()
                failure = error
            else:
                return opened
        raise failure or OSError("no address")


def build_message(mail: Mail, sender: Address, reply_to: Address | None = None, clock: Clock = utc_now) -> EmailMessage:
    """Return the mail as a MIME message with text and HTML as alternatives, followed by its attachments.

    `sender` goes into the From header, `reply_to`, if given, into Reply-To, and the time of `clock` into Date. Raises
    `NotSent` if the recipient's address or name, or the subject, is not allowed in a header.
    """
    message = EmailMessage(policy=_TEXT)
    try:
        message["To"] = str(_mailbox(mail.recipient_name, mail.recipient_address))
        message["Subject"] = mail.subject
    except (ValueError, IndexError, HeaderParseError) as error:
        raise NotSent("header_not_possible") from error
    # Python 3.11 decodes a line break hidden in a name like =?utf-8?q?=0ABcc:_...?= and would write it into the header.
    if any(_CONTROL.search(str(value)) for value in message.values()):
        raise NotSent("header_not_possible")
    message["From"] = str(sender)
    if reply_to is not None:
        message["Reply-To"] = str(reply_to)
    message["Date"] = format_datetime(clock())
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    # The same for Exchange and Outlook, which otherwise answer with out-of-office mails.
    message["X-Auto-Response-Suppress"] = "All"
    message["MIME-Version"] = "1.0"
    # No line of quoted-printable text has it: an equals sign is followed by two digits there, or ends the line.
    message.make_alternative(boundary=f"=_{mail.message_id[1:33]}")
    message.add_alternative(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    if mail.attachments:
        # Of the same length as the other, but different: a boundary must not begin with another one.
        message.make_mixed(boundary=f"=-{mail.message_id[1:33]}")
    for attachment in mail.attachments:
        kind, _, subtype = attachment.media_type.partition("/")
        message.add_attachment(attachment.content, maintype=kind, subtype=subtype, filename=attachment.name)
    # Set afterwards, because make_alternative and make_mixed move every Content header that exists into a part.
    message["Content-Language"] = mail.locale
    return message


def message_bytes(message: EmailMessage) -> bytes:
    """Return a message that `build_message` has made as the bytes to send to a mail server."""
    content = BytesIO()
    _Generator(content, mangle_from_=False, policy=_ON_THE_WIRE).flatten(message)
    return content.getvalue()


def _mailbox(name: str, address: str) -> Address:
    return Address(_LINE_SEPARATOR.sub(" ", name), addr_spec=sendable_address(address))


def _failure(code: int) -> GatewayError:
    if 500 <= code < 600:
        return GatewayRefused(str(code))
    if 400 <= code < 500 and code != _CLOSED:
        return RecipientUnavailable(str(code))
    return GatewayUnavailable(str(code))
