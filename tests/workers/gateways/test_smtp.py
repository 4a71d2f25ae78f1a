"""Tests of sending mails to a real SMTP server: what arrives, and which failures are temporary or permanent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from models.emails import sendable_address
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, Mail, NotSent, RecipientUnavailable
from tests.certificates import self_signed
from tests.fakes import MailSink
from tests.models.test_emails import RIGHT
from workers.gateways import smtp
from workers.gateways.smtp import SmtpMailer
from workers.stack.ports import free_port

SENDER = "Grüße & Co <noreply@portal.example>"


@pytest.fixture
def mailer(smtp_sink: MailSink) -> Iterator[SmtpMailer]:
    """Provide a mailer for the test's SMTP server; its connection is closed after the test."""
    mailer = SmtpMailer(smtp_sink.url, SENDER)
    yield mailer
    mailer.close()


def a_mail(address: str = "hanna@example.com", *, name: str = "Hanna Palmer", subject: str = "Betreff") -> Mail:
    return Mail(f"<{address.encode().hex()}@portal.example>", name, address, "de", subject, "Text\n", "<p>Text</p>\n")


def received(sink: MailSink) -> EmailMessage:
    """Return the only mail that has arrived. Fails if there is none or more than one."""
    [(_, message)] = sink.received
    return message


