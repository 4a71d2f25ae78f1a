"""Migrations of the portal's database, run with the application's own connection settings.

Safe on a running system: each migration, or each of its statements, is a transaction of its own and waits at most 4
seconds for each lock (`lock_timeout`); then it fails and is rolled back, so that customers' requests are not blocked
behind a waiting migration.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.db.advisory_locks import AdvisoryLock, hold_advisory_lock


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate the schema up to a revision, by default the newest. Safe to run twice, and on two machines at once."""
    with _alone(engine) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate the schema down to a revision; 'base' is the empty schema."""
    with _alone(engine) as connection:
        command.downgrade(_config(connection), revision)


def statements(revisions: str) -> str:
    """Return the SQL script for a range of revisions, such as `0013:head`, for the linter. Needs no database."""
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
    """Return whether this version works with a schema of this revision: with its own, and with every newer one.

    During an upgrade the schema is migrated first, and the old version's processes go on until they are replaced. Each
    migration is such that the version before it can work with it. `revision` is None for a database without a schema.
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
    """Yield a connection that holds the migration lock: a second machine that migrates waits until this one is done."""
    with engine.connect() as connection:
        hold_advisory_lock(connection, AdvisoryLock.MIGRATION)
        connection.execute(sa.text("SET lock_timeout = '4s'"))
        connection.commit()
        try:
            yield connection
        finally:
            # The lock and the setting end with the connection.
            connection.invalidate()
