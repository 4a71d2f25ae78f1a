"""Tests of a database server whose synchronous standby does not answer, and of connections to it by TCP.

A commit that the standby has not confirmed must fail, because the portal says "saved" only for what both servers have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from models.db import session as sessions
from models.db.connections import TimedConnection
from models.db.session import Database
from models.db.several_hosts import in_one_form
from models.db.transient_errors import is_outage
from workers.stack.ports import LOOPBACK, free_port
from workers.stack.postgres import EmbeddedPostgres


class Alone(EmbeddedPostgres):
    """A PostgreSQL server that listens on a TCP port, and whose synchronous standby does not exist.

    A commit waits for the standby, in vain, if its transaction sets `synchronous_commit` to on.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, fsync=False)
        self.port = free_port()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "synchronous_standby_names": "one_that_is_away",
            # Unless a connection asks for it, nobody waits for the standby.
            "synchronous_commit": "local",
        }
        return [*super().command(), *(part for setting in settings.items() for part in ("-c", "=".join(setting)))]

    @property
    def far(self) -> str:
        """Return an SQLAlchemy URL of this server, by TCP, with two hosts.

        Nothing listens at the first one; the second is this server.
        """
        hosts = f"{LOOPBACK}:{free_port()},{LOOPBACK}:{self.port}"
        return in_one_form(f"postgresql+psycopg://standorte@{hosts}/postgres")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """Start a PostgreSQL server whose synchronous standby does not exist; stop it after the tests of this module."""
    server = Alone(tmp_path_factory.mktemp("alone") / "postgres")
    server.start()
    yield server
    server.stop()


def test_a_commit_that_the_standby_does_not_confirm_has_failed(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is said to be saved would be lost if the standby took over.
    monkeypatch.setattr(sessions, "_MARGIN", 0.2)
    with closing(Database(alone.far, statement_limit=0.3)) as database:

        def keep() -> None:
            with database.transaction() as session:
                session.execute(sa.text("SET LOCAL synchronous_commit = on"))
                session.execute(sa.text("CREATE TABLE kept ()"))

        with pytest.raises(sa.exc.OperationalError) as raised:
            keep()
        assert is_outage(raised.value)
        with database.transaction() as session:
            assert session.scalar(sa.text("SELECT to_regclass('kept')")) is None


def test_the_server_notices_a_host_that_has_vanished(alone: Alone) -> None:
    with closing(Database(alone.far)) as database, database.transaction() as session:
        shown = [session.scalar(sa.text(f"SHOW {name}")) for name in ("tcp_keepalives_idle", "tcp_user_timeout")]
    assert shown == ["5", "10000"]


def test_the_host_that_answered_last_is_tried_first(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    connect = psycopg.Connection.connect.__func__  # type: ignore[attr-defined]

    def watched(cls: type[psycopg.Connection], /, url: str = "", **parameters: object) -> psycopg.Connection:
        tried.append(str(psycopg.conninfo.conninfo_to_dict(url, **parameters)["port"]))  # type: ignore[arg-type]
        return connect(cls, url, **parameters)  # type: ignore[no-any-return]

    monkeypatch.setattr(TimedConnection, "connect", classmethod(watched))
    url = alone.far
    for _ in range(2):
        with closing(Database(url)) as database, database.transaction() as session:
            session.execute(sa.text("SELECT 1"))
    first, second = (ports.split(",") for ports in tried)
    assert first[1] == str(alone.port) and second == [first[1], first[0]]
