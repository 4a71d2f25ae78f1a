"""Ports: the Protocols of the external systems that the tasks use.

`workers/gateways/` implements them, `tests/fakes.py` has fakes for unit tests. A gateway reports a failure as either
temporary (`GatewayUnavailable`) or permanent (`GatewayRefused`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from models.telephony.weekly_hours import Hours


class GatewayError(Exception):
    """An external system did not do what was asked."""


class GatewayUnavailable(GatewayError):
    """A temporary failure: no answer in time, so that the call may have taken effect. Retry with the same key."""


class RecipientUnavailable(GatewayError):
    """A temporary failure of one recipient, such as a full mailbox; others can be reached. Retry with the same key."""


class GatewayRefused(GatewayError):
    """A permanent failure: the external system refused the call, and a retry cannot help."""


class NotSent(GatewayRefused):
    """A permanent failure before anything left this machine; it says nothing about the external system."""


class NumberTaken(GatewayRefused):
    """The registrar has one of the trunk's numbers as another trunk's; the same trunk with other numbers may do."""


FORWARD = "forward."
"""What the names of those preferences begin with that are forwardings."""
SECRET_ISSUE = "secret_issue"  # noqa: S105 - the name of a preference
"""The preference that says which secret is in force, without a word about it."""
SUSPENDED = "suspended"
"""The preference that a suspended trunk has, and no other."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """An enabled call forwarding as sent to the registrar.

    It applies during `hours`: pairs of first and end minute since Monday 0:00, German local time, the end excluded.
    """

    condition: str
    target: str
    after_seconds: int | None
    hours: Hours

    @property
    def preferences(self) -> Iterator[tuple[str, str]]:
        """One for each stretch of hours: condition and begin in its name, which no two share; target, seconds, end."""
        for start, end in self.hours:
            yield f"{FORWARD}{self.condition}.{start}", f"{self.target} {self.after_seconds or 0} {end}"


@dataclass(frozen=True, slots=True)
class TrunkRecord:
    """One SIP trunk as sent to the registrar.

    `key` is the idempotency key: writing the same record again changes nothing. `numbers` are all numbers of the
    trunk's blocks, in E.164 with the plus sign. `postal_code` is the connection address's; emergency calls are routed
    by it. A `suspended` trunk can only call 110 and 112.
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

    @property
    def ha1(self) -> str:
        """Return the digest HA1 (RFC 2617) of SIP user, domain and secret."""
        return _digest(f"{self.sip_user}:{self.domain}:{self.secret}")

    @property
    def ha1b(self) -> str:
        """Return the digest HA1 (RFC 2617) for phones that log in as user@domain."""
        return _digest(f"{self.sip_user}@{self.domain}:{self.domain}:{self.secret}")

    @property
    def preferences(self) -> dict[str, str]:
        """Return the trunk's rows for Kamailio's `usr_preferences`, as attribute name to value."""
        known = {
            "provision_key": self.key,
            SECRET_ISSUE: hashlib.sha256(self.ha1.encode()).hexdigest()[:16],
            "channels": str(self.channels),
            "postal_code": self.postal_code,
        }
        if self.suspended:
            known[SUSPENDED] = "1"
        return known | {name: value for one in self.forwardings for name, value in one.preferences}


def _digest(text: str) -> str:
    # RFC 2617 digest authentication: MD5 is the algorithm that SIP phones support.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Block:
    """A number block of the carrier, assigned or free. `first_number` is E.164 without the plus sign."""

    first_number: int
    size: int


class Registrar(Protocol):
    """The telephone network's database of trunks and number blocks."""

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Record blocks as the carrier's own numbers. Safe to run twice. Raises `GatewayUnavailable`."""

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        """Create or update trunks and their numbers. Return each record's error in order; None if it was written.

        Registrations of a suspended trunk, and those made with a trunk's previous secret, are deleted. Safe to run
        twice: each record is an upsert under its key.
        """

    def close(self) -> None:
        """Give back the connection."""


SipAddress = tuple[str, str]
"""SIP user and domain."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """All rows that the registrar has for one SIP user, duplicates included.

    `login` is HA1, HA1b and the clear-text password, which must be empty; None if there is no subscriber row.
    `aliases` are pairs of number and domain, `preferences` pairs of name and value, `keys` the idempotency keys of
    the trunk's records.
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
        """Return the SIP user and domain."""
        return self.sip_user, self.domain


class Subscribers(Protocol):
    """The registrar's subscribers and number blocks, read back and repaired by reconciliation."""

    def read(self) -> Generator[Subscriber]:
        """Yield every subscriber, in byte order of SIP user and domain, from one snapshot, read in pages.

        Raises `GatewayUnavailable`. The caller closes a generator that it does not exhaust.
        """

    def look_up(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Subscriber]:
        """Return the current subscribers of SIP addresses; no entry if none. Raises `GatewayUnavailable`."""

    def remove(self, addresses: Collection[SipAddress]) -> None:
        """Delete every row of SIP addresses. Safe to run twice. Raises `GatewayUnavailable`."""

    def release(self, addresses: Collection[SipAddress]) -> None:
        """Delete the keys of SIP addresses, so that their trunks can be rewritten; registrations stay.

        Safe to run twice. Raises `GatewayUnavailable`.
        """

    def read_blocks(self) -> Generator[Block]:
        """Yield all number blocks by number, read in pages. Raises `GatewayUnavailable`.

        The caller closes a generator that it does not exhaust.
        """

    def look_up_blocks(self, first_numbers: Collection[int]) -> dict[int, Block]:
        """Return the current blocks by first number; no entry if none. Raises `GatewayUnavailable`."""

    def remove_blocks(self, first_numbers: Collection[int]) -> None:
        """Delete blocks by first number. Safe to run twice. Raises `GatewayUnavailable`."""


class CallRecords(Protocol):
    """The telephone network's records of calls and refused registrations, which the portal shows."""

    def count(self, before: datetime) -> int:
        """Return how many records are older than `before`. Raises `GatewayUnavailable`."""

    def forget(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` calls and `limit` refusals older than `before`. Return how many were deleted.

        Safe to run twice. Raises `GatewayUnavailable`.
        """


@dataclass(frozen=True, slots=True)
class Mail:
    """One rendered mail to one person. `message_id` has the angle brackets and is the same at every attempt."""

    message_id: str
    recipient_name: str
    recipient_address: str
    locale: str
    subject: str
    text: str
    html: str


class Mailer(Protocol):
    """Hands mails to the carrier's mail server."""

    def send(self, mail: Mail) -> None:
        """Send one mail, at least once.

        If the server's answer is lost, a retry delivers the mail again with the same Message-ID, which mail systems
        drop as a duplicate.
        """

    def close(self) -> None:
        """End the SMTP conversation."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter on paper. `key` is the same at every attempt; `recipient` are the lines of the address."""

    key: str
    recipient: tuple[str, ...]
    locale: str
    subject: str
    text: str


class LetterPrinter(Protocol):
    """Prints letters and posts them."""

    def print_letter(self, letter: Letter) -> None:
        """Print one letter. Safe to run twice: a letter's key is printed once."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The external systems that the tasks use."""

    registrar: Registrar
    mailer: Mailer
    letters: LetterPrinter
    subscribers: Subscribers
    calls: CallRecords
