"""A database whose user dies at a commit, as a process that is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from models.db.session import Database


class Death(BaseException):
    """Raised to end the worker's code at a commit, as if its process was killed."""


class Mortal:
    """A database whose user dies at the commit of the transaction with the number `commits`.

    `before`: the user dies before the commit takes effect, and not after it.
    """

    def __init__(self, database: Database, commits: int, *, before: bool) -> None:
        self._database = database
        self._left = commits
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def transaction(self, **limits: Any) -> Iterator[Session]:
        """Open a transaction as the real database does; raise `Death` before or after the commit that is fatal."""
        self._left -= 1
        with self._database.transaction(**limits) as session:
            yield session
            if self._left == 0 and self._before:
                raise Death
        if self._left == 0:
            raise Death
