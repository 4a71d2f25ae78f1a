"""Tests of the migrations: they can run up, down and up again, and create the tables of the models.

Two machines that migrate at once wait for each other. An interrupted migration can be run again. None makes customers
wait behind its locks.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from models import migrations
from models.db.row_security import apply_row_security, is_enforced
from models.db.session import Database
from models.schema import metadata
from tests.models.migrations.conftest import rows
from workers.stack.postgres import EmbeddedPostgres

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity, generation_expression
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


def _tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) - {"alembic_version"}


def test_up_down_and_up_again(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    migrations.upgrade(empty)
    assert _tables(empty) == set(metadata.tables)
    with empty.connect() as connection:
        assert migrations.current_revision(connection) == migrations.head_revision()
    migrations.downgrade(empty, "base")
    assert _tables(empty) == set()
    with empty.connect() as connection:
        functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prolang <> 0"
        assert connection.scalar(sa.text(functions + " AND proname LIKE 'refuse%'")) == 0
    migrations.upgrade(empty)
    assert _tables(empty) == set(metadata.tables)


def test_the_way_down_takes_the_policies_along(empty: sa.Engine, postgres: EmbeddedPostgres) -> None:
    migrations.upgrade(empty)
    with closing(Database(postgres.url("migrations"))) as database:
        assert apply_row_security(database, on=True)
        migrations.downgrade(empty, "0036")
        migrations.upgrade(empty)
        assert not is_enforced(database)
        assert apply_row_security(database, on=True)


def test_models_and_migrations_agree(empty: sa.Engine, created: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for question in (COLUMNS, CONSTRAINTS, INDEXES):
        migrated, modelled = ({tuple(row) for row in rows(engine, question)} for engine in (empty, created))
        assert migrated - modelled == set()
        assert modelled - migrated == set()


def test_a_released_schema_gets_the_column_that_came_later(empty: sa.Engine) -> None:
    def columns() -> set[str]:
        return {column["name"] for column in sa.inspect(empty).get_columns("bulks")}

    migrations.upgrade(empty, "0017")
    assert "price_lines" not in columns()
    migrations.upgrade(empty)
    assert "price_lines" in columns()


def test_a_migration_that_was_interrupted_runs_again(empty: sa.Engine) -> None:
    """Run all migrations after 0017 a second time: the schema stays the same.

    That is the situation after a machine dies between a migration and saving its revision.
    """
    migrations.upgrade(empty)
    before = [{tuple(row) for row in rows(empty, question)} for question in (COLUMNS, CONSTRAINTS, INDEXES)]
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0017'"))
    migrations.upgrade(empty)
    assert [{tuple(row) for row in rows(empty, question)} for question in (COLUMNS, CONSTRAINTS, INDEXES)] == before


def test_no_transaction_of_a_migration_locks_two_tables_of_a_running_system() -> None:
    """Check that no transaction of a migration locks two existing tables: that could deadlock with a customer's."""
    for transaction in re.findall(r"BEGIN;(.*?)COMMIT;", migrations.statements("0017:head"), re.DOTALL):
        made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", transaction))
        locked = set(re.findall(r"(?:ALTER TABLE|UPDATE(?! OF)|DELETE FROM|INSERT INTO) (\w+)", transaction))
        assert len(locked - made - {"alembic_version"}) <= (0 if made else 1), transaction


def test_the_carriers_list_of_high_risk_destinations_outlives_a_second_run(empty: sa.Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE high_risk_prefixes SET reason = 'ours' WHERE prefix = '881'"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0027'"))
    migrations.upgrade(empty)
    assert rows(empty, "SELECT reason FROM high_risk_prefixes WHERE prefix = '881'") == [("ours",)]
    # A trunk from before, and one that the old version makes beside the new, may call what it could.
    defaults = "SELECT column_default FROM information_schema.columns WHERE table_name = 'sip_trunks'"
    asked = f"{defaults} AND column_name IN ('countries', 'high_risk') ORDER BY column_name"
    assert rows(empty, asked) == [(None,), ("true",)]


def test_a_migration_gives_up_rather_than_queue_in_front_of_customers(
    empty: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For two tries, and not for two minutes.
    monkeypatch.setattr(migrations, "_TRY_FOR", 0.4)
    migrations.upgrade(empty)
    with empty.connect() as busy:
        busy.execute(sa.text("SELECT 1 FROM accounts"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            migrations.downgrade(empty, "base")
        busy.rollback()
        assert "accounts" in _tables(empty)
    # What was undone before it gave up was undone whole.
    migrations.upgrade(empty)
    assert _tables(empty) == set(metadata.tables)


def test_two_machines_that_migrate_at_once_wait_for_each_other(empty: sa.Engine) -> None:
    """Migrate one database three times at once: all three succeed, and the tables are there.

    A run that waits for another must have no transaction open, or CREATE INDEX CONCURRENTLY would wait for it.
    """
    with ThreadPoolExecutor() as machines:
        for upgraded in [machines.submit(migrations.upgrade, empty) for _ in range(3)]:
            upgraded.result()
    assert _tables(empty) == set(metadata.tables)


def test_the_index_of_a_new_table_is_made_at_once() -> None:
    [statement] = [one for one in migrations.statements("0060:0061").split(";") if "ix_attempt_counts_ends_at" in one]
    assert "CONCURRENTLY" not in statement
