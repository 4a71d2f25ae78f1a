"""Connections to PostgreSQL with a limit on every wait, so that a vanished host or silent server blocks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, TransactionStatus

TCP_LIMITS = {
    # Milliseconds until data that nobody acknowledges breaks the connection; the keepalives do it while we only wait.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""libpq's connection parameters that make this program notice a vanished server within about ten seconds."""
CONNECT_LIMIT = 5
"""Seconds that connecting may take, at each address of the server."""
IDLE_LIMIT = 10.0
"""Seconds after which the server ends an idle transaction, because its locks block others.

A transaction stays idle, for example, if its program was stopped.
"""
_FOR_SERVER = (
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000"
)
"""The server's settings, as command-line options, that make it notice a vanished client.

Otherwise the server keeps the client's locks for up to a minute.
"""
_LATEST: dict[tuple[str, str], tuple[str, str]] = {}
"""The host and port to which this process connected last, by the list of hosts and the list of ports in the URL."""


class TimedConnection(psycopg.Connection[Any]):
    """A connection that closes itself and raises `OperationalError` if an answer takes longer than `patience` seconds.

    The server's own `statement_timeout` is shorter: this limit is for a server, or a proxy in between, that accepts
    statements and never answers.
    """

    patience: float | None = None
    """Seconds to wait for one answer; None sets no limit."""

    @classmethod
    def within(
        cls,
        patience: float | None,
        url: str = "",
        *,
        connect_timeout: int | None = None,
        idle_limit: float | None = None,
        options: str = "",
        **parameters: Any,
    ) -> TimedConnection:
        """Connect as `psycopg.connect` does, and limit the wait for each answer to `patience` seconds (None: no limit).

        `url` and `parameters` are those of `psycopg.connect`, as are `connect_timeout` (None: `CONNECT_LIMIT`) and
        `options`. TCP limits are added (`TCP_LIMITS`), by which a vanished host is noticed within about ten seconds.
        The server ends a transaction that has been idle for `idle_limit` seconds (None: `IDLE_LIMIT`).
        """
        idle = f"-c idle_in_transaction_session_timeout={IDLE_LIMIT if idle_limit is None else idle_limit:g}s"
        parameters["connect_timeout"] = CONNECT_LIMIT if connect_timeout is None else connect_timeout
        return cls.opened(patience, url, options=f"{idle} {options}", **parameters)

    @classmethod
    def opened(cls, patience: float | None, url: str = "", **parameters: Any) -> TimedConnection:
        """Connect with TCP limits, but without the server's time limits: for a caller that sets these itself.

        `patience` limits the wait for each answer, in seconds (None: no limit). If `parameters` have `options`, the
        server, too, notices within seconds that this host has vanished. If `url` names several hosts, the one to which
        this process connected last is tried first.
        """
        if "options" in parameters:
            parameters["options"] += _FOR_SERVER
        named = conninfo_to_dict(url) | parameters
        listed = str(named.get("host") or ""), str(named.get("port") or "")
        connection = cls.connect(url, **(TCP_LIMITS | parameters | _latest_first(*listed)))
        _LATEST[listed] = connection.info.host, str(connection.info.port)
        connection.patience = patience
        return connection

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run `gen`, psycopg's generator that reads the server's answer, and return its result.

        Waits at most `timeout` seconds (None: `patience` seconds). Raises `OperationalError` after that time, and
        closes the connection if the answer is still outstanding.
        """
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            # The answer is still owed, so the connection cannot be used again.
            if not self.closed and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise

    def begin(self, statement: str, values: Sequence[str]) -> None:
        """Begin a transaction and run the statement in it, both in one round trip; the statement's result is dropped.

        `values` are the texts for `$1` and so on in the statement. Raises `psycopg.Error` if the statement fails; then
        the caller has to roll the transaction back.
        """
        self.wait(self._begin(statement.encode(), [value.encode() for value in values]))

    def _begin(self, statement: bytes, values: Sequence[bytes]) -> PQGen[None]:
        # In libpq's pipeline mode, because several statements can have no values otherwise.
        connection = self.pgconn
        connection.enter_pipeline_mode()
        connection.send_query_params(b"BEGIN", None)
        connection.send_query_params(statement, values)
        connection.pipeline_sync()
        yield from generators.send(connection)
        failed = None
        # One answer each, and the end of the pipeline.
        for _ in range(3):
            for result in (yield from generators.fetch_many(connection)):
                if result.status == ExecStatus.FATAL_ERROR:
                    failed = failed or result
        connection.exit_pipeline_mode()
        if failed is not None:
            raise psycopg.errors.error_from_result(failed)


def _latest_first(hosts: str, ports: str) -> dict[str, str]:
    """Return libpq's parameters `host` and `port` with the host first to which this process connected last.

    `hosts` and `ports` are comma-separated lists. A new connection then does not wait for an earlier host that is down.
    The result is empty if the order need not change.
    """
    pairs = list(zip(hosts.split(","), ports.split(","), strict=False))
    latest = _LATEST.get((hosts, ports))
    if latest not in pairs or len(pairs) != hosts.count(",") + 1:
        return {}
    pairs.sort(key=lambda pair: pair != latest)
    return {"host": ",".join(host for host, _ in pairs), "port": ",".join(port for _, port in pairs)}
