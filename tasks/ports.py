"""Ports: Protocols for the external systems that the tasks use.

`workers/gateways/` implements them, `tests/fakes.py` has fakes for unit tests. A port reports a failure as either
temporary (`GatewayUnavailable`) or permanent (`GatewayRefused`).
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from models.telephony.country_prefixes import UNLIMITED, PrefixRules
from models.telephony.login_digests import ha1_of, known_digests, md5_of
from models.telephony.trunks import RequestUri
from models.telephony.weekly_hours import Hours


class GatewayError(Exception):
    """Raised or returned when an external system did not do what was asked; base class of the other errors of ports."""


class GatewayUnavailable(GatewayError):
    """A temporary failure, such as no answer in time. The call may have taken effect all the same.

    The caller may repeat the call, under the same idempotency key if it has one.
    """


class RecipientUnavailable(GatewayError):
    """A temporary failure for one recipient of mail, such as a full mailbox. Retry with the same Message-ID."""


class GatewayRefused(GatewayError):
    """A permanent failure: the external system refused the call. Repeating the call unchanged cannot help."""


class NotSent(GatewayRefused):
    """Raised or returned when a call was not made at all, because this machine's data make it impossible.

    Examples are a mail whose recipient cannot be written in a header, and a trunk whose stored secret cannot be
    decrypted. Repeating the call cannot help. It does not show whether the external system works.
    """


class NumberTaken(GatewayRefused):
    """Raised or returned when the registrar refuses a trunk, because another trunk there has one of its numbers.

    Retry with other numbers. `numbers` are those that the other trunk has, in E.164 with the plus sign.
    """

    def __init__(self, what: str, numbers: Collection[str] = ()) -> None:
        super().__init__(what)
        self.numbers = frozenset(numbers)


FORWARD = "forward."
"""The prefix of the names of call forwardings among a trunk's preferences.

Preferences are rows of Kamailio's table `usr_preferences`, pairs of name and value.
"""
SECRET_ISSUE = "secret_issue"  # noqa: S105 - the name of a preference
"""The name of the trunk's preference whose value changes with the trunk's secret, without revealing the secret."""
SUSPENDED = "suspended"
"""The name of the registrar's preference that only suspended trunks have."""
REQUEST_URI = "request_uri"
"""The name of the preference that says what the request line of a trunk's incoming calls contains.

A trunk without it gets the dialled number there, as all trunks did before there was a choice.
"""


ALLOW, DENY = "allow.", "deny."
"""The prefixes of the names of preferences that list which numbers a trunk may and may not call.

Each value has beginnings of numbers in E.164, without the plus sign, separated by spaces. The longest beginning that
fits a called number decides. A trunk without these preferences may call all numbers.
"""
_LONGEST_VALUE = 128


@dataclass(frozen=True, slots=True)
class Forwarding:
    """An enabled call forwarding as sent to the registrar: calls under `condition` go to `target`.

    The forwarding applies during `hours`: pairs of first and end minute since Monday 0:00, German local time, the end
    excluded. `condition` is "always", "busy", "no_answer" or "not_registered"; `after_seconds` is how long a call rings
    first, None unless the condition is "no_answer". `numbers` are the first and last number of the range that the
    forwarding is for, in E.164 without the plus sign; `id` is the portal's id of the forwarding. Both are None for a
    forwarding for all numbers of the account.
    """

    condition: str
    target: str
    after_seconds: int | None
    hours: Hours
    numbers: tuple[int, int] | None = None
    id: int | None = None

    @property
    def preferences(self) -> Iterator[tuple[str, str]]:
        """Yield a preference of the registrar, as a pair of name and value, for each span of the hours.

        For all numbers of the account the name is `forward.CONDITION.START` and the value `TARGET SECONDS END`; for a
        range of numbers `forward.ID.START` and `TARGET SECONDS END CONDITION FIRST LAST`. START and END are minutes of
        the week, SECONDS is `after_seconds` (0 for None), ID the forwarding's. Names are unique and have up to 32
        characters.
        """
        for start, end in self.hours:
            value = f"{self.target} {self.after_seconds or 0} {end}"
            if self.numbers is None:
                yield f"{FORWARD}{self.condition}.{start}", value
            else:
                first, last = self.numbers
                yield f"{FORWARD}{self.id}.{start}", f"{value} {self.condition} {first} {last}"


@dataclass(frozen=True, slots=True)
class TrunkRecord:
    """One SIP trunk as sent to the registrar.

    `key` is the idempotency key: writing the same record again under its key changes nothing. `secret` is the SIP
    password, or its digests if the password is not known (`models.telephony.login_digests`). `numbers` are all numbers
    of the trunk's blocks, in E.164 with the plus sign. `postal_code` is that of the connection address, by which
    emergency calls are routed. A `suspended` trunk can only call 110 and 112. `request_uri` is what the request line of
    incoming calls contains: the registered contact or the dialled number. `rules` say which numbers the trunk may call.
    """

    key: str
    sip_user: str
    domain: str
    secret: str
    channels: int
    numbers: tuple[str, ...]
    postal_code: str
    forwardings: tuple[Forwarding, ...] = ()
    suspended: bool = False
    request_uri: RequestUri = RequestUri.NUMBER
    rules: PrefixRules = UNLIMITED

    @property
    def ha1(self) -> str:
        """Return the digest HA1 (RFC 2617, 32 hexadecimal digits), by which phones log in as the SIP user."""
        return ha1_of(self.secret, self.sip_user, self.domain)

    @property
    def ha1b(self) -> str:
        """Return the digest HA1 (RFC 2617, 32 hexadecimal digits), by which phones log in as user@domain.

        It is empty if the password is not known, but only the digest for the SIP user alone.
        """
        known = known_digests(self.secret)
        return known[1] if known else md5_of(f"{self.sip_user}@{self.domain}:{self.domain}:{self.secret}")

    @property
    def preferences(self) -> dict[str, str]:
        """Return the trunk's rows for Kamailio's table `usr_preferences`, as a dict of attribute name to value."""
        known = {
            "provision_key": self.key,
            SECRET_ISSUE: hashlib.sha256(self.ha1.encode()).hexdigest()[:16],
            "channels": str(self.channels),
            "postal_code": self.postal_code,
        }
        if self.suspended:
            known[SUSPENDED] = "1"
        if self.request_uri is not RequestUri.NUMBER:
            known[REQUEST_URI] = str(self.request_uri)
        for name, prefixes in ((ALLOW, self.rules.allowed), (DENY, self.rules.denied)):
            values = textwrap.wrap(" ".join(prefixes), _LONGEST_VALUE)
            known |= {f"{name}{place}": value for place, value in enumerate(values)}
        return known | {name: value for one in self.forwardings for name, value in one.preferences}


@dataclass(frozen=True, slots=True)
class Block:
    """A number block of the carrier, assigned or free: `size` consecutive numbers from `first_number` on.

    `first_number` is in E.164, as an integer without the plus sign.
    """

    first_number: int
    size: int


class Registrar(Protocol):
    """The port by which trunks and number blocks are written to the registrar (Kamailio), by its database."""

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Save number blocks as the carrier's own numbers, assigned or not. Safe to run twice.

        Raises `GatewayUnavailable` if the registrar does not answer, and `GatewayError` if it reports another error.
        """

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        """Create or update trunks and their numbers. Return each record's error, in order; None for a written record.

        Registrations of a suspended trunk, and those made with a trunk's previous secret, are deleted. Safe to run
        twice: each record is an upsert under its key.
        """

    def close(self) -> None:
        """Close the connection to the registrar."""


SipAddress = tuple[str, str]
"""A pair of SIP user and domain."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """All rows that the registrar has for one SIP user, duplicates included.

    `login` is the tuple of HA1, HA1b and the clear-text password, which must be empty; None if there is no subscriber
    row. `aliases` are pairs of number and domain, `preferences` pairs of name and value, `keys` the idempotency keys
    under which the preferences were written. `registered` is whether a phone is registered.
    """

    sip_user: str
    domain: str
    login: tuple[str, str, str] | None
    aliases: tuple[tuple[str, str], ...]
    preferences: tuple[tuple[str, str], ...]
    keys: frozenset[str] = frozenset()
    registered: bool = False

    @property
    def address(self) -> SipAddress:
        """Return the subscriber's SIP address: user and domain."""
        return self.sip_user, self.domain


