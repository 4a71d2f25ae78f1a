"""Fixtures of the tests of migrations: new databases, one without tables and one with the tables of the models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from models.schema import metadata
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """Provide an engine on a new database without tables, which is dropped after the test."""
    yield from _own_database(postgres, "migrations")


@pytest.fixture
def created(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """Provide an engine on a new database whose tables are created from the models, without migrations.

    It is dropped after the test.
    """
    for engine in _own_database(postgres, "created"):
        metadata.create_all(engine)
        yield engine


def _own_database(postgres: EmbeddedPostgres, name: str) -> Iterator[sa.Engine]:
    postgres.create_database(name)
    engine = sa.create_engine(postgres.url(name))
    yield engine
    engine.dispose()
    postgres.drop_database(name)


def rows(engine: sa.Engine, question: str) -> list[sa.Row[tuple[object, ...]]]:
    """Return the rows that the SQL query `question` finds."""
    with engine.connect() as connection:
        return list(connection.execute(sa.text(question)))
