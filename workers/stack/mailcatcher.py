"""A mail server that stores mails as files and does not deliver them.

Usage: `python -m workers.stack.mailcatcher PORT DIRECTORY`.

DIRECTORY gets one `.eml` file for each mail and recipient. A mail that is sent twice with the same Message-ID is stored
once, as in a mail program that recognises duplicates.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
import sys
import tempfile
from email.parser import BytesHeaderParser
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from workers.stack.ports import LOOPBACK


class Catcher:
    """An aiosmtpd handler that stores mails in `directory`, one file for each mail and recipient, written atomically.

    A mail with the same Message-ID and recipient as an earlier mail replaces the earlier file.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Store a received mail for each recipient, and return the SMTP reply. aiosmtpd requires this method name."""
        del server, session
        content = envelope.original_content or b""
        for recipient in envelope.rcpt_tos:
            self._keep(recipient, content)
        return "250 kept"

    def _keep(self, recipient: str, content: bytes) -> None:
        message_id = str(BytesHeaderParser().parsebytes(content).get("Message-ID", "")).strip()
        # A mail without Message-ID is identified by its content.
        key = f"{recipient.lower()}\n{message_id}".encode() if message_id else recipient.encode() + content
        readable = re.sub(r"[^A-Za-z0-9.@_-]", "_", recipient)[:80]
        target = self._directory / f"{readable}.{hashlib.sha256(key).hexdigest()[:16]}.eml"
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix=".", delete=False) as unfinished:
            unfinished.write(content)
        Path(unfinished.name).replace(target)


async def _serve(port: int, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    catcher = Catcher(directory)
    server = await loop.create_server(
        lambda: SMTP(catcher, hostname="localhost", enable_SMTPUTF8=True, loop=loop), LOOPBACK, port
    )
    try:
        await stopped.wait()
    finally:
        server.close()


def main() -> None:
    """Run the mail server until SIGTERM or SIGINT.

    The command line has the TCP port on the loopback address, and the path of the directory for the mails, which is
    created if it is missing.
    """
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))


if __name__ == "__main__":
    main()
