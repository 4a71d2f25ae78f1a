"""Tests that the web application's database role cannot write a row that refers to another company's row.

Each row of the caller's own company is inserted once more, with one id replaced by an id of the other company.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from models.db.privileges import PORTAL
from models.schema import metadata
from tests.web.test_row_security import REFUSED, World, world

__all__ = ["world"]

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_CALLER = sa.text("SELECT set_config('standorte.caller', :caller, true)")
# What belongs to nobody, or is no reference: the pool's blocks are free for all.
_NOBODYS = {"area_codes", "products", "customer_numbers"}
# Besides foreign keys: names of columns, by table, with the table that they refer to.
_UNDECLARED = {"invited_people": {"invitation_id": "invitations"}, "requests": {"customer_number": "accounts"}}
# No page inserts them as they are: by an opened invitation only, as staff only, or by a public page.
_NOT_BY_CUSTOMERS = {"memberships", "users", "factor_resets"}


@dataclass(frozen=True, slots=True)
class Reference:
    """The column `column` of the table `table`, whose values are keys of rows of the table `target`."""

    table: str
    column: str
    target: str


def references() -> Iterator[Reference]:
    """Yield every column of the portal's tables that refers to a table whose rows can belong to a company."""
    for table in metadata.tables.values():
        for column in table.columns:
            for key in column.foreign_keys:
                if key.column.table.name not in _NOBODYS and not column.computed:
                    yield Reference(table.name, column.name, key.column.table.name)
        for name, target in _UNDECLARED.get(table.name, {}).items():
            yield Reference(table.name, name, target)


