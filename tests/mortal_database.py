"""A database that ends the calling code at a chosen commit, as if its process had been killed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from models.db.session import Database


class Death(BaseException):
    """Raised to end a worker's code at a commit, as if its process had been killed there."""


class Mortal:
    """A wrapper around `database` that raises `Death` at the commit with the number `commits`, counted from 1 on.

    With `before`, it is raised before this commit, which then does not take effect; otherwise right after it.
    """

    def __init__(self, database: Database, commits: int, *, before: bool) -> None:
        self._database = database
        self._left = commits
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def transaction(self, **limits: Any) -> Iterator[Session]:
        """Open a transaction as the wrapped database does, with the same `limits`; yield its session.

        Raises `Death` before or after the chosen commit.
        """
        self._left -= 1
        with self._database.transaction(**limits) as session:
            yield session
            if self._left == 0 and self._before:
                raise Death
        if self._left == 0:
            raise Death
