"""Migrations of the portal's database, run with the application's own connection settings.

Lock-safe for a running system: every migration waits for a lock a few seconds at the most and then gives up
whole (`lock_timeout`), so that it never queues in front of customers.
"""

from __future__ import annotations

import io
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.db.advisory_locks import AdvisoryLock, take_advisory_lock


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema up to a revision, in one transaction. Safe to run twice, and from two machines at once."""
    with engine.begin() as connection:
        _prepare(connection)
        command.upgrade(_config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the schema back to a revision ('base' is empty)."""
    with engine.begin() as connection:
        _prepare(connection)
        command.downgrade(_config(connection), revision)


def statements(revisions: str) -> str:
    """Return the SQL of these revisions (`0013:head`) as a script, for the linter. Needs no database."""
    config = _config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, revisions, sql=True)
    return config.output_buffer.getvalue()


def head_revision() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current_revision(connection: sa.Connection) -> str | None:
    """The revision that the database has; None if it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _prepare(connection: sa.Connection) -> None:
    # One migration at a time, also when two machines start.
    take_advisory_lock(connection, AdvisoryLock.MIGRATION)
    connection.execute(sa.text("SET LOCAL lock_timeout = '4s'"))
