"""Tests of switching row-level security on and off. Which rows it hides is tested with the pages, in `tests/web`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from models.db.roles import DatabaseRole
from models.db.row_security import PORTAL, apply_row_security, is_enforced
from models.db.session import Database
from tests.factories import ROW_SECURITY, make_account
from workers.stack.postgres import EmbeddedPostgres

_POLICIES = sa.text("SELECT oid FROM pg_policy ORDER BY oid")
_ON = sa.text("SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace")


@pytest.fixture
def owner(owner_database: Database) -> Iterator[Database]:
    """Provide the database, connected as its owner, with row-level security on.

    After the test it is switched to what is usual in this test run (the constant `ROW_SECURITY`).
    """
    assert apply_row_security(owner_database, on=True)
    yield owner_database
    apply_row_security(owner_database, on=ROW_SECURITY)


def accounts_seen(postgres: EmbeddedPostgres, role: DatabaseRole) -> int:
    """Return how many accounts the role can read in a connection that names no caller to row-level security."""
    engine = sa.create_engine(postgres.url("standorte", role))
    with engine.connect() as connection:
        found = connection.scalar(sa.text("SELECT count(*) FROM accounts"))
    engine.dispose()
    return found or 0


def test_an_old_front_sees_everything_until_it_is_switched_on(owner: Database, postgres: EmbeddedPostgres) -> None:
    with owner.transaction() as session:
        make_account(session)
    assert apply_row_security(owner, on=False) is False
    assert not is_enforced(owner)
    assert accounts_seen(postgres, DatabaseRole.FRONT) == 1
    # A later migration leaves it as it is, and makes what is missing.
    with owner.engine.begin() as connection:
        connection.exec_driver_sql("DROP POLICY front_sees ON accounts")
    assert apply_row_security(owner, on=None) is False
    assert accounts_seen(postgres, DatabaseRole.FRONT) == 1
    assert apply_row_security(owner, on=True) is True
    assert is_enforced(owner)
    assert accounts_seen(postgres, DatabaseRole.FRONT) == 0
    for role in (DatabaseRole.WORKER, DatabaseRole.OWNER):
        assert accounts_seen(postgres, role) == 1
    with owner.engine.connect() as connection:
        assert set(connection.scalars(_ON)) == set(PORTAL)


def test_a_table_that_is_as_it_should_be_is_not_touched(owner: Database) -> None:
    with owner.engine.connect() as connection:
        before = connection.scalars(_POLICIES).all()
    # Another's lock on a table would hold up any change of its policies.
    with owner.transaction() as session:
        make_account(session)
        assert apply_row_security(owner, on=None, pause=0) is True
    with owner.engine.connect() as connection:
        assert connection.scalars(_POLICIES).all() == before


def test_a_table_in_use_is_tried_again_and_then_named(owner: Database) -> None:
    with owner.transaction() as session:
        make_account(session)
        with pytest.raises(sa.exc.OperationalError, match="LockNotAvailable"):
            apply_row_security(owner, on=False, pause=0, patience="10ms")
    assert apply_row_security(owner, on=None) is True


def test_a_policy_that_somebody_has_changed_is_put_right(owner: Database, postgres: EmbeddedPostgres) -> None:
    with owner.transaction() as session:
        make_account(session)
    with owner.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE POLICY mine ON accounts TO {DatabaseRole.FRONT} USING (true)")
    assert accounts_seen(postgres, DatabaseRole.FRONT) == 1
    apply_row_security(owner, on=None)
    assert accounts_seen(postgres, DatabaseRole.FRONT) == 0
