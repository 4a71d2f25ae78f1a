"""Tests of the class `Database`, by which all programs open transactions on PostgreSQL.

No wait is without a limit: for the server's answers, for a free connection, for a whole transaction. Times come from
the server's clock. A server that has become read-only counts as an outage.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from models.db import session as sessions
from models.db.caller import NOBODY_SIGNED_IN
from models.db.session import Database
from models.db.transient_errors import is_outage
from models.db.work_queue import WorkKind, made_due
from models.values import utc_now
from tests.fakes import wait_until
from tests.proxy import LOOPBACK, Proxy, proxy_to
from workers.stack.postgres import EmbeddedPostgres

OFF = timedelta(minutes=2)


@pytest.fixture
def proxy(postgres: EmbeddedPostgres) -> Iterator[Proxy]:
    """Provide a TCP proxy in front of PostgreSQL that a test can silence or cut off."""
    url = make_url(postgres.url("standorte"))
    with proxy_to(f"{url.query['host']}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def behind(postgres: EmbeddedPostgres, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Provide the portal's database, connected through the proxy; each wait for an answer ends within two seconds."""
    monkeypatch.setattr(sessions, "_MARGIN", 0.3)
    monkeypatch.setattr(sessions, "_CHECK_LIMIT", 0.3)
    monkeypatch.setattr(sessions, "CONNECT_LIMIT", 2)
    url = make_url(postgres.url("standorte")).set(port=proxy.port, host=LOOPBACK, query={})
    database = Database(url.render_as_string(hide_password=False), statement_limit=0.5)
    yield database
    database.close()


def ask(database: Database) -> int:
    """Run a query in a transaction, and return its result: 42."""
    with database.transaction() as session:
        return int(session.scalar(sa.text("SELECT 42")) or 0)


def test_a_server_that_takes_everything_and_says_nothing_is_left(behind: Database, proxy: Proxy) -> None:
    with behind.transaction() as session:
        session.execute(sa.text("SELECT 1"))
        proxy.silence()
        with ThreadPoolExecutor() as beside, pytest.raises(sa.exc.OperationalError) as raised:
            # Far longer than our limit, and far shorter than what ends the wait without it.
            beside.submit(session.execute, sa.text("SELECT 1")).result(timeout=15)
        assert is_outage(raised.value) and raised.value.connection_invalidated
        session.rollback()
    proxy.speak()
    assert ask(behind) == 42


