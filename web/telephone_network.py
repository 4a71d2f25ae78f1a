"""The telephone network as it is at this moment: read when a page is asked for, and never written.

It is Kamailio's database, another system. If it does not answer, that is said at once, and it is left alone for a
moment: nobody waits for it once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg.rows import namedtuple_row

from models.values import Clock
from tasks.ports import SipAddress

log = structlog.get_logger()

LEFT_ALONE = timedelta(seconds=15)
"""How long it is not asked again after it did not answer."""
# Seconds to connect, the fewest that libpq knows, then to answer; what is sent and not received counts in milliseconds.
_PATIENCE: dict[str, Any] = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "options": "-c statement_timeout=1s -c default_transaction_read_only=on",
}
_THESE = "(username, domain) IN (SELECT * FROM unnest(%(users)s::text[], %(domains)s::text[]))"
_REGISTRATIONS = f"""
SELECT username, domain, coalesce(received, contact) AS address, user_agent, registered_at, expires FROM location
WHERE {_THESE} AND expires > now() AT TIME ZONE 'UTC' ORDER BY registered_at
"""  # noqa: S608 - constants
_REFUSALS = f"SELECT username, domain, reason, address, tries, first_at, last_at FROM refusals WHERE {_THESE}"  # noqa: S608
_CALLS = """
SELECT at, direction, own_number, other_number, status, result, forwarded_to, forwarded_because FROM calls
WHERE (username, domain) = (%(user)s, %(domain)s) ORDER BY id DESC
"""


class NetworkAway(Exception):
    """The telephone network's database does not answer."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A phone system that is registered: `address` and `device` are as it says itself, or as the network saw it."""

    address: str
    device: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last login that was refused, and how many `tries` there were in a row. Reasons: see kamailio.cfg."""

    reason: str
    address: str
    tries: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """How a trunk stands: where it is registered, the oldest first, and when it was refused last."""

    registrations: list[Registration] = field(default_factory=list)
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What became of a call of a trunk. `direction` is in or out; results: see kamailio.cfg.

    Numbers are E.164; those of others end with "xxx". Empty is what is unknown or hidden.
    """

    at: datetime
    direction: str
    own_number: str
    other_number: str
    status: int
    result: str
    forwarded_to: str = ""
    forwarded_because: str = ""


class TelephoneNetwork:
    """Asks Kamailio's database, with a connection for each question. Raises `NetworkAway` within about two seconds."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._clock = clock
        self._left_alone_until: datetime | None = None

    def lines(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Line]:
        """How these trunks stand, each of them."""
        with self._asking() as connection:
            return _lines(connection, addresses)

    def line_with_calls(self, address: SipAddress) -> tuple[Line, list[Call]]:
        """How a trunk stands, and its last calls, the newest first."""
        with self._asking() as connection:
            user, domain = address
            calls = connection.execute(_CALLS, {"user": user, "domain": domain}).fetchall()
            return _lines(connection, [address])[address], [Call(*row) for row in calls]

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Connection[Any]]:
        if self._left_alone_until is not None and self._clock() < self._left_alone_until:
            raise NetworkAway
        try:
            with psycopg.connect(self._url, autocommit=True, row_factory=namedtuple_row, **_PATIENCE) as connection:
                yield connection
        except psycopg.Error as error:
            self._left_alone_until = self._clock() + LEFT_ALONE
            log.warning("telephone_network.away", error=type(error).__name__)
            raise NetworkAway from error
        self._left_alone_until = None


def _lines(connection: psycopg.Connection[Any], addresses: Collection[SipAddress]) -> dict[SipAddress, Line]:
    facts = {"users": [user for user, _ in addresses], "domains": [domain for _, domain in addresses]}
    refusals = {(user, domain): Refusal(*told) for user, domain, *told in connection.execute(_REFUSALS.encode(), facts)}
    lines = {address: Line(refusal=refusals.get(address)) for address in addresses}
    for row in connection.execute(_REGISTRATIONS.encode(), facts):
        found = Registration(_host(row.address), row.user_agent, row.registered_at, row.expires.replace(tzinfo=UTC))
        lines[row.username, row.domain].registrations.append(found)
    return lines


def _host(uri: str) -> str:
    """Host and port of a SIP URI: what is between the user and the parameters."""
    return uri.partition(";")[0].rpartition("@")[2].removeprefix("sip:").removeprefix("sips:").rstrip(">")
