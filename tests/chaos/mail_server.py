"""A mail server for chaos runs. It records every mail that it accepts, and its behaviour can be changed."""

from __future__ import annotations

import asyncio
import email
import time
from threading import Lock
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from workers.stack.ports import LOOPBACK, free_port


class MoodyMailServer:
    """An SMTP server in a thread of this process, whose behaviour can be changed while it runs.

    `mood` names the present behaviour, such as "well", "slow" or "hangs up after DATA"; assign it to change the
    behaviour. The server listens at the address `host`, at `port` (None: a free port).
    """

    def __init__(self, host: str = LOOPBACK, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.mood = "well"
        self._lock = Lock()
        self._taken: list[dict[str, Any]] = []
        self._controller = Controller(self, hostname=host, port=self.port)
        self._controller.start()

    @property
    def taken(self) -> list[dict[str, Any]]:
        """Return the accepted mails, each as Message-ID (`id`), recipient (`to`) and seconds since 1970 (`at`)."""
        with self._lock:
            return list(self._taken)

    def stop(self) -> None:
        """Stop the server."""
        self._controller.stop()

    async def handle_RCPT(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Answer the SMTP command RCPT: accept the recipient.

        In the moods "refuses one for now" and "refuses one for good", refuse the contact of the example order with 450
        or 550.
        """
        if self.mood == "refuses one for now" and address.startswith("hanna"):
            return "450 4.2.0 come again"
        if self.mood == "refuses one for good" and address.startswith("hanna"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Record the mail and answer 250.

        In the mood "slow", do so after two seconds. In the mood "hangs up after DATA", record the mail and close the
        connection without an answer.
        """
        if self.mood == "slow":
            await asyncio.sleep(2)
        content = envelope.content
        assert isinstance(content, bytes)
        id = str(email.message_from_bytes(content)["Message-ID"])
        with self._lock:
            self._taken += [{"id": id, "to": to, "at": time.time()} for to in envelope.rcpt_tos]
        if self.mood == "hangs up after DATA":
            assert server.transport is not None
            server.transport.close()
        return "250 OK"
