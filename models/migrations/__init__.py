"""Migrations of the portal's database with Alembic, run on the application's own connection.

They are safe on a running system. Each migration, or each of its statements, is a transaction of its own and waits at
most 300 milliseconds for each lock (`lock_timeout`), because customers' requests wait behind it meanwhile. If it gets
no lock, it is rolled back, other transactions continue, and it is tried again for two minutes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from models.db.advisory_locks import AdvisoryLock, hold_advisory_lock

PATIENCE = "300ms"
"""How long a statement of a migration waits for a lock, as a PostgreSQL setting; other statements wait behind it."""
_PATIENCE_CONCURRENTLY = "60s"
"""How long a statement with CONCURRENTLY waits for a lock; other statements do not wait behind it."""
_TRY_FOR = 120.0
"""Seconds for which a migration that gets no lock is tried again, counted from the last try that did any work."""
_WORKED = 5.0
"""A try that took more seconds than this has done work, such as making an index, and not only waited."""
_PAUSE = 0.5
"""Seconds between two tries, in which other transactions get the lock."""
# What a migration that was interrupted has left: `if_not_exists` would take it for the whole index.
_HALF_MADE = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT indisvalid AND relnamespace = 'public'::regnamespace AND relname !~ '_ccnew[0-9]*$'
    -- Of an index that another role makes, the view tells no more than the database: it could be this one.
    AND NOT EXISTS (
        SELECT FROM pg_stat_progress_create_index AS made
        WHERE made.index_relid = indexrelid OR (made.index_relid IS NULL AND made.datname = current_database())
    )
"""


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate the schema up to a revision, by default the newest. Safe to run twice, and on two machines at once.

    Raises `OperationalError` of SQLAlchemy if a table was in use at every try for two minutes.
    """
    with _alone(engine) as connection:
        _until_free(connection, lambda: command.upgrade(_config(connection), revision))


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate the schema down to a revision; 'base' is the empty schema."""
    with _alone(engine) as connection:
        _until_free(connection, lambda: command.downgrade(_config(connection), revision))


def statements(revisions: str) -> str:
    """Return the SQL script of a range of revisions, such as `0013:head`, for a linter. Needs no database."""
    config = _config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, revisions, sql=True)
    return config.output_buffer.getvalue()


def head_revision() -> str:
    """Return the schema revision that the code needs: the newest revision among the migration files."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def serves(revision: str | None) -> bool:
    """Return whether this version of the program works with a schema of this revision: its own or any newer one.

    During an upgrade the schema is migrated first, and the old version's processes go on until they are replaced. Each
    migration is written so that the previous version can work with it. `revision` is None for a database without a
    schema.
    """
    # Revisions are numbers with leading zeros, in the order of the migrations.
    return revision is not None and revision >= head_revision()


def is_known(revision: str) -> bool:
    """Return whether the schema revision is one of this version's migrations, so that it can be upgraded from there."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def current_revision(connection: sa.Connection) -> str | None:
    """Return the schema revision of the database; None if no migration has run yet."""
    return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _alone(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection that holds the migration lock; it is closed at the end of the block, which frees the lock.

    A second machine that migrates waits for the lock. Each statement on the connection gets its lock timeout.
    """
    with engine.connect() as connection:
        hold_advisory_lock(connection, AdvisoryLock.MIGRATION)
        connection.commit()
        sa.event.listen(connection, "before_cursor_execute", _limit_wait)
        try:
            yield connection
        finally:
            # The lock and the setting end with the connection.
            connection.invalidate()


def _limit_wait(_connection: sa.Connection, cursor: psycopg.Cursor, statement: str, *_arguments: object) -> None:
    """Set `lock_timeout` before a statement runs: longer for a statement with CONCURRENTLY, which blocks no others.

    It is an event handler for SQLAlchemy's `before_cursor_execute`.
    """
    patience = _PATIENCE_CONCURRENTLY if "CONCURRENTLY" in statement else PATIENCE
    cursor.execute(f"SET lock_timeout = '{patience}'".encode())


def _until_free(connection: sa.Connection, migrate: Callable[[], None]) -> None:
    """Run `migrate`, again and again while a table is in use: a migration can be run again after an interruption.

    Raises `OperationalError` after two minutes (`_TRY_FOR`) without progress, or at once if its cause is not a lock.
    """
    ends = time.monotonic() + _TRY_FOR
    while True:
        began = time.monotonic()
        try:
            _drop_half_made_indexes(connection)
            return migrate()
        except OperationalError as error:
            connection.rollback()
            was_locked = isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected)
            if time.monotonic() - began > _WORKED:
                ends = time.monotonic() + _TRY_FOR
            if not was_locked or time.monotonic() > ends:
                raise
        time.sleep(_PAUSE)


def _drop_half_made_indexes(connection: sa.Connection) -> None:
    for name in connection.scalars(sa.text(_HALF_MADE)).all():
        connection.exec_driver_sql(f"DROP INDEX {name}")
    connection.commit()
