"""Lets a test fail if one statement locks several rows without an ORDER BY: two such statements could deadlock."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

_LOCKS = re.compile(r"\bFOR (NO KEY )?UPDATE\b|\bFOR (KEY )?SHARE\b")
_HARMLESS = re.compile(r"\bORDER BY\b|\bSKIP LOCKED\b|\bNOWAIT\b")


def check_lock_order() -> None:
    """Check every statement of every engine from now on.

    Raise `AssertionError` at a statement that locks several rows without an order.
    """
    sa.event.listen(sa.Engine, "after_cursor_execute", _check)


def _check(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
    if cursor.rowcount > 1 and _LOCKS.search(statement) and not _HARMLESS.search(statement):
        raise AssertionError(f"locks {cursor.rowcount} rows in no order: {statement}")