class Subscribers(Protocol):
    """The port by which the registrar's subscribers (SIP users) and number blocks are read back and deleted."""

    def read(self) -> Generator[Subscriber]:
        """Yield every subscriber, in byte order of SIP user and domain, all from one database snapshot.

        Raises `GatewayUnavailable` if the registrar does not answer. The caller must close the generator unless it
        reads all.
        """

    def look_up(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Subscriber]:
        """Return the subscribers with these SIP addresses as they are now, by address; unknown addresses are left out.

        Raises `GatewayUnavailable` if the registrar does not answer.
        """

    def remove(self, addresses: Collection[SipAddress]) -> None:
        """Delete every row that the registrar has for the SIP addresses. Safe to run twice.

        Raises `GatewayUnavailable` if the registrar does not answer.
        """

    def release(self, addresses: Collection[SipAddress]) -> None:
        """Delete the idempotency keys of the SIP addresses, so that their trunks can be written under other keys.

        Registrations stay. Safe to run twice. Raises `GatewayUnavailable` if the registrar does not answer.
        """

    def read_blocks(self) -> Generator[Block]:
        """Yield all number blocks of the registrar in the order of their first numbers.

        Raises `GatewayUnavailable` if the registrar does not answer. The caller must close the generator unless it
        reads all.
        """

    def look_up_blocks(self, first_numbers: Collection[int]) -> dict[int, Block]:
        """Return the registrar's number blocks that begin at these numbers, by first number.

        The numbers are E.164 without the plus sign; one with which no block begins has no entry. Raises
        `GatewayUnavailable` if the registrar does not answer.
        """

    def remove_blocks(self, first_numbers: Collection[int]) -> None:
        """Delete the registrar's number blocks that begin at these numbers. Safe to run twice.

        The numbers are E.164 without the plus sign. Raises `GatewayUnavailable` if the registrar does not answer.
        """


class CallRecords(Protocol):
    """The port to the telephone network's records of calls and of refused registrations, which are deleted when old."""

    def count(self, before: datetime) -> int:
        """Return how many records, of calls and refused registrations together, are older than `before`.

        Raises `GatewayUnavailable` if the telephone network's database does not answer.
        """

    def forget(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` call records and up to `limit` refused registrations that are older than `before`.

        Return how many records were deleted in all. Safe to run twice. Raises `GatewayUnavailable` if the telephone
        network's database does not answer.
        """


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is sent with a mail. `name` is its file name in ASCII, `media_type` such as `application/pdf`."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """One rendered mail to one person: its subject, its body as text and as HTML, and attached files.

    `message_id` is the Message-ID with its angle brackets, the same at every attempt to send the mail. `locale` is the
    language of the mail.
    """

    message_id: str
    recipient_name: str
    recipient_address: str
    locale: str
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()


class Mailer(Protocol):
    """The port by which mails are handed over to the carrier's mail server."""

    def send(self, mail: Mail) -> None:
        """Send one mail, at least once.

        If the server's answer is lost, a retry delivers the mail again with the same Message-ID, which mail systems
        drop as a duplicate. Raises `GatewayRefused` if the mail is refused permanently, `RecipientUnavailable` if it
        cannot be delivered to this recipient now, and `GatewayUnavailable` if the server cannot be used now.
        """

    def close(self) -> None:
        """Close the connection to the mail server."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter on paper. `key` identifies the letter at every attempt; `recipient` has the lines of the address.

    `text` has paragraphs, divided by empty lines. `date` is the day of the letter in words. If there is a `code`, the
    paragraph of the text that contains it is replaced by the code in large print and a QR code of `link`. `link` is the
    URL of the page where the code is entered. `code` and `link` are None in a letter without a code.
    """

    key: str
    recipient: tuple[str, ...]
    locale: str
    subject: str
    text: str
    date: str = ""
    code: str | None = None
    link: str | None = None


class LetterPrinter(Protocol):
    """The port by which letters are printed and posted."""

    def print_letter(self, letter: Letter) -> None:
        """Print and post one letter. Safe to run twice: letters with the same `key` are printed once.

        Raises `GatewayUnavailable` if the printer cannot be reached.
        """


@dataclass(frozen=True, slots=True)
class Ports:
    """The external systems that the tasks use, each behind its Protocol."""

    registrar: Registrar
    mailer: Mailer
    letters: LetterPrinter
    subscribers: Subscribers
    calls: CallRecords
