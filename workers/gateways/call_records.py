"""Delete old records of calls and refused logins from Kamailio's database."""

from __future__ import annotations

from datetime import datetime

from models.db.connections import TimedConnection
from workers.gateways.registrar import plain_url, unavailable

_BRIEFLY = "-c statement_timeout=30s -c lock_timeout=3s"
_COUNT = """
SELECT (SELECT count(*) FROM calls WHERE at < %(before)s) + (SELECT count(*) FROM refusals WHERE last_at < %(before)s)
"""
# SKIP LOCKED: rows that Kamailio is changing at this moment are not waited for; the next run deletes them if still old.
# MATERIALIZED: otherwise the planner may run the subquery again for each row, and the limit would not bound anything.
_FORGET = """
WITH due_calls AS MATERIALIZED (
    SELECT id FROM calls WHERE at < %(before)s ORDER BY at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), due_refusals AS MATERIALIZED (
    SELECT username, domain FROM refusals WHERE last_at < %(before)s
    ORDER BY last_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), old_calls AS (
    DELETE FROM calls WHERE id IN (SELECT id FROM due_calls) RETURNING 1
), old_refusals AS (
    DELETE FROM refusals WHERE (username, domain) IN (SELECT username, domain FROM due_refusals) RETURNING 1
)
SELECT (SELECT count(*) FROM old_calls) + (SELECT count(*) FROM old_refusals)
"""


class KamailioCallRecords:
    """Counts and deletes records of calls and refused logins in Kamailio's database.

    Each method opens its own connection.
    """

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)

    def count(self, before: datetime) -> int:
        """Return how many records of calls and refused logins are older than `before`.

        Raises `GatewayUnavailable` if the database does not answer or reports an error.
        """
        return self._number(_COUNT, {"before": before})

    def forget(self, before: datetime, limit: int) -> int:
        """Delete records of calls and refused logins older than `before`, at most `limit` of each of the two kinds.

        Return how many records were deleted. Runs as one statement; rows locked by other transactions are skipped. Safe
        to run twice. Raises `GatewayUnavailable` if the database does not answer or reports an error.
        """
        return self._number(_FORGET, {"before": before, "limit": limit})

    def _number(self, statement: str, facts: dict[str, object]) -> int:
        with unavailable(), TimedConnection.within(35, self._url, connect_timeout=3, options=_BRIEFLY) as connection:
            row = connection.execute(statement.encode(), facts).fetchone()
        assert row is not None
        return int(row[0])
