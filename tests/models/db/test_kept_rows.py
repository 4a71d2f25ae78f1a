"""Tests of the copy of all rows (`tests/kept_rows.py`), with which other tests restore the database.

Restoring must undo added, changed and deleted rows.
"""

from __future__ import annotations

import sqlalchemy as sa

from models.db.session import Database
from tests.factories import make_account, make_user
from tests.kept_rows import kept_rows


def test_what_was_added_changed_or_deleted_is_as_before(database: Database, superuser: sa.Engine) -> None:
    with database.transaction() as session:
        first, second = (make_account(session, administrator=make_user(session)).id for _ in range(2))

    def rows() -> list[tuple[object, ...]]:
        with superuser.begin() as connection:
            joined = "accounts a JOIN memberships m ON a.id = account_id JOIN users u ON u.id = user_id"
            return sorted(map(tuple, connection.execute(sa.text(f"SELECT a, u, m FROM {joined}"))), key=str)

    before = rows()
    with kept_rows(superuser) as kept:
        for change in (
            f"UPDATE accounts SET name = 'Anders' WHERE id = {first}",
            f"DELETE FROM memberships WHERE account_id = {second}",
            "UPDATE users SET name = 'Anders'",
        ):
            with superuser.begin() as connection:
                connection.execute(sa.text(change))
            assert rows() != before
            kept.restore()
            assert rows() == before
        with database.transaction() as session:
            make_account(session, administrator=make_user(session))
        assert len(rows()) == 3
        kept.restore()
    assert len(before) == 2 and rows() == before