class Writer:
    """Runs SQL statements as the web application's role, for the administrator of the second of two companies.

    Each statement is rolled back at once.
    """

    def __init__(self, world: World, superuser: sa.Engine) -> None:
        self.world = world
        with superuser.connect() as connection:
            self._rows = {
                table: [
                    row
                    for key, row in connection.execute(
                        sa.text(f"SELECT ROW({self._key(table)})::text, to_jsonb({table}) FROM {table}")
                    )
                    if key not in world.foreign[table]
                ]
                for table in metadata.tables
            }
            self._foreign = {
                table: [
                    row
                    for key, row in connection.execute(
                        sa.text(f"SELECT ROW({self._key(table)})::text, to_jsonb({table}) FROM {table}")
                    )
                    if key in world.foreign[table]
                ]
                for table in metadata.tables
            }
            granted = "SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges"
            granted += " WHERE grantee = 'standorte_front'"
            self._granted = {tuple(row) for row in connection.execute(sa.text(granted))}

    @staticmethod
    def _key(table: str) -> str:
        return ", ".join(column.name for column in metadata.tables[table].primary_key)

    def may(self, privilege: str, table: str, column: str) -> bool:
        """Return whether the web application's role has this privilege ("INSERT" or "UPDATE") on the column."""
        return (table, column, privilege) in self._granted

    def own_rows(self, table: str) -> list[dict[str, Any]]:
        """Return rows of the table that the administrator may insert; none of them is the first company's.

        They are copies of rows that exist, with some values changed where the copy would be refused. A row is a dict of
        column name to value.
        """
        rows = [self._made_anew(table, row) for row in self._rows[table]]
        return [row for row in rows if self.insert(table, row) != REFUSED]

    def foreign(self, reference: Reference) -> list[Any]:
        """Return the values with which the column would refer to rows of the first company: ids or customer numbers."""
        key = "customer_number" if reference.column == "customer_number" else "id"
        found = self._foreign[reference.target]
        if found and key not in found[0]:
            key = self._key(reference.target)
        return list(dict.fromkeys(row[key] for row in found))

    def insert(self, table: str, row: dict[str, Any]) -> str | None:
        """Insert the row into the table and roll back; return the SQLSTATE of the error, or None if there was none."""
        known = metadata.tables[table].columns
        columns = ", ".join(name for name in row if self.may("INSERT", table, name) and not known[name].computed)
        # As it was, also an id that the database makes.
        given = "OVERRIDING SYSTEM VALUE" if "id" in known else ""
        statement = f"INSERT INTO {table} ({columns}) {given} SELECT {columns}"
        return self._error(f"{statement} FROM jsonb_populate_record(null::{table}, :row)", {"row": json.dumps(row)})

    def update(self, reference: Reference, value: Any) -> str | None:
        """Write `value` into the column of all rows that the administrator sees, and roll back.

        Return the SQLSTATE of the error, the text "none" if no row could be changed, or None if a row was changed.
        """
        type = metadata.tables[reference.table].columns[reference.column].type.compile(_DIALECT)
        set = f"{reference.column} = CAST(:value AS {type})"
        statement = (
            f"UPDATE {reference.table} SET {set} WHERE {reference.column} IS DISTINCT FROM CAST(:value AS {type})"
        )
        return self._error(f"{statement} RETURNING 1", {"value": value})

    def _made_anew(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with the values of some columns changed, so that inserting it is not refused.

        For example, an account gets the state in which it was created, and an order another customer number.
        """
        sub = next(one for one in self._rows["accounts"] if one["main_id"] == self.world.main)
        match table:
            case "accounts":
                return {**row, "state": "ordered", "main_id": None}
            case "requests" if row["kind"] == "order":
                # An order makes its account with the same statement: one that is there has been ordered already.
                return {**row, "account_id": 2**40, "customer_number": "9999999"}
            case "collective_invoice_items":
                return {**row, "account_id": sub["id"]}
            case "link_codes":
                owner = next(one for one in self._rows["memberships"] if one["account_id"] == self.world.main)
                return {**row, "account_id": sub["id"], "created_by": owner["user_id"]}
            case "known_places":
                return {**row, "fits": None, "decided_at": None, "decided_by": None}
            case "number_assignments":
                block = next(one for one in self._rows["number_blocks"] if one["account_id"] is not None)
                return {**row, "account_id": block["account_id"], "block_id": block["id"]}
            case "ownership_proofs":
                return {**row, "account_id": sub["id"]}
        return row

    def _error(self, statement: str, values: dict[str, Any]) -> str | None:
        with self.world.front.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(_CALLER, {"caller": self.world.callers["administrator"]})
            try:
                rows = connection.execute(sa.text(statement), values)
                return "none" if rows.returns_rows and not rows.all() else None
            except sa.exc.DBAPIError as error:
                return str(getattr(error.orig, "sqlstate", None))
            finally:
                transaction.rollback()


@pytest.fixture
def writer(world: World, superuser: sa.Engine) -> Writer:
    """Provide a writer for the administrator of the second company of `world`."""
    return Writer(world, superuser)


def test_no_row_is_inserted_that_names_things_of_another_company(writer: Writer) -> None:
    tried, written, without = 0, [], set()
    for table in {one.table for one in references() if "INSERT" in PORTAL[one.table].front}:
        rows = writer.own_rows(table)
        if not rows:
            without.add(table)
        for reference in (one for one in references() if one.table == table):
            if not writer.may("INSERT", table, reference.column):
                continue
            for row in rows:
                # The number of the account that a link asks for may be anybody's: that is what the proof is for.
                if reference.column == "customer_number" and row["account_id"] is None:
                    continue
                for foreign in writer.foreign(reference)[:3]:
                    tried += 1
                    error = writer.insert(table, {**row, reference.column: foreign})
                    if error != REFUSED:
                        written.append((table, reference.column, row.get("kind"), error))
    assert without <= _NOT_BY_CUSTOMERS, "there must be a row to begin with"
    assert written == []
    assert tried > 100


def test_no_row_is_changed_so_that_it_names_things_of_another_company(writer: Writer) -> None:
    written = []
    for reference in references():
        if not writer.may("UPDATE", reference.table, reference.column):
            continue
        for foreign in writer.foreign(reference)[:3]:
            if writer.update(reference, foreign) not in (REFUSED, "none"):
                written.append((reference.table, reference.column))
    assert written == []


def test_an_entry_of_the_log_tells_of_no_person_whom_the_caller_does_not_see(writer: Writer) -> None:
    rows = writer.own_rows("audit_entries")
    [stranger, *_] = writer.foreign(Reference("audit_entries", "user_id", "users"))
    assert rows
    for row in rows:
        assert writer.insert("audit_entries", {**row, "facts": {**row["facts"], "user_id": stranger}}) == REFUSED
