"""Write trunks and number blocks to Kamailio's database, a separate system with no shared transaction.

A trunk is a row in `subscriber` (HA1 only, no clear-text password), a row in `dbaliases` for each number, and rows in
`usr_preferences` with its idempotency key, version of the secret, channels, postal code, forwardings and suspension. A
trunk that is suspended, or gets another secret, loses its rows in `location`. `own_numbers` lists the carrier's number
blocks, assigned and free.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import psycopg
from psycopg import errors

from models.db.advisory_locks import AdvisoryLock
from models.db.connections import TimedConnection
from models.db.privileges import REGISTRAR, apply_privileges
from tasks.ports import Block, GatewayError, GatewayRefused, GatewayUnavailable, NumberTaken, TrunkRecord

_MOST_HELD = 3
"""The number of errors of `_ERRORS_OF_ONE_TRUNK` in one `put_trunks` after which the other trunks are not tried."""
_OWN_FAULT = (psycopg.DataError, errors.CheckViolation)
"""Errors because the tables reject a value of one trunk; a retry would fail, too."""
_ERRORS_OF_ONE_TRUNK = (errors.LockNotAvailable, errors.DeadlockDetected, psycopg.IntegrityError, errors.RaiseException)
"""Errors that concern one trunk and may not occur again, such as a locked row, or a new row's id that is taken.

All other errors concern the server and so all trunks: for example a missing privilege, a full disk, a read-only server.
"""
_PATIENCE = 7.0
"""Seconds to wait for each answer of the registrar's database. The database's limit for a statement is shorter."""
# Every statement looks up keys; a plan made while the tables were empty would keep scanning them.
_OPTIONS = "-c statement_timeout=5s -c lock_timeout=3s -c enable_seqscan=off"

# The limit of all statements of the schema together is far longer than that of each: it is for a server that is silent.
_FOR_SCHEMA = 900.0
_SCHEMA_OPTIONS = "-c statement_timeout=300s -c lock_timeout=60s"
_SCHEMA_TRIES = 40
_SCHEMA_PAUSE = 0.5
"""Seconds between two attempts to change tables that are in use; Kamailio can use the tables in between."""

# Kamailio's tables have no unique constraint on aliases and preferences, so a lock serialises two writers of one trunk.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended(%(user)s || '@' || %(domain)s, 0))"
_PUT = """
WITH foreign_key AS (
    SELECT FROM usr_preferences
    WHERE username = %(user)s AND domain = %(domain)s AND attribute = 'provision_key' AND value <> %(key)s
), held_by_others AS (
    SELECT alias_username AS number FROM dbaliases
    WHERE alias_username = ANY(%(numbers)s) AND (username, domain) <> (%(user)s, %(domain)s)
), own AS (
    SELECT WHERE NOT EXISTS (SELECT FROM foreign_key)
), allowed AS (
    SELECT FROM own WHERE NOT EXISTS (SELECT FROM held_by_others)
), put_subscriber AS (
    INSERT INTO subscriber (username, domain, ha1, ha1b)
    SELECT %(user)s, %(domain)s, %(ha1)s, %(ha1b)s FROM allowed
    ON CONFLICT (username, domain) DO UPDATE SET password = '', ha1 = excluded.ha1, ha1b = excluded.ha1b
), kept_aliases AS (
    SELECT min(id) AS id, alias_username AS number FROM dbaliases
    WHERE username = %(user)s AND domain = %(domain)s AND alias_domain = %(domain)s
        AND alias_username = ANY(%(numbers)s)
    GROUP BY alias_username
), dropped_aliases AS (
    -- Also if the trunk itself is refused because another trunk has one of its numbers: that trunk may in turn be
    -- refused because of a number that is deleted here.
    DELETE FROM dbaliases USING own
    WHERE username = %(user)s AND domain = %(domain)s AND id <> ALL (ARRAY(SELECT id FROM kept_aliases))
), put_aliases AS (
    INSERT INTO dbaliases (alias_username, alias_domain, username, domain)
    SELECT number, %(domain)s, %(user)s, %(domain)s FROM allowed, unnest(%(numbers)s::text[]) AS number
    WHERE number <> ALL (ARRAY(SELECT number FROM kept_aliases))
), written AS (
    -- If the trunk is refused, its location is written all the same: the numbers that it may keep are those of the new
    -- address, and emergency calls must not go to the old one until the other trunk has given its number back.
    SELECT attribute FROM allowed, unnest(%(attributes)s::text[]) AS attribute
    UNION ALL
    SELECT 'postal_code' FROM own JOIN subscriber ON username = %(user)s AND domain = %(domain)s
    WHERE NOT EXISTS (SELECT FROM allowed)
), wanted AS (
    SELECT attribute, value FROM unnest(%(attributes)s::text[], %(values)s::text[]) AS rows (attribute, value)
    WHERE attribute = ANY (ARRAY(SELECT attribute FROM written))
), kept_preferences AS (
    SELECT min(id) AS id, attribute FROM usr_preferences
    WHERE username = %(user)s AND domain = %(domain)s AND attribute = ANY(%(attributes)s)
        AND uuid = %(key)s AND type = 0
    GROUP BY attribute
), dropped_preferences AS (
    DELETE FROM usr_preferences USING own
    WHERE username = %(user)s AND domain = %(domain)s AND id <> ALL (ARRAY(SELECT id FROM kept_preferences))
        AND (EXISTS (SELECT FROM allowed) OR attribute = ANY (ARRAY(SELECT attribute FROM written)))
), changed AS (
    UPDATE usr_preferences SET value = wanted.value, last_modified = now() AT TIME ZONE 'UTC'
    FROM wanted JOIN kept_preferences USING (attribute)
    WHERE usr_preferences.id = kept_preferences.id AND usr_preferences.value <> wanted.value
), put_preferences AS (
    INSERT INTO usr_preferences (uuid, username, domain, attribute, value, last_modified)
    SELECT %(key)s, %(user)s, %(domain)s, attribute, value, now() AT TIME ZONE 'UTC' FROM wanted
    WHERE attribute <> ALL (ARRAY(SELECT attribute FROM kept_preferences))
), unregistered AS (
    -- A phone registered with the previous secret may be a stranger's. Not if the secret is unchanged.
    DELETE FROM location USING allowed
    WHERE username = %(user)s AND domain = %(domain)s AND (%(suspended)s OR EXISTS (
        SELECT FROM wanted JOIN kept_preferences AS kept USING (attribute) JOIN usr_preferences AS known USING (id)
        WHERE kept.attribute = 'secret_issue' AND known.value <> wanted.value
    ))
)
SELECT %(key)s::text, %(user)s::text, EXISTS (SELECT FROM allowed), EXISTS (SELECT FROM own),
    ARRAY(SELECT DISTINCT number FROM held_by_others)
