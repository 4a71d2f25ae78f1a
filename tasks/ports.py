"""What the steps need from the outside world, as Protocols.

`workers/gateways/` has the real ones, `tests/fakes.py` the ones for unit tests. A gateway says only two things
about a failure: it may heal (`GatewayUnavailable`) or it never will (`GatewayRefused`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from models.telephony.weekly_hours import Hours


class GatewayError(Exception):
    """Something outside did not do what was asked."""


class GatewayUnavailable(GatewayError):
    """Did not answer, or not in time; nobody knows whether it took effect. Try again under the same key."""


class GatewayRefused(GatewayError):
    """Understood and refused; trying again cannot help."""


FORWARD = "forward."
"""What the names of those preferences begin with that are forwardings."""
SECRET_ISSUE = "secret_issue"  # noqa: S105 - the name of a preference
"""The preference that says which secret is in force, without a word about it."""
SUSPENDED = "suspended"
"""The preference that a suspended trunk has, and no other."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A forwarding that is switched on, as the registrar has to know it. `hours` are minutes of the week in Germany."""

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
    """One SIP trunk as the registrar has to know it.

    `key` is the request that asked for it; writing the same record again changes nothing.
    `numbers` are E.164 with the plus sign, one for every number of the trunk's blocks. `postal_code` is the connection
    address's: calls to 110 and 112 are routed by it. While it is `suspended` it can do nothing but that.
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
        """What a phone proves that it knows the secret by (RFC 2617)."""
        return _digest(f"{self.sip_user}:{self.domain}:{self.secret}")

    @property
    def ha1b(self) -> str:
        """The same for phones that send user@domain as their name."""
        return _digest(f"{self.sip_user}@{self.domain}:{self.domain}:{self.secret}")

    @property
    def preferences(self) -> dict[str, str]:
        """What it keeps besides: key, which secret, how many calls at once, postal code, suspension, forwardings."""
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
    # RFC 2617 digest authentication; the algorithm is what SIP phones speak.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Block:
    """A number block of ours, whoever has it. `first_number` is E.164 without the plus sign."""

    first_number: int
    size: int


class Registrar(Protocol):
    """The telephone network's own database of trunks."""

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Say that these numbers are ours. Safe to run twice. Raises `GatewayUnavailable`."""

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        """Write the trunks and their numbers, or bring them up to date; for each what went wrong, or None.

        Safe to run twice: an upsert under each record's key. What a suspended one has registered is taken away, and
        what one has registered with the secret that it had before.
        """

    def close(self) -> None:
        """Give back the connection."""


SipAddress = tuple[str, str]
"""SIP user and domain."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """All that the registrar has under one SIP user, doubled rows included.

    `login` is HA1, HA1b and the password in clear (empty as it should be), None where there is no subscriber.
    `aliases` are number and domain, `preferences` name and value, `keys` whatever those are marked with.
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
        """Whose it is."""
        return self.sip_user, self.domain


class Subscribers(Protocol):
    """What the registrar knows, for comparing: all of it in one pass, or some of it as it is now."""

    def read(self) -> Generator[Subscriber]:
        """Everything, ordered by SIP user and domain (by their bytes), a page at a time and as of one moment.

        Raises `GatewayUnavailable`. Close it if it is not read to its end.
        """

    def look_up(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Subscriber]:
        """What is there under these at this moment. Raises `GatewayUnavailable`."""

    def remove(self, addresses: Collection[SipAddress]) -> None:
        """Take away all that is there under these. Safe to run twice. Raises `GatewayUnavailable`."""

    def release(self, addresses: Collection[SipAddress]) -> None:
        """Forget under which keys these are there, so that they can be written again; their phones keep on ringing.

        Safe to run twice. Raises `GatewayUnavailable`.
        """

    def read_blocks(self) -> Generator[Block]:
        """All number blocks, ordered by number, a page at a time. Raises `GatewayUnavailable`; close as `read`."""

    def look_up_blocks(self, first_numbers: Collection[int]) -> dict[int, Block]:
        """Which blocks begin at these at this moment. Raises `GatewayUnavailable`."""

    def remove_blocks(self, first_numbers: Collection[int]) -> None:
        """Take away the blocks that begin at these. Safe to run twice. Raises `GatewayUnavailable`."""


class CallRecords(Protocol):
    """What the telephone network has noted of calls and refused logins, for the portal to show."""

    def count(self, before: datetime) -> int:
        """How many are older. Raises `GatewayUnavailable`."""

    def forget(self, before: datetime, limit: int) -> int:
        """Delete older ones, of calls and of refusals `limit` each at the most; how many it was.

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
        """Send one mail.

        At least once: an answer lost after the server took it makes the next attempt a second delivery with
        the same Message-ID, which mail systems drop.
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
    """Prints letters and brings them to the post."""

    def print_letter(self, letter: Letter) -> None:
        """Print one letter. Safe to run twice: the same key is the same sheet of paper."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside as the steps see it."""

    registrar: Registrar
    mailer: Mailer
    letters: LetterPrinter
    subscribers: Subscribers
    calls: CallRecords
