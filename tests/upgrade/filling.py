"""Fills a database of any schema with a large number of rows: copies of the rows that some orders have written.

It reads the tables and foreign keys from the database, so that it works with every version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

SCHEMA = "filling"
"""The database schema for the remembered rows and keys; it is dropped at the end."""
LEFT_OUT = ("sip_trunks", "number_blocks", "alembic_version")
"""Tables that are not copied: the registrar would lack the trunks, and number blocks must not overlap."""
_KEYS = """
SELECT c.conrelid::regclass::text, a.attname, format_type(a.atttypid, NULL), cardinality(c.conkey)
FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
WHERE c.contype = 'p' AND c.connamespace = 'public'::regnamespace
"""
# Of a foreign key of several columns, the one that holds the other table's whole key.
_REFERENCES = """
SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text
FROM pg_constraint c CROSS JOIN unnest(c.conkey, c.confkey) AS pair(own, other)
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = pair.own
JOIN pg_constraint p ON p.conrelid = c.confrelid AND p.contype = 'p' AND p.conkey = ARRAY[pair.other]
WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace
"""
_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND is_generated = 'NEVER' ORDER BY ordinal_position
"""
_SEQUENCES = """
SELECT c.relname, a.attname, pg_get_serial_sequence(c.oid::regclass::text, a.attname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    AND pg_get_serial_sequence(c.oid::regclass::text, a.attname) IS NOT NULL
"""

_COPIED = {
    "bigint": "rows.{column} + copy * (SELECT 1 + max({key}) - min({key}) FROM {new})",
    # Customer numbers, which are drawn from seven digits.
    "text": (
        "(1000000 + copy * (SELECT count(*) FROM {new})"
        " + (SELECT count(*) FROM {new} other WHERE other.{key} < rows.{column}))::text"
    ),
    "uuid": "overlay(rows.{column}::text PLACING lpad(to_hex(copy), 8, '0') FROM 29 FOR 8)::uuid",
}
"""The SQL expression for the key of a copy, by the type of the key. All copies get different keys."""
_ADDRESS = ("users", "email")
"""Table and column of the users' e-mail addresses, which are unique: each copy gets one of its own."""