"""
_PUT_BLOCKS = """
INSERT INTO own_numbers (first_number, size)
SELECT * FROM unnest(%(first_numbers)s::bigint[], %(sizes)s::int[]) AS blocks (first_number, size) ORDER BY first_number
ON CONFLICT (first_number) DO UPDATE SET size = excluded.size WHERE own_numbers.size <> excluded.size
"""


def plain_url(url: str) -> str:
    """Convert a database URL of SQLAlchemy (`postgresql+psycopg://…`) to the form that libpq accepts."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn any database error (`psycopg.Error`) within the block into `GatewayUnavailable`."""
    try:
        yield
    except psycopg.Error as error:
        raise GatewayUnavailable(type(error).__name__) from error


def ensure_schema(url: str) -> None:
    """Create Kamailio's tables and the portal's additional ones where missing, and upgrade older versions of them.

    Also gives each role its privileges on the tables. `url` is the URL of the registrar's database with the owner's
    role. Safe to run twice, and by two processes in parallel: one waits up to a minute for the other. Raises
    `psycopg.OperationalError`, and changes nothing, if the other takes longer, if a table stays in use for half a
    minute, or if the database does not answer.
    """
    schema = resources.files(__package__).joinpath("registrar_schema.sql").read_text("utf-8")
    with TimedConnection.within(_FOR_SCHEMA, plain_url(url), options=_SCHEMA_OPTIONS) as connection:
        # It ends with the connection.
        connection.execute("SELECT pg_advisory_lock(%s)", (int(AdvisoryLock.REGISTRAR_SCHEMA),))
        connection.commit()
        for left in reversed(range(_SCHEMA_TRIES)):
            try:
                with connection.transaction():
                    # Behind a statement that waits for a table all of Kamailio's wait, which take two seconds at most.
                    connection.execute("SET LOCAL lock_timeout = '300ms'")
                    # Suppress NOTICEs that a table exists.
                    connection.execute("SET LOCAL client_min_messages = warning")
                    connection.execute(schema.encode())
                    apply_privileges(connection, REGISTRAR)
                return
            except errors.LockNotAvailable:
                if not left:
                    raise
            time.sleep(_SCHEMA_PAUSE)


