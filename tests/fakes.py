"""Fakes of external systems that record what they are sent, a clock that tests advance, and a function that waits."""

from __future__ import annotations

import email
import re
import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from threading import Lock

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tasks.ports import Block, GatewayError, Letter, Mail, NumberTaken, SipAddress, Subscriber, TrunkRecord
from workers.stack.ports import free_port


class FakeClock:
    """A clock that stands still at Monday, 2 March 2026, 9:00 in Berlin, until a test advances it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set the clock back to Monday, 2 March 2026, 9:00 in Berlin."""
        self.now = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> datetime:
        """Advance the clock by `by` and return the new time."""
        self.now += by
        return self.now


@dataclass
class FakeRegistrar:
    """A fake of the registrar that keeps trunks in memory by SIP user.

    `writes` are all trunk records that were written, in order. Each write of a trunk removes the next of the
    `failures`: a `GatewayError` is returned as that trunk's result, any other exception is raised. `strangers` are
    subscribers that were added outside the portal, `calls` the times of the recorded calls, `blocks` the number blocks
    that were written, by first number. If `away` is set, this error is raised by reading and removing subscribers, by
    counting and deleting calls, and by writing and reading blocks. `taken` are numbers of a trunk that is not the
    portal's: trunks that have one are refused.
    """

    trunks: dict[str, TrunkRecord] = field(default_factory=dict)
    writes: list[TrunkRecord] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    strangers: dict[SipAddress, Subscriber] = field(default_factory=dict)
    calls: list[datetime] = field(default_factory=list)
    away: GatewayError | None = None
    blocks: dict[int, Block] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        if self.away is not None:
            raise self.away
        self.blocks |= {block.first_number: block for block in blocks}

    def read_blocks(self) -> Generator[Block]:
        yield from (self.blocks[first] for first in sorted(self.look_up_blocks(self.blocks)))

    def look_up_blocks(self, first_numbers: Collection[int]) -> dict[int, Block]:
        if self.away is not None:
            raise self.away
        return {first: self.blocks[first] for first in first_numbers if first in self.blocks}

    def remove_blocks(self, first_numbers: Collection[int]) -> None:
        for first in first_numbers:
            self.blocks.pop(first, None)

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        return [self._put(record) for record in records]

    def _put(self, record: TrunkRecord) -> GatewayError | None:
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, GatewayError):
            return failure
        if failure is not None:
            raise failure
        if hit := self.taken.intersection(record.numbers):
            return NumberTaken("number_of_another_trunk", hit)
        self.writes.append(record)
        self.trunks[record.sip_user] = record
        return None

    def read(self) -> Generator[Subscriber]:
        there = self.look_up(self._addresses())
        yield from (there[address] for address in sorted(there))

    def look_up(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Subscriber]:
        if self.away is not None:
            raise self.away
        ours = {(record.sip_user, record.domain): _as_subscriber(record) for record in self.trunks.values()}
        there = ours | self.strangers
        return {address: there[address] for address in addresses if address in there}

    def remove(self, addresses: Collection[SipAddress]) -> None:
        if self.away is not None:
            raise self.away
        for address in list(addresses):
            self.strangers.pop(address, None)
            if address in self._addresses():
                del self.trunks[address[0]]

    def release(self, addresses: Collection[SipAddress]) -> None:
        for address in addresses:
            self.strangers.pop(address, None)

    def count(self, before: datetime) -> int:
        if self.away is not None:
            raise self.away
        return sum(at < before for at in self.calls)

    def forget(self, before: datetime, limit: int) -> int:
        gone = sorted(self.calls)[: min(limit, self.count(before))]
        for at in gone:
            self.calls.remove(at)
        return len(gone)

    def _addresses(self) -> set[SipAddress]:
        return {(record.sip_user, record.domain) for record in self.trunks.values()} | self.strangers.keys()

    def close(self) -> None:
        pass


def _as_subscriber(record: TrunkRecord) -> Subscriber:
    return Subscriber(
        record.sip_user,
        record.domain,
        login=(record.ha1, record.ha1b, ""),
        aliases=tuple((number, record.domain) for number in record.numbers),
        preferences=tuple(record.preferences.items()),
        keys=frozenset({record.key}),
    )


@dataclass
class FakeMailer:
    """A fake of the mail gateway that keeps each mail in `sent`.

    `failures` are lists of errors by recipient address. Each mail to such an address removes the first error and raises
    it.
    """

    sent: list[Mail] = field(default_factory=list)
    failures: dict[str, list[GatewayError]] = field(default_factory=dict)

    @property
    def but_receipts(self) -> list[Mail]:
        """Return the sent mails except receipts, which only confirm that an order or a request has arrived."""
        return [
            mail for mail in self.sent if not re.search("^Wir haben Ihre .*erhalten|^We have received", mail.subject)
        ]

    def send(self, mail: Mail) -> None:
        if waiting := self.failures.get(mail.recipient_address):
            raise waiting.pop(0)
        self.sent.append(mail)

    def close(self) -> None:
        pass


@dataclass
class FakePrinter:
    """A fake of the letter printer that keeps each letter in `printed`.

    While there are `failures`, each letter removes the first one and raises it.
    """

    printed: list[Letter] = field(default_factory=list)
    failures: list[GatewayError] = field(default_factory=list)

    def print_letter(self, letter: Letter) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.printed.append(letter)


class MailSink:
    """A real SMTP server on a free port that keeps every mail, raw and parsed. It accepts connections after `start`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._messages: list[tuple[str, EmailMessage]] = []
        self.raw: list[bytes] = []
        """Each received mail as raw bytes."""
        self._controller: Controller | None = None
        self.port = free_port()
        self.connections = 0
        self.answers: dict[str, str] = {}
        """The replies that refuse recipients, for example '550 no such user', by the recipient's address."""

    def start(self) -> None:
        """Start the server; a restart after `stop` uses the same port."""
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        """Stop the server. Safe to run twice."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    @property
    def url(self) -> str:
        """Return the server's URL, as a value for the setting SMTP_URL."""
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def received(self) -> list[tuple[str, EmailMessage]]:
        """Return the recipient and the parsed mail of every mail so far, in the order of arrival."""
        with self._lock:
            return list(self._messages)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self.answers.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        with self._lock:
            self.raw.append(content)
            for recipient in envelope.rcpt_tos:
                self._messages.append((recipient, email.message_from_bytes(content, policy=default)))
        return "250 OK"


def wait_until(condition: Callable[[], object], *, seconds: float = 30, what: str = "the condition") -> None:
    """Wait until `condition` returns something true; raise `AssertionError` if it does not within `seconds`.

    `what` names the condition in the error.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        # Most conditions query the database, so do not check without a pause.
        time.sleep(0.05)
