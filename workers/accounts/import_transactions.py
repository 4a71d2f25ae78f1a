"""The database transactions of imports: a dry run rolls them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from models.db.session import Database


@contextmanager
def import_transaction(database: Database, *, dry: bool) -> Iterator[Session]:
    """Yield a session in a transaction for one row or one batch of rows; commit at the end of the block.

    With `dry`, the block's writes are sent to the database, which checks them, and are then rolled back.
    """
    with database.transaction() as session:
        yield session
        if dry:
            session.flush()
            session.rollback()
