"""Connections to PostgreSQL that never wait for ever, be it for a host that has vanished or for one that is silent."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

TCP_LIMITS = {
    # Milliseconds until data that nobody acknowledges breaks the connection; the keepalives do it while we only wait.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""libpq's parameters that notice a host that has vanished within some ten seconds."""


class TimedConnection(psycopg.Connection[Any]):
    """A connection that is closed, with `OperationalError`, when one answer takes longer than `patience` seconds.

    The server's own `statement_timeout` is shorter: this limit is for a server, or something in between, that takes
    what we send and says nothing.
    """

    patience: float | None = None
    """Seconds; None sets no limit."""

    @classmethod
    def within(cls, patience: float | None, url: str = "", **parameters: Any) -> TimedConnection:
        """Connect as psycopg does, with the TCP limits, and with so many seconds for each answer."""
        connection = cls.connect(url, **(TCP_LIMITS | parameters))
        connection.patience = patience
        return connection

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server as psycopg does, but no longer than `patience`."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            # The answer is still owed, so the connection cannot be used again.
            if not self.closed and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise
