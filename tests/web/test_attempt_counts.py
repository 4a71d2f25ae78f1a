"""Tests that failed attempts are counted in the portal's database, for all processes, if no Redis is set."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.people.attempt_counts import AttemptCount, count_attempts, sliding_window
from tests.factories import PASSWORD
from tests.web.conftest import Front, FrontOf, form_token
from tests.web.test_attempt_limits import attempt, guess

NO_BROKER = "amqp://127.0.0.1:1//"


@pytest.fixture
def make(front: Front, front_of: FrontOf) -> FrontOf:
    """Provide a function that creates a new web application without a Redis, and returns its test client.

    It takes further settings. All applications use the test's database.
    """
    return partial(front_of, broker_url=NO_BROKER, redis_url=None)


def test_all_fronts_count_together_and_keep_no_name(make: FrontOf, database: Database) -> None:
    one, other = make(), make()
    answers = [guess(client, "hanna", f"192.0.2.{turn}") for turn in range(6) for client in (one, other)]
    assert answers == [422] * 10 + [429] * 2
    with database.transaction() as session:
        keys = session.scalars(sa.select(AttemptCount.key)).all()
    assert len(keys) > 1 and not any("hanna" in key for key in keys)


def test_right_tries_are_given_back(front: Front, make: FrontOf, database: Database) -> None:
    client = make()
    form = {"email": front.manager.email, "password": PASSWORD}
    for _ in range(12):
        form["csrf_token"] = form_token(client)
        assert client.post("/anmelden", data=form).status_code == 302
        client.post("/abmelden", data={"csrf_token": form_token(client)})
    with database.transaction() as session:
        assert session.scalars(sa.select(AttemptCount.key)).all() == []


def test_what_is_refused_leaves_no_row(make: FrontOf, database: Database) -> None:
    client = make()
    answers = [guess(client, f"person{turn}") for turn in range(40)]
    assert answers == [422] * 30 + [429] * 10
    with database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count(sa.distinct(AttemptCount.key)))) == 31


def test_while_the_counters_cannot_be_written_each_front_counts_for_itself(make: FrontOf, superuser: sa.Engine) -> None:
    client = make()
    with superuser.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE attempt_counts RENAME TO away")
    try:
        assert [attempt(client) for _ in range(11)] == [422] * 10 + [429]
    finally:
        with superuser.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO attempt_counts")


def test_of_many_at_once_no_more_count_than_may(database: Database) -> None:
    def once(_: int) -> bool:
        with database.transaction() as session:
            return count_attempts(session, "key", 10, 900, 1)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(once, range(40))) == 10
    with database.transaction() as session:
        assert count_attempts(session, "key", 10, 900, -1)
        assert count_attempts(session, "key", 10, 900, 1)
        assert not count_attempts(session, "key", 10, 900, 1)
        # None below zero: what began in one window may be given back in the next.
        assert count_attempts(session, "another", 10, 900, -1)
        assert sliding_window(session, "another", 900).attempts == 0
        for _ in range(12):
            assert count_attempts(session, "key", 10, 900, -1)
        assert session.scalars(sa.select(AttemptCount.key)).all() == []


def test_of_the_window_before_counts_its_share(database: Database, superuser: sa.Engine) -> None:
    with database.transaction() as session:
        assert count_attempts(session, "key", 10, 900, 8)
    with superuser.begin() as connection:
        connection.exec_driver_sql("UPDATE attempt_counts SET number = number - 1")
    with database.transaction() as session:
        found = sliding_window(session, "key", 900)
        assert (found.attempts_before, found.attempts) == (8, 0)
        assert 0 < found.left_before <= 900 < found.left <= 1800
        still = int(8 * found.left_before / 900)
        assert not count_attempts(session, "key", still, 900, 1)
        assert count_attempts(session, "key", still + 1, 900, 1)
    with superuser.begin() as connection:
        connection.exec_driver_sql("UPDATE attempt_counts SET number = number - 2")
    with database.transaction() as session:
        found = sliding_window(session, "key", 900)
        assert (found.attempts_before, found.left_before, found.attempts) == (0, 0, 0)
