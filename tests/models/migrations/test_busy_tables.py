"""Tests of migrating tables while customers use them: no customer waits long, and the migration is completed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from models import migrations
from tests.fakes import wait_until
from workers.stack.postgres import EmbeddedPostgres

BEFORE = "0050"
"""The revision from which the tests migrate: a later one adds a column to `users`."""
WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
INDEX = "ix_idempotency_keys_request_id"
IS_WHOLE = sa.text(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{INDEX}'::regclass")


@pytest.fixture
def engine(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """Provide an engine on a new database that is migrated up to the revision `BEFORE`; drop it after the test."""
    postgres.create_database("busy")
    engine = sa.create_engine(postgres.url("busy"))
    migrations.upgrade(engine, BEFORE)
    yield engine
    engine.dispose()
    postgres.drop_database("busy")


def test_a_table_in_use_is_tried_again_and_others_come_first(engine: sa.Engine) -> None:
    def waits() -> bool:
        with engine.connect() as watching:
            return bool(watching.scalar(WAITING))

    with ThreadPoolExecutor(1) as pool, engine.connect() as report, engine.connect() as customer:
        report.exec_driver_sql("SELECT FROM users")
        upgrading = pool.submit(migrations.upgrade, engine)
        for _ in range(2):
            wait_until(waits, what="the migration to wait")
            # A customer's limit for a lock is three seconds.
            customer.exec_driver_sql("SET lock_timeout = '3s'")
            customer.exec_driver_sql("SELECT FROM users")
            customer.rollback()
            wait_until(lambda: not waits(), what="the migration to let others go first")
        report.rollback()
        upgrading.result()
    with engine.connect() as connection:
        assert migrations.current_revision(connection) == migrations.head_revision()


def test_an_index_that_was_not_made_whole_is_made_anew(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE INDEX {INDEX} ON idempotency_keys (request_id)")
        # As CREATE INDEX CONCURRENTLY leaves it that was interrupted.
        connection.exec_driver_sql(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{INDEX}'::regclass")
    migrations.upgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(IS_WHOLE) is True
