"""Records the SQL statements that are executed while a test runs a part of the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


@contextmanager
def recorded_statements() -> Iterator[list[str]]:
    """Yield a list to which the SQL statements that run inside the `with` block are added.

    It gets the statements of all engines of this process, without their parameters.
    """
    ran: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        ran.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