def test_answers_go_to_the_customer_service(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    with_service = SmtpMailer(smtp_sink.url, SENDER, "service@grüße.example")
    for sending in (mailer, with_service):
        sending.send(a_mail())
    with_service.close()
    without, answered = (message for _, message in smtp_sink.received)
    assert without["Reply-To"] is None
    assert answered["Reply-To"].addresses == (Address("", addr_spec="service@xn--gre-6ka8l.example"),)


def test_a_mail_arrives_as_it_was_written(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    text = "Grüße aus Köln,\n.\n..und mehr\nFrom heute\n" + "sehr " * 300 + "lang\n"
    html = "<p>Grüße &amp; Küsse – " + "ß" * 1500 + "</p>\n"
    subject = "Ihr Nebenaccount in Mülheim an der Ruhr ist eingerichtet – und noch ein Satz, der länger ist: €"
    mailer.send(Mail("<abc123@portal.example>", "Müller, Jürgen", "jm@example.com", "de", subject, text, html))
    mail = received(smtp_sink)
    assert smtp_sink.received[0][0] == "jm@example.com"
    assert mail["From"].addresses == (Address("Grüße & Co", addr_spec="noreply@portal.example"),)
    assert mail["To"].addresses == (Address("Müller, Jürgen", addr_spec="jm@example.com"),)
    assert mail["Subject"] == subject
    assert mail["Message-ID"] == "<abc123@portal.example>"
    # Without it in the mail itself, a mail program may show the parts as one plain text (RFC 2045, section 4).
    assert mail["MIME-Version"] == "1.0"
    assert (mail["Content-Language"], mail["Auto-Submitted"]) == ("de", "auto-generated")
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert mail.get_content_type() == "multipart/alternative"
    parts = [(part.get_content_type(), part.get_content().replace("\r\n", "\n")) for part in mail.iter_parts()]
    assert parts == [("text/plain", text), ("text/html", html)]
    assert not mail.defects


@pytest.mark.parametrize(
    "name",
    [
        "Eve <all@example.com>, " * 5 + "Eve",
        "Müller & Söhne (Hamburg), Inhaber: " * 3 + "Jürgen Groß",
        "Grüße " * 20 + "Ende",
        "日本" * 60,
        r"\"" * 60,
        "e" * 120,
    ],
    ids=["addresses", "umlauts", "words", "wide", "quotes", "one word"],
)
def test_a_long_name_stays_one_name(smtp_sink: MailSink, mailer: SmtpMailer, name: str) -> None:
    mailer.send(a_mail(name=name))
    assert received(smtp_sink)["To"].addresses == (Address(name, addr_spec="hanna@example.com"),)


def test_a_separator_of_lines_in_a_name_is_a_blank(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    mailer.send(a_mail(name="Hanna\u2028Palmer"))
    assert received(smtp_sink)["To"].addresses[0].display_name == "Hanna Palmer"


@pytest.mark.parametrize("subject", ["wörtlich " * 30 + "Ende", "e" * 300, "日本" * 100, "two  blanks, ü and  € more"])
def test_a_subject_arrives_as_it_was_written(smtp_sink: MailSink, mailer: SmtpMailer, subject: str) -> None:
    mailer.send(a_mail(subject=subject))
    assert received(smtp_sink)["Subject"] == subject


def test_no_line_is_longer_than_mail_servers_have_to_take(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    text = "Grüße " * 500 + "x" * 2000 + "\n"
    mailer.send(Mail("<abc123@portal.example>", "ß" * 120, "jm@example.com", "de", "€" * 90, text, f"<p>{text}</p>\n"))
    [raw] = smtp_sink.raw
    lines = raw.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    end_of_headers = lines.index(b"")
    assert max(map(len, lines[:end_of_headers])) <= 998
    assert max(map(len, lines[end_of_headers:])) <= 76


def test_a_long_mail_leaves_in_parts_that_wait_for_nothing(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    text = "".join(f"{line}: {'wörtlich ' * 9}\n" for line in range(2000))
    mailer.send(Mail("<abc123@portal.example>", "Hanna", "hanna@example.com", "de", "Betreff", text, "<p>Text</p>\n"))
    body = received(smtp_sink).get_body(("plain",))
    assert body is not None and body.get_content().replace("\r\n", "\n") == text
    assert mailer._smtp is not None and mailer._smtp.sock is not None
    assert mailer._smtp.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_many_mails_are_one_conversation(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    smtp_sink.answers["gone@example.com"] = "550 no such user"
    for number in range(20):
        mailer.send(a_mail(f"person{number}@example.com"))
        with pytest.raises(GatewayRefused, match="550"):
            mailer.send(a_mail("gone@example.com"))
    assert [recipient for recipient, _ in smtp_sink.received] == [f"person{n}@example.com" for n in range(20)]
    assert smtp_sink.connections == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("450 mailbox busy", RecipientUnavailable),
        ("451 greylisted, come back later", RecipientUnavailable),
        ("452 mailbox full", RecipientUnavailable),
        ("421 shutting down", GatewayUnavailable),
    ],
)
def test_what_the_server_puts_off_is_worth_another_try(
    smtp_sink: MailSink, mailer: SmtpMailer, answer: str, error: type[GatewayError]
) -> None:
    smtp_sink.answers["hanna@example.com"] = answer
    with pytest.raises(error, match=answer[:3]):
        mailer.send(a_mail())
    mailer.send(a_mail("other@example.com"))
    del smtp_sink.answers["hanna@example.com"]
    mailer.send(a_mail())
    assert [recipient for recipient, _ in smtp_sink.received] == ["other@example.com", "hanna@example.com"]
    # Only 421 ends the conversation.
    assert smtp_sink.connections == (1 if error is RecipientUnavailable else 2)


class SlowSink(MailSink):
    """A mail server that accepts each mail, but answers only after 0.6 seconds."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await super().handle_DATA(server, session, envelope)
        await asyncio.sleep(0.6)
        return "250 OK"


@pytest.fixture
def slow_sink() -> Iterator[SlowSink]:
    """Provide a running mail server that accepts each mail, but answers only after 0.6 seconds."""
    sink = SlowSink()
    sink.start()
    yield sink
    sink.stop()


def test_a_server_that_answers_late_gets_a_mail_once(slow_sink: SlowSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_TIMEOUT", 0.3)
    mailer = SmtpMailer(slow_sink.url, SENDER)
    for address in ("one@example.com", "two@example.com"):
        mailer.send(a_mail(address))
    mailer.close()
    assert [recipient for recipient, _ in slow_sink.received] == ["one@example.com", "two@example.com"]


def test_a_conversation_ends_in_time_and_is_not_begun_again(
    slow_sink: SlowSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "CONVERSATION", timedelta(seconds=0.3))
    mailer = SmtpMailer(slow_sink.url, SENDER)
    with pytest.raises(GatewayUnavailable):
        mailer.send(a_mail())
    assert len(slow_sink.received) == 1
    monkeypatch.setattr(smtp, "CONVERSATION", timedelta(seconds=30))
    mailer.send(a_mail("next@example.com"))
    mailer.close()
    assert [recipient for recipient, _ in slow_sink.received] == ["hanna@example.com", "next@example.com"]


def test_nobody_listens_until_the_server_is_back(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    mailer.send(a_mail("one@example.com"))
    smtp_sink.stop()
    for _ in range(2):
        with pytest.raises(GatewayUnavailable):
            mailer.send(a_mail("two@example.com"))
    with pytest.raises(GatewayUnavailable):
        mailer.ping()
    smtp_sink.start()
    mailer.ping()
    mailer.send(a_mail("three@example.com"))
    assert [recipient for recipient, _ in smtp_sink.received] == ["one@example.com", "three@example.com"]


def test_a_server_that_has_hung_up_in_between_is_no_failure(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    mailer.send(a_mail("one@example.com"))
    smtp_sink.stop()
    smtp_sink.start()
    mailer.send(a_mail("two@example.com"))
    assert [recipient for recipient, _ in smtp_sink.received] == ["one@example.com", "two@example.com"]


def test_a_connection_that_we_have_closed_ourselves_is_opened_again(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    mailer.send(a_mail("one@example.com"))
    assert mailer._smtp is not None
    mailer._smtp.close()
    mailer.send(a_mail("two@example.com"))
    assert [recipient for recipient, _ in smtp_sink.received] == ["one@example.com", "two@example.com"]


@pytest.mark.parametrize("address", RIGHT.values())
def test_what_may_be_entered_can_be_sent(smtp_sink: MailSink, mailer: SmtpMailer, address: str) -> None:
    mailer.send(a_mail(address))
    assert smtp_sink.received[0][0] == sendable_address(address)
    assert received(smtp_sink)["To"].addresses[0].addr_spec == sendable_address(address)


def test_a_domain_with_umlauts_is_written_as_mail_servers_know_it(smtp_sink: MailSink, mailer: SmtpMailer) -> None:
    mailer.send(a_mail("info@müller-straße.de"))
    assert smtp_sink.received[0][0] == "info@xn--mller-strae-46a18a.de"
    assert received(smtp_sink)["To"].addresses[0].addr_spec == "info@xn--mller-strae-46a18a.de"


@pytest.mark.parametrize(
    "mail",
    [
        a_mail(name="Eve\r\nBcc: all@example.com"),
        a_mail(subject="Hello\nBcc: all@example.com"),
        a_mail(name="=?utf-8?q?Eve=0D=0ABcc:_all@example.com?="),
        a_mail(subject="Hello =?utf-8?b?DQpCY2M6IGFsbEBleGFtcGxlLmNvbQ==?="),
        a_mail("eve@example.com\r\nRCPT TO:<all@example.com>"),
        a_mail("a@b@example.com"),
        a_mail("jürgen@example.com"),
        a_mail("nobody"),
        a_mail(""),
    ],
    ids=[
        "name",
        "subject",
        "encoded name",
        "encoded subject",
        "address",
        "two at signs",
        "umlaut in front",
        "no at sign",
        "empty",
    ],
)
def test_what_cannot_stand_in_a_header_is_refused(smtp_sink: MailSink, mailer: SmtpMailer, mail: Mail) -> None:
    with pytest.raises(NotSent):
        mailer.send(mail)
    mailer.send(a_mail("next@example.com"))
    assert [recipient for recipient, _ in smtp_sink.received] == ["next@example.com"]


def test_a_server_that_does_not_want_us_at_all_refuses_no_mail(smtp_sink: MailSink) -> None:
    # Wrong settings of ours can be corrected, so no mail may be given up because of them.
    with_login = SmtpMailer(smtp_sink.url.replace("smtp://", "smtp://portal:wrong@"), SENDER)
    with_tls = SmtpMailer(smtp_sink.url.replace("smtp://", "smtp+starttls://"), SENDER)
    nobody = SmtpMailer(f"smtp://127.0.0.1:{free_port()}", SENDER)
    for mailer in (with_login, with_tls, nobody):
        with pytest.raises(GatewayUnavailable):
            mailer.send(a_mail())
        with pytest.raises(GatewayUnavailable):
            mailer.ping()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("550 portal.example may not send here", GatewayUnavailable),
        ("552 message too large", GatewayRefused),
    ],
)
def test_what_is_wrong_with_the_sender_is_not_the_mails_fault(
    smtp_sink: MailSink, mailer: SmtpMailer, answer: str, error: type[Exception]
) -> None:
    async def handle_mail(*_: object) -> str:
        return answer

    smtp_sink.handle_MAIL = handle_mail  # type: ignore[attr-defined]
    with pytest.raises(error, match=answer[:3]):
        mailer.send(a_mail())


class TlsSink(MailSink):
    """A mail server to which clients connect over TLS from the start. `certificate` has its certificate and key."""

    def __init__(self, certificate: Path) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ssl_context=self._context)
        self._controller.start()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a self-signed certificate and its private key. No client trusts the certificate by default."""
    return self_signed(tmp_path)


def test_a_server_has_to_show_a_certificate_that_is_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = TlsSink(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sink.start()
    try:
        mailer = SmtpMailer(sink.url.replace("smtp://", "smtps://"), SENDER)
        mailer.send(a_mail())
        mailer.close()
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(GatewayUnavailable, match="SSLCertVerificationError"):
            mailer.send(a_mail())
    finally:
        sink.stop()
    assert len(sink.received) == 1
