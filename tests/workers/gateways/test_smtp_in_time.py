"""Tests of mail servers that send an answer byte by byte: at whichever command, the conversation ends in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread

import pytest

from tasks.ports import GatewayUnavailable
from tests.fakes import wait_until
from tests.workers.gateways.test_smtp import SENDER, a_mail
from workers.gateways import smtp
from workers.gateways.smtp import SmtpMailer
from workers.stack.ports import LOOPBACK

_GREETING = "greeting"
_ANSWERS = {
    _GREETING: b"220 here\r\n",
    "EHLO": b"250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
    "STARTTLS": b"220 go ahead\r\n",
    "AUTH": b"235 welcome\r\n",
    "MAIL": b"250 OK\r\n",
    "RCPT": b"250 OK\r\n",
    "DATA": b"354 go ahead\r\n",
    ".": b"250 taken\r\n",
    "NOOP": b"250 OK\r\n",
    "QUIT": b"221 bye\r\n",
}


class DrippingServer:
    """A mail server for one conversation. It answers one command byte by byte for 20 seconds, and others at once.

    `at` is this command, such as "DATA", or "greeting".
    """

    def __init__(self, at: str) -> None:
        self._at = at
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listening.getsockname()[1]
        self.left = Event()
        """Set when the client has ended the connection; not set if this server has."""
        self._ended = Event()
        self._thread = Thread(target=self._talk, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop the server, even in the middle of an answer."""
        self._ended.set()
        self._listening.close()
        self._thread.join()

    def _talk(self) -> None:
        client, _ = self._listening.accept()
        with client, client.makefile("rb") as lines:
            try:
                command = _GREETING
                while self._answer(client, command):
                    line = lines.readline()
                    # Of the content only its end is answered.
                    while command == "DATA" and line not in (b".\r\n", b""):
                        line = lines.readline()
                    if line == b"":
                        raise ConnectionResetError
                    command = line.split()[0].decode().upper()
            except ConnectionError:
                self.left.set()

    def _answer(self, client: socket.socket, command: str) -> bool:
        """Answer a command; return True if the conversation continues, False after the slow answer.

        Raises `ConnectionError` if the client has closed the connection.
        """
        if command != self._at:
            client.sendall(_ANSWERS[command])
            return True
        client.settimeout(0.02)
        client.sendall(_ANSWERS[command][:3] + b"-")
        for _ in range(1000):
            client.sendall(b"x")
            with suppress(TimeoutError):
                # Between two bytes, see whether the client is still there.
                if client.recv(1) == b"":
                    raise ConnectionResetError
            if self._ended.is_set():
                break
        return False


@pytest.fixture
def dripping(request: pytest.FixtureRequest) -> Iterator[DrippingServer]:
    """Provide a running mail server that answers one command byte by byte. The command is the test's parameter."""
    server = DrippingServer(request.param)
    yield server
    server.end()


@pytest.mark.parametrize("dripping", [_GREETING, "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."], indirect=True)
def test_a_mail_ends_in_time_however_slowly_the_answer_comes(
    dripping: DrippingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "CONVERSATION", smtp.CONVERSATION / 100)
    mailer = SmtpMailer(f"smtp://portal:secret@{LOOPBACK}:{dripping.port}", SENDER)
    with pytest.raises(GatewayUnavailable):
        mailer.send(a_mail())
    wait_until(dripping.left.is_set, what="the end of the connection")


@pytest.mark.parametrize("dripping", ["STARTTLS"], indirect=True)
def test_so_it_does_before_tls(dripping: DrippingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "CONVERSATION", smtp.CONVERSATION / 100)
    mailer = SmtpMailer(f"smtp+starttls://{LOOPBACK}:{dripping.port}", SENDER)
    with pytest.raises(GatewayUnavailable):
        mailer.send(a_mail())
    wait_until(dripping.left.is_set, what="the end of the connection")


@pytest.mark.parametrize("dripping", [_GREETING, "NOOP"], indirect=True)
def test_a_sign_of_life_is_not_waited_for_without_end(
    dripping: DrippingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "_PING", 0.3)
    with pytest.raises(GatewayUnavailable):
        SmtpMailer(f"smtp://{LOOPBACK}:{dripping.port}", SENDER).ping()
    wait_until(dripping.left.is_set, what="the end of the connection")


@pytest.mark.parametrize("dripping", ["QUIT"], indirect=True)
def test_a_worker_that_stops_takes_its_leave_in_time(dripping: DrippingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_QUIT", 0.3)
    mailer = SmtpMailer(f"smtp://{LOOPBACK}:{dripping.port}", SENDER)
    mailer.ping()
    mailer.close()
    wait_until(dripping.left.is_set, what="the end of the connection")


def test_of_several_addresses_of_a_server_all_together_have_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a mail to a host name with three addresses that accept no connection: all together have one time limit.

    The first address uses up the time, so the others are not tried. None accepts because its queue is full.
    """
    full = [socket.socket() for _ in range(3)]
    waiting = []
    for server in full:
        server.bind((LOOPBACK, 0))
        server.listen(0)
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
    asked: list[float] = []

    class Counted(socket.socket):
        def connect(self, address: object) -> None:
            asked.append(self.gettimeout() or 0.0)
            super().connect(address)  # type: ignore[arg-type]

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname()) for server in full]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Counted)
    monkeypatch.setattr(smtp, "CONVERSATION", smtp.CONVERSATION / 100)
    with pytest.raises(GatewayUnavailable):
        SmtpMailer("smtp://mail.example:25", SENDER).send(a_mail())
    # The first address has taken all of it, so the others were not even asked.
    assert len(asked) == 1
    for each in (*full, *waiting):
        each.close()
