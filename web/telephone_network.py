"""Read-only access to Kamailio's database: registrations, refused logins and calls of SIP trunks.

Nothing is cached: every page reads the current state. After a failure no connection is opened for 15 seconds
(`PAUSE_AFTER_FAILURE`), so that not every page waits for the timeout.
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

from models.db.connections import TimedConnection
from models.invisible_characters import typed_text
from models.values import Clock
from tasks import tracing
from tasks.ports import SipAddress

log = structlog.get_logger()

PAUSE_AFTER_FAILURE = timedelta(seconds=15)
"""How long no connection is opened after Kamailio's database has failed to answer."""
_PATIENCE = 2.0
"""The greatest number of seconds for which a page waits for each answer of Kamailio's database."""
# connect_timeout in seconds (2 is the minimum of libpq), tcp_user_timeout in milliseconds.
_PARAMETERS: dict[str, Any] = {
    "autocommit": True,
    "row_factory": namedtuple_row,
    "connect_timeout": 2,
    "tcp_user_timeout": 2000,
    "options": "-c statement_timeout=1s -c default_transaction_read_only=on",
}
_OF_TRUNKS = "(username, domain) IN (SELECT * FROM unnest(%(users)s::text[], %(domains)s::text[]))"
_REGISTRATIONS = f"""
SELECT username, domain, coalesce(received, contact) AS address, user_agent, registered_at, expires FROM location
WHERE {_OF_TRUNKS} AND expires > now() AT TIME ZONE 'UTC' ORDER BY registered_at
"""  # noqa: S608 - constants
_REFUSALS = f"SELECT username, domain, reason, address, tries, first_at, last_at FROM refusals WHERE {_OF_TRUNKS}"  # noqa: S608
_REGISTERED = (
    f"SELECT DISTINCT username, domain FROM location WHERE {_OF_TRUNKS} AND expires > now() AT TIME ZONE 'UTC'"  # noqa: S608
)
_CALLS = """
SELECT at, direction, own_number, other_number, status, result, forwarded_to, forwarded_because FROM calls
WHERE (username, domain) = (%(user)s, %(domain)s) ORDER BY id DESC
"""


class NetworkAway(Exception):
    """Raised when Kamailio's database does not answer or reports an error.

    For 15 seconds (`PAUSE_AFTER_FAILURE`) after such a failure it is raised at once, without asking the database.
    """


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration of a phone system with a trunk, valid from `since` to `until`.

    `address` is the host and port from which the registration came or, if these are unknown, those in the contact that
    the phone system registered. `device` is its User-Agent header without invisible characters.
    """

    address: str
    device: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last refused login of a phone system with a trunk's SIP user.

    `reason` is one of the codes in kamailio.cfg, `address` the IP address from which the login came. `last_at` is the
    time of this refusal, `first_at` that of the first refusal after at least an hour without one. `tries` counts the
    refusals from `first_at` to `last_at`.
    """

    reason: str
    address: str
    tries: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """The state of a trunk: its registrations, oldest first, and its last refused login (None if there was none)."""

    registrations: list[Registration] = field(default_factory=list)
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded call of a trunk and its result.

    `direction` is "in" or "out", `result` one of the codes in kamailio.cfg, `status` the SIP status code. `own_number`
    is the trunk's number, `other_number` that of the other party. `forwarded_to` and `forwarded_because` are the target
    and the condition of the call forwarding that applied. Numbers are E.164; those of other parties end with "xxx" in
    place of the last three digits. A text is empty if it is unknown or hidden.
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
    """A read-only client of Kamailio's database at `url`; each query opens a connection.

    Its methods raise `NetworkAway` if the database does not answer within about two seconds or reports an error. For 15
    seconds (`PAUSE_AFTER_FAILURE`) after that they raise it at once, without asking the database.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._clock = clock
        self._paused_until: datetime | None = None

    def lines(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Line]:
        """Return the state of each trunk by its SIP address (SIP user and domain). Every given address has an entry.

        Raises `NetworkAway` if Kamailio's database does not answer or reports an error, or did so within the last 15
        seconds.
        """
        with self._connected() as connection:
            return _lines(connection, addresses)

    def registered(self, addresses: Collection[SipAddress]) -> set[SipAddress]:
        """Return those of the SIP addresses (SIP user and domain) at which at least one phone system is registered.

        Raises `NetworkAway` if Kamailio's database does not answer or reports an error, or did so within the last 15
        seconds.
        """
        with self._connected() as connection:
            rows = connection.execute(_REGISTERED.encode(), _of_trunks(addresses))
            return {(row.username, row.domain) for row in rows}

    def line_with_calls(self, address: SipAddress) -> tuple[Line, list[Call]]:
        """Return the state of one trunk and its recorded calls, newest first. `address` is SIP user and domain.

        Raises `NetworkAway` if Kamailio's database does not answer or reports an error, or did so within the last 15
        seconds.
        """
        with self._connected() as connection:
            user, domain = address
            calls = connection.execute(_CALLS, {"user": user, "domain": domain}).fetchall()
            return _lines(connection, [address])[address], [Call(*row) for row in calls]

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        if self._paused_until is not None and self._clock() < self._paused_until:
            raise NetworkAway
        try:
            with (
                tracing.span("registrar.look", role="client"),
                TimedConnection.within(_PATIENCE, self._url, **_PARAMETERS) as connection,
            ):
                yield connection
        except psycopg.Error as error:
            self._paused_until = self._clock() + PAUSE_AFTER_FAILURE
            log.warning("telephone_network.away", error=type(error).__name__)
            raise NetworkAway from error
        self._paused_until = None


def _lines(connection: psycopg.Connection[Any], addresses: Collection[SipAddress]) -> dict[SipAddress, Line]:
    facts = _of_trunks(addresses)
    refusals = {(user, domain): Refusal(*told) for user, domain, *told in connection.execute(_REFUSALS.encode(), facts)}
    lines = {address: Line(refusal=refusals.get(address)) for address in addresses}
    for row in connection.execute(_REGISTRATIONS.encode(), facts):
        found = Registration(
            _host(row.address), typed_text(row.user_agent), row.registered_at, row.expires.replace(tzinfo=UTC)
        )
        lines[row.username, row.domain].registrations.append(found)
    return lines


def _of_trunks(addresses: Collection[SipAddress]) -> dict[str, list[str]]:
    return {"users": [user for user, _ in addresses], "domains": [domain for _, domain in addresses]}


def _host(uri: str) -> str:
    """Return host and port of a SIP URI, as host:port, or the host alone if the URI names no port."""
    return uri.partition(";")[0].rpartition("@")[2].removeprefix("sip:").removeprefix("sips:").rstrip(">")