@dataclass
class _Schema:
    """The tables of a database: their columns, their primary keys, and the tables to which columns refer."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The column that is the primary key, and its type, by table. Tables whose key has several columns are left out."""
    composed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The columns of each primary key, by table."""
    references: dict[tuple[str, str], str] = field(default_factory=dict)
    """The table to which a column refers, by table and column."""
    columns: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def target(self, table: str, column: str) -> str | None:
        """Return the table whose key the column contains: its own table or one that it refers to; None for others."""
        if (table, column) in self.references:
            return self.references[table, column]
        return table if self.keys.get(table, ("", ""))[0] == column else None


class Filling:
    """Remembers all rows that are inserted while its `with` block lasts, and can then copy them many times."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._schema = _read_schema(connection)
        self._copies = 0
        """How many copies of each remembered row there are already."""

    def __enter__(self) -> Filling:
        self._run("DROP SCHEMA IF EXISTS {schema} CASCADE")
        self._run("CREATE SCHEMA {schema}")
        for table, key in self._tables().items():
            keys = sql.SQL(", ").join(map(sql.Identifier, key))
            self._run("CREATE TABLE {kept} AS SELECT {keys} FROM {table}", table, keys=keys)
        return self

    def __exit__(self, *_error: object) -> None:
        """End the `with` block: remember the rows that were inserted during it, so that `copy` can copy them."""
        for table, key in self._tables().items():
            same = sql.SQL(" AND ").join(
                sql.SQL("before.{0} = rows.{0}").format(sql.Identifier(column)) for column in key
            )
            self._run(
                "CREATE TABLE {new} AS SELECT * FROM {table} rows"
                " WHERE NOT EXISTS (SELECT FROM {kept} before WHERE {same})",
                table,
                same=same,
            )

    def copy(self, rows: int) -> int:
        """Copy the remembered rows until all tables together have about `rows` more rows; return how many were added.

        Like `copy_times`, it needs a superuser and can be called once.
        """
        return self.copy_times(rows // max(1, sum(self._counts().values())))

    def copy_times(self, copies: int, *, more: bool = False) -> int:
        """Copy each remembered row `copies` times; return how many rows were added.

        Where a row refers to another remembered row, its copy refers to that row's copy. A copy that would violate a
        unique index is left out. Must run as a superuser: triggers and foreign keys are switched off meanwhile. With
        `more` it can be called again; otherwise it drops the remembered rows.
        """
        counts, added = self._counts(), 0
        with self._connection.transaction():
            self._connection.execute("SET LOCAL session_replication_role = replica")
            for table in (table for table, count in counts.items() if count):
                added += self._copy_table(table, copies)
            for table, column, sequence in self._connection.execute(_SEQUENCES).fetchall():
                self._run(
                    "SELECT setval({sequence}, greatest((SELECT max({column}) FROM {table}), 1))",
                    table,
                    sequence=sql.Literal(sequence),
                    column=sql.Identifier(column),
                )
        self._copies += copies
        if not more:
            self._run("DROP SCHEMA {schema} CASCADE")
        return added

    def _copy_table(self, table: str, copies: int) -> int:
        columns = self._schema.columns[table]
        values = [self._value(table, column) for column in columns]
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        return self._run(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
            " SELECT {values} FROM {new} rows, generate_series({first}, {last}) AS copy ON CONFLICT DO NOTHING",
            table,
            names=names,
            values=sql.SQL(", ").join(values),
            first=sql.Literal(self._copies + 1),
            last=sql.Literal(self._copies + copies),
        )

    def _value(self, table: str, column: str) -> sql.Composable:
        """Return the SQL expression for the value of a column in a copy.

        In it, `rows` is the original row and `copy` the number of the copy.
        """
        plain = sql.SQL("rows.{}").format(sql.Identifier(column))
        if (table, column) == _ADDRESS:
            return sql.SQL("copy || '.' || {}").format(plain)
        target = self._schema.target(table, column)
        if target is None and column == "customer_number":
            target = "customer_numbers"
        if target is None or target in LEFT_OUT or target not in self._schema.keys:
            return plain
        key, kind = self._schema.keys[target]
        copied = _COPIED.get(kind, _COPIED["bigint"])
        return sql.SQL(
            f"CASE WHEN rows.{{column}} IN (SELECT {{key}} FROM {{new}}) THEN {copied} ELSE rows.{{column}} END"
        ).format(column=sql.Identifier(column), key=sql.Identifier(key), new=sql.Identifier(SCHEMA, f"{target} new"))

    def _tables(self) -> dict[str, list[str]]:
        return {table: key for table, key in self._schema.composed.items() if table not in LEFT_OUT}

    def _counts(self) -> dict[str, int]:
        return {table: self._count("SELECT count(*) FROM {new}", table) for table in self._tables()}

    def _count(self, text: str, table: str) -> int:
        [[count]] = self._connection.execute(self._composed(text, table, {})).fetchall()
        return int(count)

    def _run(self, text: str, table: str = "", **parts: sql.Composable) -> int:
        return self._connection.execute(self._composed(text, table, parts)).rowcount

    def _composed(self, text: str, table: str, parts: Mapping[str, sql.Composable]) -> sql.Composed:
        names = {
            "schema": sql.Identifier(SCHEMA),
            "table": sql.Identifier("public", table),
            "kept": sql.Identifier(SCHEMA, f"{table} before"),
            "new": sql.Identifier(SCHEMA, f"{table} new"),
        }
        return sql.SQL(text).format(**names, **parts)


def _read_schema(connection: psycopg.Connection) -> _Schema:
    found = _Schema()
    for table, column, kind, many in connection.execute(_KEYS).fetchall():
        found.composed[table].append(column)
        if many == 1:
            found.keys[table] = (column, kind)
    for table, column, target in connection.execute(_REFERENCES).fetchall():
        found.references[table, column] = target
    for table, column in connection.execute(_COLUMNS).fetchall():
        found.columns[table].append(column)
    return found
