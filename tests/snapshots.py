"""Snapshots of the rows with which many tests begin: written by the product once, then restored for each test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from workers.gateways.registrar import plain_url

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
_SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL"
# What every database of the tests has in it all the time.
_ALWAYS_THERE = {"area_codes", "high_risk_prefixes", "products", "alembic_version", "version"}
# Of the towns only the questions come from tests; the rest is always there, too.
_OF_TESTS = {"known_places": sql.SQL("(SELECT * FROM known_places WHERE asked_at IS NOT NULL)")}


@dataclass(frozen=True)
class _Snapshot:
    """The rows of a database, by table in the format of COPY, and its sequences as pairs of name and last value."""

    tables: dict[str, bytes]
    sequences: list[tuple[str, int]]


Said = TypeVar("Said")
_kept: dict[str, tuple[Any, list[_Snapshot]]] = {}


def written_once(name: str, urls: Sequence[str], write: Callable[[], Said]) -> Said:
    """Let `write` fill the empty databases at `urls`, or restore the rows that it wrote before.

    The first call with a `name` calls `write`; later calls with this name restore its rows. Return what `write`
    returned. The rows must not depend on anything that differs between the tests of one process.
    """
    if name not in _kept:
        said = write()
        _kept[name] = said, [_take(url) for url in urls]
        return said
    said, snapshots = _kept[name]
    for url, snapshot in zip(urls, snapshots, strict=True):
        _put_back(url, snapshot)
    return said


def _take(url: str) -> _Snapshot:
    with psycopg.connect(plain_url(url)) as connection:
        names = [name for (name,) in connection.execute(_TABLES) if name not in _ALWAYS_THERE]
        tables = {}
        for name in names:
            source = _OF_TESTS.get(name, sql.Identifier(name))
            with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(source)) as rows:
                if content := b"".join(bytes(row) for row in rows):
                    tables[name] = content
        return _Snapshot(tables, connection.execute(_SEQUENCES).fetchall())


def _put_back(url: str, snapshot: _Snapshot) -> None:
    with psycopg.connect(plain_url(url)) as connection:
        # Without foreign keys and triggers, so in any order.
        connection.execute("SET LOCAL session_replication_role = replica")
        for name, content in snapshot.tables.items():
            with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as rows:
                rows.write(content)
        for name, value in snapshot.sequences:
            connection.execute("SELECT setval(quote_ident(%s)::regclass, %s)", [name, value])
