"""Read the mails and letters that the embedded stack has stored as files, in place of their recipients."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email import policy
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from sqlalchemy.orm import Session

from models.messages.outbox import messages_of
from workers.demo.api import UnexpectedAnswer

_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The mails and letters of all recipients, read from the folders `mails` and `letters`.

    Methods wait for a mail or letter that is not there yet, at most `patience` seconds. `pause` sleeps for the number
    of seconds that it is given.
    """

    mails: Path
    letters: Path
    patience: float = 20.0
    pause: Callable[[float], None] = time.sleep

    def mail(self, address: str, about: str) -> str:
        """Return the text of the newest mail to `address` that has a link and contains the customer number `about`.

        Raises `UnexpectedAnswer` if no such mail is stored within `patience` seconds.
        """
        return self._awaited(lambda: self._newest_mail(address, about), f"mail to {address}")

    def letter(self, about: str) -> str:
        """Return the text of the newest letter that contains the customer number `about`.

        Raises `UnexpectedAnswer` if no such letter is stored within `patience` seconds.
        """
        return self._awaited(lambda: self._newest_letter(about), f"letter about {about}")

    def _awaited(self, look: Callable[[], str | None], what: str) -> str:
        deadline = time.monotonic() + self.patience
        while True:
            found = look()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise UnexpectedAnswer(f"no {what} after {self.patience:g} s")
            self.pause(0.1)

    def _newest_mail(self, address: str, about: str) -> str | None:
        for mail in _mails(_newest_first(self.mails, "*.eml")):
            body = mail.get_body(("plain",))
            text = str(body.get_content()) if body is not None else ""
            if address in _addresses(mail) and about in text and _LINK.search(text):
                return text
        return None

    def _newest_letter(self, about: str) -> str | None:
        from pypdf import PdfReader  # large: only for the demo

        for path in _newest_first(self.letters, "*.pdf"):
            text = "\n".join(page.extract_text() for page in PdfReader(path).pages)
            if about in text:
                return text
        return None


def link_in(mail: str) -> str:
    """Return the first link in the text of a mail. Raises `UnexpectedAnswer` if the text has no link."""
    found = _LINK.search(mail)
    if found is None:
        raise UnexpectedAnswer("there is no link in the mail")
    return found[0]


def caught_mails(
    session: Session, folder: Path, request_ids: Sequence[uuid.UUID], since: float
) -> Mapping[uuid.UUID, Counter[str]]:
    """Return, by request id, how many mail files in `folder` were sent to each e-mail address for that request.

    Files older than `since` (POSIX time) and mails about other requests are left out. The part of the Message-ID before
    the @ is the key of the queued message, which belongs to a request.
    """
    owners = {message.key: message.request_id for message in messages_of(session, request_ids) if message.request_id}
    caught: dict[uuid.UUID, Counter[str]] = {id: Counter() for id in request_ids}
    recent = (path for path in folder.glob("*.eml") if path.stat().st_mtime >= since)
    for mail in _mails(recent):
        owner = owners.get(str(mail["Message-ID"] or "").strip().removeprefix("<").partition("@")[0])
        if owner is not None:
            caught[owner].update(_addresses(mail))
    return caught


def _mails(paths: Iterator[Path] | Sequence[Path]) -> Iterator[EmailMessage]:
    parser = BytesParser(policy=policy.default)
    for path in paths:
        with path.open("rb") as file:
            mail = parser.parse(file)
        assert isinstance(mail, EmailMessage)
        yield mail


def _addresses(mail: EmailMessage) -> list[str]:
    to = mail["To"]
    return [address.addr_spec.lower() for address in to.addresses] if isinstance(to, AddressHeader) else []


def _newest_first(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
