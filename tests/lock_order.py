"""Fails a test in which several rows are locked by one statement without an order: two of them could deadlock."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

_LOCKS = re.compile(r"\bFOR (NO KEY )?UPDATE\b|\bFOR (KEY )?SHARE\b")
_HARMLESS = re.compile(r"\bORDER BY\b|\bSKIP LOCKED\b|\bNOWAIT\b")


def check_lock_order() -> None:
    """Check every statement of every database engine from now on; one that breaks the rule raises `AssertionError`."""
    sa.event.listen(sa.Engine, "after_cursor_execute", _check)


def _check(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
    if cursor.rowcount > 1 and _LOCKS.search(statement) and not _HARMLESS.search(statement):
        raise AssertionError(f"locks {cursor.rowcount} rows in no order: {statement}")
