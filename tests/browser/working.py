"""Runs the workers' code in a browser test, and reads the mails and letters that it sends as their recipients do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import Message
from pathlib import Path

from pypdf import PdfReader

from models.db.session import Database
from tasks.ports import Ports
from tasks.runtime import Runtime
from tests.due_work import advance_requests, send_messages
from tests.fakes import FakeClock, FakeRegistrar, MailSink
from tests.web.conftest import CODE, back_of
from workers.gateways.letters import LetterFolder
from workers.gateways.smtp import SmtpMailer


@dataclass(frozen=True)
class Workers:
    """The workers' code, which runs when a test calls it, and the mails and letters that it has sent.

    `post` is the test's SMTP server, which stores the mails; `letters` is the folder of the letters as PDF files. The
    registrar is a fake.
    """

    runtime: Runtime
    registrar: FakeRegistrar
    clock: FakeClock
    post: MailSink
    letters: Path

    def work(self, *, after: timedelta = timedelta()) -> None:
        """Advance the clock by `after`, then run one batch of due requests and send one batch of due messages."""
        self.clock.advance(after)
        advance_requests(self.runtime)
        send_messages(self.runtime)

    def work_at(self, moment: datetime) -> None:
        """Advance the clock to `moment`, then run one batch of due requests and send one batch of due messages."""
        self.work(after=moment - self.clock.now)

    def mail_to(self, address: str, holding: str = "") -> str:
        """Return subject and text of the newest mail to this address whose subject or text contains `holding`.

        Fails if there is none.
        """
        texts = [text for to, text in self.mails() if to == address]
        return [text for text in texts if holding in text][-1]

    def mails(self) -> list[tuple[str, str]]:
        """Return the recipient's address and the text of each mail, the oldest first.

        The text's first line is the subject. Mails that report a new sign-in are left out.
        """
        texts = [(to, _text_of(message)) for to, message in self.post.received]
        return [(to, text) for to, text in texts if not text.startswith(_SIGN_INS)]

    def letter_to(self, number: str) -> str:
        """Return the text of the only letter that contains this customer number."""
        sheets = [PdfReader(sheet) for sheet in self.letters.iterdir()]
        texts = ["\n".join(page.extract_text() for page in sheet.pages) for sheet in sheets]
        [text] = [text for text in texts if number in text]
        return text


_SIGN_INS = ("Anmeldung mit Ihrem Zugang in einem neuen Browser", "A sign-in with your login in a new browser")


def _text_of(message: Message) -> str:
    [text] = [part for part in message.walk() if part.get_content_type() == "text/plain"]
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    return f"{message['Subject']}\n{content.decode()}"


@contextmanager
def working(url: str, database: Database, clock: FakeClock, post: MailSink, letters: Path) -> Iterator[Workers]:
    """Provide the workers' code, with the portal's `url` in mails and letters.

    Mails are sent by SMTP to `post`, letters are printed to PDF in the folder `letters`; the registrar is a fake.
    """
    runtime, registrar = back_of(database, clock).runtime, FakeRegistrar()
    mailer = SmtpMailer(post.url, "Standortverwaltung <noreply@portal.example>")
    ports = Ports(registrar, mailer, LetterFolder(letters, "Standortverwaltung"), registrar, registrar)
    yield Workers(replace(runtime, base_url=url, ports=ports), registrar, clock, post, letters)
    mailer.close()


def code_in(text: str) -> str:
    """Return the first code for a proof in the text of a mail or letter; fail if there is none."""
    return _found(CODE, text)


def link_in(text: str) -> str:
    """Return the first URL in the text of a mail or letter; fail if there is none."""
    return _found(r"(https?://\S+)", text)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]
