"""Read SIP users and number blocks from Kamailio's database, and delete them there.

Whole tables are read in one pass and with little memory, to compare them with the portal's: each of the four tables of
SIP users is read through a server-side cursor, sorted by SIP user and domain, and the four streams are merged. The sort
order is that of bytes, which Kamailio's indexes need not have; no additional index is needed.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from models.db.connections import TimedConnection
from tasks.ports import Block, SipAddress, Subscriber
from workers.gateways.registrar import plain_url, unavailable

# Optimised for total time: whole tables are sorted once and then read to their end.
_FOR_ALL = "-c statement_timeout=240s -c cursor_tuple_fraction=1 -c work_mem=64MB"
_FOR_SOME = "-c statement_timeout=10s -c lock_timeout=3s -c enable_seqscan=off"

_LOGIN, _ALIAS, _PREFERENCE, _REGISTRATION = range(4)
# Columns: SIP user, domain, the table's number from the line above, and three values of the row.
_ROWS: tuple[LiteralString, ...] = (
    "SELECT username, domain, 0, ha1, ha1b, password FROM subscriber",
    "SELECT username, domain, 1, alias_username, alias_domain, '' FROM dbaliases",
    # Only a text value counts as marked with a key; any other type is read as having no key.
    "SELECT username, domain, 2, attribute, value, CASE type WHEN 0 THEN uuid ELSE '' END FROM usr_preferences",
    "SELECT username, coalesce(domain, ''), 3, '', '', '' FROM location",
)
_ORDERED: LiteralString = """ ORDER BY username COLLATE "C", coalesce(domain, '') COLLATE "C" """
_THESE: LiteralString = """
WHERE (username, coalesce(domain, '')) IN (SELECT * FROM unnest(%(users)s::text[], %(domains)s::text[]))
"""
_BLOCKS: LiteralString = "SELECT first_number, size FROM own_numbers ORDER BY first_number"
_BLOCKS_THERE: LiteralString = "SELECT first_number, size FROM own_numbers WHERE first_number = ANY(%s::bigint[])"
_REMOVE_BLOCKS: LiteralString = "DELETE FROM own_numbers WHERE first_number = ANY(%s::bigint[])"
# A removed login also loses its registrations, its refused logins and its calls.
_TABLES = ("subscriber", "dbaliases", "usr_preferences", "location", "refusals", "calls")

Row = tuple[Any, ...]


class KamailioSubscribers:
    """Reads and deletes SIP users and number blocks in Kamailio's database. Each method opens its own connection.

    `page` is the number of rows fetched at once when whole tables are read.
    """

    def __init__(self, url: str, page: int = 2000) -> None:
        self._url = plain_url(url)
        self._page = page

    def read(self) -> Generator[Subscriber]:
        """Yield all subscribers, ordered by SIP user and domain, from one snapshot.

        A subscriber is what the tables have for one SIP address: login, numbers, preferences, registrations. Rows are
        fetched in pages of the size given to the constructor. Raises `GatewayUnavailable` if the database does not
        answer or reports an error.
        """
        with unavailable(), self._at_length() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield from _grouped([self._stream(connection, rows + _ORDERED) for rows in _ROWS])

    def look_up(self, addresses: Collection[SipAddress]) -> dict[SipAddress, Subscriber]:
        """Return the current subscribers by SIP address (user and domain); addresses unknown to Kamailio are left out.

        A subscriber is what the tables have for one SIP address: login, numbers, preferences, registrations. Raises
        `GatewayUnavailable` if the database does not answer or reports an error.
        """
        with self._briefly() as connection:
            streams = [connection.execute(rows + _THESE + _ORDERED, _facts(addresses)) for rows in _ROWS]
            return {found.address: found for found in _grouped(streams)}

    def remove(self, addresses: Collection[SipAddress]) -> None:
        """Delete all rows of these SIP addresses, including records of calls and refused logins, in one transaction.

        Safe to run twice. Raises `GatewayUnavailable` if the database does not answer or reports an error.
        """
        with self._briefly() as connection:
            for table in _TABLES:
                statement = sql.SQL("DELETE FROM {}").format(sql.Identifier(table)) + sql.SQL(_THESE)
                connection.execute(statement, _facts(addresses))

    def release(self, addresses: Collection[SipAddress]) -> None:
        """Delete the idempotency keys of these SIP addresses, so that their trunks can be saved under other keys.

        Safe to run twice. Raises `GatewayUnavailable` if the database does not answer or reports an error.
        """
        with self._briefly() as connection:
            statement = sql.SQL("DELETE FROM usr_preferences {} AND attribute = 'provision_key'")
            connection.execute(statement.format(sql.SQL(_THESE)), _facts(addresses))

    def read_blocks(self) -> Generator[Block]:
        """Yield all number blocks of the carrier, ordered by first number.

        Rows are fetched in pages of the size given to the constructor. Raises `GatewayUnavailable` if the database does
        not answer or reports an error.
        """
        with unavailable(), self._at_length() as connection:
            for row in self._stream(connection, _BLOCKS):
                yield Block(*row)

    def look_up_blocks(self, first_numbers: Collection[int]) -> dict[int, Block]:
        """Return the current number blocks that begin at `first_numbers` (E.164 without plus sign), by first number.

        Numbers at which no block begins are left out. Raises `GatewayUnavailable` if the database does not answer or
        reports an error.
        """
        with self._briefly() as connection:
            rows = connection.execute(_BLOCKS_THERE, [list(first_numbers)])
            return {row[0]: Block(*row) for row in rows}

    def remove_blocks(self, first_numbers: Collection[int]) -> None:
        """Delete the number blocks that begin at `first_numbers` (E.164 without plus sign). Safe to run twice.

        Raises `GatewayUnavailable` if the database does not answer or reports an error.
        """
        with self._briefly() as connection:
            connection.execute(_REMOVE_BLOCKS, [list(first_numbers)])

    def _stream(self, connection: psycopg.Connection, query: LiteralString) -> Iterator[Row]:
        # Several cursors are open at once, so each needs its own name.
        with connection.cursor(f"rows_{uuid.uuid4().hex}") as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(self._page):
                yield from rows

    def _at_length(self) -> TimedConnection:
        # Idle while the reader works on a page. The transaction only reads, so it holds up nobody.
        return TimedConnection.within(245, self._url, connect_timeout=3, idle_limit=240, options=_FOR_ALL)

    @contextmanager
    def _briefly(self) -> Iterator[psycopg.Connection]:
        with unavailable(), TimedConnection.within(15, self._url, connect_timeout=3, options=_FOR_SOME) as connection:
            yield connection


def _grouped(streams: Iterable[Iterable[Row]]) -> Iterator[Subscriber]:
    whose = itemgetter(0, 1)
    for (sip_user, domain), rows in groupby(heapq.merge(*streams, key=whose), whose):
        found: tuple[list[Row], ...] = ([], [], [], [])
        for row in rows:
            found[row[2]].append(row[3:])
        yield Subscriber(
            sip_user,
            domain,
            login=next(((ha1, ha1b, clear) for ha1, ha1b, clear in found[_LOGIN]), None),
            aliases=tuple((number, at) for number, at, _ in found[_ALIAS]),
            preferences=tuple((name, value) for name, value, _ in found[_PREFERENCE]),
            keys=frozenset(key for _, _, key in found[_PREFERENCE]),
            registered=bool(found[_REGISTRATION]),
        )


def _facts(addresses: Collection[SipAddress]) -> dict[str, list[str]]:
    return {"users": [user for user, _ in addresses], "domains": [domain for _, domain in addresses]}
