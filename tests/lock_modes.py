"""Tells which row locks an SQL statement takes, and at which of its locks a transaction could deadlock with another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from models.schema import metadata


class Mode(IntEnum):
    """The strength of a row lock of PostgreSQL; `CONFLICTS` says which modes exclude each other."""

    KEY_SHARE = 1
    SHARE = 2
    NO_KEY_UPDATE = 3
    UPDATE = 4


CONFLICTS = {
    Mode.KEY_SHARE: {Mode.UPDATE},
    Mode.SHARE: {Mode.NO_KEY_UPDATE, Mode.UPDATE},
    Mode.NO_KEY_UPDATE: {Mode.SHARE, Mode.NO_KEY_UPDATE, Mode.UPDATE},
    Mode.UPDATE: set(Mode),
}
_FOR = re.compile(r"\bFOR (KEY SHARE|SHARE|NO KEY UPDATE|UPDATE)\b(?: OF (\w+))?")
_READ = re.compile(r"\b(?:FROM|JOIN) (\w+)")
_WRITTEN = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) (\w+)")
_NEVER_WAITS = re.compile(r"\bSKIP LOCKED\b|\bNOWAIT\b")
_TABLES = metadata.tables
_APPENDED = {"audit_entries", "findings", "messages", "timeline_entries"}
"""Tables to which the operations only add rows: no other transaction waits for a lock on a new row."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A row lock that a statement takes: the table of the rows, and the lock's mode.

    `waits` says whether the statement waits if another transaction has locked a row; it is False for SKIP LOCKED and
    NOWAIT.
    """

    table: str
    mode: Mode
    waits: bool = True


def locks_of(statement: str) -> Iterator[Lock]:
    """Yield the row locks that an SQL statement takes, also those on the rows to which new rows refer by foreign keys.

    Locks on written rows of the audit log, findings, messages and timelines (`_APPENDED`) are left out: the operations
    under test only add rows there, and no other transaction waits for a lock on a new row.
    """
    waits = not _NEVER_WAITS.search(statement)
    for how, only in _FOR.findall(statement):
        for table in [only] if only else _READ.findall(statement):
            if table in _TABLES:
                yield Lock(table, Mode[how.replace(" ", "_")], waits)
    for how, table in _WRITTEN.findall(statement):
        if table not in _TABLES:
            continue
        if how == "INSERT INTO":
            for key in _TABLES[table].foreign_keys:
                yield Lock(key.column.table.name, Mode.KEY_SHARE)
        if table not in _APPENDED:
            yield Lock(table, Mode.UPDATE if how == "DELETE FROM" else Mode.NO_KEY_UPDATE)


def dangerous_places(one: Sequence[Lock], other: Sequence[Lock]) -> list[int]:
    """Return the indexes of those locks of the transaction `one` at which it could deadlock with `other`.

    It could if `other` waits for the lock while `one` has it, and `one` then waits for a lock that `other` already has.
    Each list has a transaction's locks in the order in which it takes them.
    """
    return [
        place
        for place, held in enumerate(one)
        if any(
            wanted.waits and later.waits and _conflict(held, later) and _conflict(wanted, first)
            for wanted in one[place + 1 :]
            for at, first in enumerate(other)
            for later in other[at + 1 :]
        )
    ]


def _conflict(one: Lock, other: Lock) -> bool:
    return one.table == other.table and other.mode in CONFLICTS[one.mode]