class KamailioRegistrar:
    """Writes trunks and number blocks to Kamailio's database, over one connection that is opened when first needed."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)
        self._connection: psycopg.Connection | None = None

    def put_trunks(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        """Create or update trunks in one transaction. Return each record's error, in order; None if it was written.

        The errors are:

        - `GatewayRefused`: the SIP user exists under another idempotency key, or the database rejects a value.
        - `NumberTaken`: another trunk has one of the numbers. Of a trunk that exists, the numbers that it no longer has
          are deleted all the same, and the postal code is written, so that no number is ever with another's location.
        - `GatewayError`: another transaction has locked rows of the trunk, or a constraint is violated. After three
          such errors the remaining records are not tried, and get this error, too.
        - `GatewayUnavailable`, for every record: the database does not answer or reports any other error, such as a
          missing privilege.

        If one record makes the transaction fail, each record is written in a transaction of its own. Safe to run twice:
        rows are replaced, and duplicates are deleted.
        """
        try:
            return self._put(records)
        except psycopg.Error as error:
            self.close()
            failure = _failure(error)
        if isinstance(failure, GatewayUnavailable) or len(records) == 1:
            return [failure] * len(records)
        # One record has failed the whole transaction.
        return self._put_one_by_one(records)

    def _put_one_by_one(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        answers: list[GatewayError | None] = []
        for record in records:
            # Each locked row costs its time: after a few the rest is left for later.
            held = sum(type(answer) is GatewayError for answer in answers)
            late = GatewayError("left_for_later")
            answers += [late] if held >= _MOST_HELD else self.put_trunks([record])
        return answers

    def _put(self, records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        facts = [_facts(record) for record in sorted(records, key=lambda record: record.sip_user)]
        connection = self._connected()
        with connection.transaction():
            connection.cursor().executemany(_TAKE_TURNS, facts)
            answers = connection.cursor()
            answers.executemany(_PUT, facts, returning=True)
            outcomes = {(key, user): _refusal(*facts) for answer in answers.results() for key, user, *facts in answer}
        return [outcomes[record.key, record.sip_user] for record in records]

    def put_blocks(self, blocks: Sequence[Block]) -> None:
        """Save number blocks as the carrier's own numbers, assigned or not. Safe to run twice.

        Raises `GatewayUnavailable` if the database does not answer or reports an error, `GatewayError` if another
        transaction has locked one of the rows, or a constraint is violated.
        """
        facts = {
            "first_numbers": [block.first_number for block in blocks],
            "sizes": [block.size for block in blocks],
        }
        try:
            self._connected().execute(_PUT_BLOCKS, facts)
        except _ERRORS_OF_ONE_TRUNK as error:
            self.close()
            raise GatewayError(type(error).__name__) from error
        except psycopg.Error as error:
            self.close()
            raise GatewayUnavailable(type(error).__name__) from error

    def ping(self) -> None:
        """Raise `GatewayUnavailable` unless the registrar's database answers."""
        try:
            self._connected().execute("SELECT 1")
        except psycopg.Error as error:
            self.close()
            raise GatewayUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Close the connection to the registrar's database; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = TimedConnection.within(
                _PATIENCE, self._url, connect_timeout=3, options=_OPTIONS, autocommit=True
            )
        return self._connection


def _failure(error: psycopg.Error) -> GatewayError:
    """Return the `GatewayError` that stands for a database error.

    It is `GatewayRefused` if the database rejects a value of one trunk, `GatewayUnavailable` for an outage that
    concerns all trunks, and a plain `GatewayError` if only one trunk is concerned and a retry may succeed.
    """
    name = type(error).__name__
    # The end of a sequence is no value of a record, though it is an error of data by its number.
    if isinstance(error, _OWN_FAULT) and not isinstance(error, errors.SequenceGeneratorLimitExceeded):
        return GatewayRefused(name)
    return GatewayError(name) if isinstance(error, _ERRORS_OF_ONE_TRUNK) else GatewayUnavailable(name)


def _refusal(written: bool, own: bool, taken: Sequence[str]) -> GatewayError | None:
    if written:
        return None
    return NumberTaken("number_of_another_trunk", taken) if own else GatewayRefused("belongs_to_somebody_else")


def _facts(record: TrunkRecord) -> dict[str, Any]:
    preferences = record.preferences
    return {
        "key": record.key,
        "user": record.sip_user,
        "domain": record.domain,
        "ha1": record.ha1,
        "ha1b": record.ha1b,
        "numbers": list(record.numbers),
        "attributes": list(preferences),
        "values": list(preferences.values()),
        "suspended": record.suspended,
    }
