"""Tests of the records of calls and of refused logins on a real PostgreSQL: for how long and how many are kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors

from tasks.ports import GatewayUnavailable
from workers.gateways.call_records import KamailioCallRecords
from workers.gateways.registrar import ensure_schema, plain_url
from workers.stack.ports import free_port
from workers.stack.postgres import EmbeddedPostgres

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
WEEK = timedelta(days=7)
CALLS = """
INSERT INTO calls (at, username, domain, direction, own_number, other_number, status, result)
SELECT %(at)s, %(user)s, 'sip.example', 'in', '+493020', '', 200, n::text FROM generate_series(1, %(count)s::int) AS n
"""
REFUSAL = "INSERT INTO refusals (username, domain, reason, address, last_at) VALUES (%s, 'sip.example', 'x', 'y', %s)"


@pytest.fixture
def network(registrar_url: str) -> Iterator[psycopg.Connection]:
    """Provide a connection to Kamailio's database, as a superuser."""
    with psycopg.connect(plain_url(registrar_url), autocommit=True) as connection:
        yield connection


@pytest.fixture
def records(worker_registrar_url: str) -> KamailioCallRecords:
    """Return the gateway that counts and deletes old records of calls in Kamailio's database."""
    return KamailioCallRecords(worker_registrar_url)


def note(network: psycopg.Connection, user: str, count: int, at: datetime = NOW) -> None:
    """Add `count` records of calls at the time `at` to the trunk with the SIP user `user`."""
    network.execute(CALLS, {"user": user, "count": count, "at": at})


def left(network: psycopg.Connection) -> list[tuple[str, int]]:
    """Return the SIP user and the number of recorded calls of each trunk that has any, sorted by SIP user."""
    return network.execute("SELECT username, count(*) FROM calls GROUP BY 1 ORDER BY 1").fetchall()


def test_what_is_old_goes_in_batches(network: psycopg.Connection, records: KamailioCallRecords) -> None:
    for user, at in (("t1", NOW - WEEK), ("t2", NOW - WEEK - timedelta(seconds=1))):
        note(network, user, 5, at)
        network.execute(REFUSAL, (user, at))
    before = NOW - WEEK
    assert records.count(before) == 6
    assert [records.forget(before, 3) for _ in range(3)] == [4, 2, 0]
    assert left(network) == [("t1", 5)]
    assert network.execute("SELECT username FROM refusals").fetchall() == [("t1",)]
    assert records.count(before) == 0


def test_what_somebody_has_in_hand_is_not_waited_for(
    network: psycopg.Connection, records: KamailioCallRecords, registrar_url: str
) -> None:
    note(network, "t1", 3, NOW - WEEK)
    with psycopg.connect(plain_url(registrar_url)) as other:
        other.execute("SELECT FROM calls WHERE result = '1' FOR UPDATE")
        assert records.forget(NOW, 10) == 2
    assert records.forget(NOW, 10) == 1


def test_only_the_newest_calls_of_each_trunk_are_kept(network: psycopg.Connection) -> None:
    note(network, "t1", 50)
    for _ in range(3):
        note(network, "t2", 30)
    assert left(network) == [("t1", 50), ("t2", 50)]
    kept = network.execute("SELECT result FROM calls WHERE username = 't2' ORDER BY id").fetchall()
    assert [int(result) for (result,) in kept] == [*range(11, 31), *range(1, 31)]


@pytest.mark.parametrize("column", ["other_number", "forwarded_to"])
def test_no_whole_number_of_others_can_be_written(network: psycopg.Connection, column: str) -> None:
    note(network, "t1", 1)
    network.execute(f"UPDATE calls SET {column} = '+493090123xxx'".encode())
    with pytest.raises(errors.CheckViolation):
        network.execute(f"UPDATE calls SET {column} = '+493090123456'".encode())


def test_a_database_of_an_earlier_version_gets_what_it_lacks(postgres: EmbeddedPostgres) -> None:
    url = postgres.url("earlier")
    postgres.create_database("earlier")
    try:
        ensure_schema(url)
        with psycopg.connect(plain_url(url), autocommit=True) as connection:
            connection.execute("DROP TABLE calls, refusals")
            connection.execute("DROP TRIGGER location_begins_anew ON location")
            connection.execute("ALTER TABLE location DROP COLUMN registered_at")
            connection.execute("INSERT INTO location (ruid, username) VALUES ('a', 't1')")
            for _ in range(2):
                ensure_schema(url)
            assert connection.execute(
                "SELECT registered_at IS NOT NULL, now() - registered_at < '1 min' FROM location"
            ).fetchall() == [(True, True)]
            note(connection, "t1", 1)
            assert left(connection) == [("t1", 1)]
    finally:
        postgres.drop_database("earlier")


def test_without_the_database_it_is_unavailable() -> None:
    away = KamailioCallRecords(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/registrar")
    with pytest.raises(GatewayUnavailable):
        away.count(NOW)
    with pytest.raises(GatewayUnavailable):
        away.forget(NOW, 1)