def test_a_connection_that_died_in_the_pool_is_noticed_before_it_is_used(
    behind: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_IDLE", 0.0)
    assert ask(behind) == 42
    proxy.cut()
    assert ask(behind) == 42


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_transaction_whose_beginning_is_not_answered_leaves_its_connection(
    behind: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    # The beginning tells the caller, and no check of the connection comes before it.
    monkeypatch.setattr(sessions, "_IDLE", 1e9)
    url = behind.engine.url.render_as_string(hide_password=False)
    with closing(Database(url, statement_limit=0.5, caller=lambda: NOBODY_SIGNED_IN)) as telling:
        assert ask(telling) == 42
        if is_cut:
            proxy.cut()
        else:
            proxy.silence()
        with pytest.raises(sa.exc.OperationalError) as raised:
            ask(telling)
        assert is_outage(raised.value)
        proxy.speak()
        assert ask(telling) == 42
        assert ask(telling) == 42


def test_a_check_of_the_clock_keeps_the_prepared_statements(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_IDLE", 0.0)
    prepared = sa.text("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 42'")
    with closing(Database(postgres.url("standorte"))) as database:
        for _ in range(2):
            with database.transaction() as session:
                for _ in range(5):
                    session.execute(sa.text("SELECT 42"))
        with database.transaction() as session:
            assert session.scalar(prepared) == 1


def test_a_connection_that_is_silent_in_the_pool_is_noticed_before_it_is_used(
    behind: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_IDLE", 0.0)
    assert ask(behind) == 42
    proxy.silence()
    with pytest.raises(sa.exc.OperationalError):
        ask(behind)
    proxy.speak()
    assert ask(behind) == 42


def test_a_transaction_waits_for_its_turn_unless_all_that_run_are_stuck(
    postgres: EmbeddedPostgres, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(postgres.url("standorte")).set(port=proxy.port, host=LOOPBACK, query={})
    database = Database(url.render_as_string(hide_password=False), statement_limit=1, at_once=1)
    with ThreadPoolExecutor() as beside:
        with database.transaction():
            waiting = beside.submit(ask, database)
        assert waiting.result(timeout=15) == 42
        monkeypatch.setattr(sessions, "_STUCK", 0.2)
        with database.transaction():
            with pytest.raises(sa.exc.TimeoutError) as raised:
                beside.submit(ask, database).result(timeout=15)
            assert is_outage(raised.value)
        # After a server that was silent nobody waits behind those that try again.
        monkeypatch.setattr(sessions, "_STUCK", 60.0)
        monkeypatch.setattr(sessions, "_MARGIN", 0.0)
        monkeypatch.setattr(sessions, "CONNECT_LIMIT", 2)
        proxy.silence()
        with pytest.raises(sa.exc.OperationalError):
            ask(database)
        with database._turn(), pytest.raises(sa.exc.TimeoutError):
            beside.submit(ask, database).result(timeout=15)
        # An answer that refuses is an answer: the next one waits for its turn again.
        proxy.speak()
        with pytest.raises(sa.exc.OperationalError), database.transaction() as session:
            session.execute(sa.text("DO $$ BEGIN RAISE lock_not_available; END $$"))
        with database.transaction():
            waiting = beside.submit(ask, database)
            assert not wait([waiting], timeout=0.3).done
        assert waiting.result(timeout=15) == 42
    database.close()


def test_a_waiting_transaction_goes_on_waiting_while_others_get_turns(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_STUCK", 0.5)
    database = Database(postgres.url("standorte"), at_once=1)
    ticks = 100.0
    monkeypatch.setattr(sessions, "_ticks", lambda: ticks)
    assert database._turns is not None
    with ThreadPoolExecutor() as beside, database._turn():
        waiting = beside.submit(ask, database)
        assert not wait([waiting], timeout=0.2).done
        # Somebody else got the turn in the meantime.
        ticks = database._latest_turn = 100.4
        assert not wait([waiting], timeout=0.6).done
        ticks = 101.0
        with pytest.raises(sa.exc.TimeoutError):
            waiting.result(timeout=15)
    database.close()


def test_the_servers_clock_counts_whatever_this_machines_clock_says(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for off in (-OFF, OFF):
        monkeypatch.setattr(sessions, "utc_now", lambda off=off: utc_now() + off)
        database = Database(postgres.url("standorte"))
        ask(database)
        assert abs(database.now() - utc_now()) < timedelta(seconds=1)
        assert abs(database.clock_offset + off.total_seconds()) < 1
        database.close()


def test_a_clock_that_is_set_while_the_program_runs_is_noticed(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(postgres.url("standorte"))
    ask(database)
    monkeypatch.setattr(sessions, "utc_now", lambda: utc_now() + OFF)
    monkeypatch.setattr(sessions, "_IDLE", 0.0)
    ask(database)
    assert abs(database.now() - utc_now()) < timedelta(seconds=1)
    database.close()


def test_a_server_that_has_become_read_only_is_an_outage_and_its_connections_are_dropped(database: Database) -> None:
    pid = sa.text("SELECT pg_backend_pid()")
    with database.transaction() as session:
        first = session.scalar(pid)
        session.execute(sa.text("SET TRANSACTION READ ONLY"))
        with pytest.raises(sa.exc.DBAPIError) as raised:
            session.execute(sa.text("DELETE FROM job_heartbeats"))
        session.rollback()
    assert is_outage(raised.value)
    with database.transaction() as session:
        assert session.scalar(pid) != first


def test_a_transaction_in_which_this_process_was_stopped_is_an_outage(database: Database) -> None:
    def is_alive(pid: int) -> bool:
        # In a transaction of its own, which sees the connections as they were at its first look.
        with database.transaction() as other:
            return bool(other.scalar(sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}))

    with database.transaction() as session:
        pid = session.scalar(sa.text("SELECT pg_backend_pid()"))
        assert pid is not None
        session.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '1ms'"))
        wait_until(lambda: not is_alive(pid), what="the end of the connection")
        with pytest.raises(sa.exc.DBAPIError) as raised:
            session.execute(sa.text("SELECT 1"))
        session.rollback()
    assert is_outage(raised.value)


def test_workers_are_told_what_became_due_and_only_after_the_commit(postgres: EmbeddedPostgres) -> None:
    told: list[set[WorkKind]] = []
    database = Database(postgres.url("standorte"), on_due=lambda kinds: told.append(set(kinds)))
    with database.transaction() as session:
        made_due(session, WorkKind.BULKS)
        session.rollback()
    ask(database)
    assert told == []
    with database.transaction() as session:
        made_due(session, WorkKind.MESSAGES)
        made_due(session, WorkKind.BULKS, database.now() + timedelta(seconds=10))
        assert told == []
    assert told == [{WorkKind.MESSAGES}]
    database.close()


def test_a_transaction_may_have_a_limit_of_its_own(behind: Database) -> None:
    with behind.transaction(statement_limit=10) as session:
        # Longer than the database's limits, its own and ours for its answer.
        session.execute(sa.text("SELECT pg_sleep(1)"))
    with behind.transaction() as session:
        with pytest.raises(sa.exc.OperationalError, match="57014"):
            session.execute(sa.text("SELECT pg_sleep(1)"))
        session.rollback()
