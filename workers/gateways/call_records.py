"""What Kamailio has written about calls and refused logins, to be forgotten in time."""

from __future__ import annotations

from datetime import datetime

import psycopg

from workers.gateways.registrar import plain_url, unavailable

_BRIEFLY = "-c statement_timeout=30s -c lock_timeout=3s"
_COUNT = """
SELECT (SELECT count(*) FROM calls WHERE at < %(before)s) + (SELECT count(*) FROM refusals WHERE last_at < %(before)s)
"""
# What Kamailio has in hand at this moment is not waited for: it is new, or found next time.
# MATERIALIZED: else the planner may run a query again for each row, and its limit would bound nothing.
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
    """Deletes in Kamailio's database. A connection for each call."""

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)

    def count(self, before: datetime) -> int:
        """How many are older. Raises `GatewayUnavailable`."""
        return self._number(_COUNT, {"before": before})

    def forget(self, before: datetime, limit: int) -> int:
        """Delete older ones, of calls and of refusals `limit` each at the most; how many it was.

        Safe to run twice. Raises `GatewayUnavailable`.
        """
        return self._number(_FORGET, {"before": before, "limit": limit})

    def _number(self, statement: str, facts: dict[str, object]) -> int:
        with unavailable(), psycopg.connect(self._url, connect_timeout=3, options=_BRIEFLY) as connection:
            row = connection.execute(statement.encode(), facts).fetchone()
        assert row is not None
        return int(row[0])
