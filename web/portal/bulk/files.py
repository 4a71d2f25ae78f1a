"""Reads bulk files: CSV or XLSX tables with one request per row."""

from __future__ import annotations

import io
from dataclasses import dataclass

from models.bulk.bulk import MOST_ON_ACCOUNTS, MOST_ROWS, ON_ACCOUNTS
from models.states import Kind
from tasks.files.exported_tables import without_escape
from tasks.files.uploaded_tables import Headings, Place, UnusableTable, open_table
from web.portal.bulk.columns import COLUMNS, Cells, column_of

LARGEST = 5_000_000
"""Maximum size of a file in bytes."""
MOST_TEXT = 5_000_000
"""Maximum number of characters in all cells of a file: a small workbook can repeat a long text in every cell."""


def most_rows(kind: Kind) -> int:
    """Return the maximum number of rows in a file of this kind."""
    return MOST_ON_ACCOUNTS if kind in ON_ACCOUNTS else MOST_ROWS


@dataclass(frozen=True, slots=True)
class BulkFile:
    """The content of a bulk file: `place` says where in the file its table was found, `rows` are the table's rows.

    A row is a pair of its line number in the file and its cells, a mapping from column key to text.
    """

    place: Place
    rows: list[tuple[int, Cells]]


def read_file(content: bytes, kind: Kind) -> BulkFile:
    """Read a bulk file, CSV or XLSX, with the columns for requests of this kind; skip blank rows.

    Every row of the result has a cell for every column, empty if the file does not have that column. Raises
    `UnusableTable` with the code `too_large` if the file is larger than `LARGEST` (5 MB), `too_many_rows` if it has
    more rows than `most_rows`, `too_much_text` if its cells have more than 5 million characters (`MOST_TEXT`), and
    `empty` if it has no row. It has another code if the file has no table with the
    required columns, or if a row cannot be split into cells.
    """
    if len(content) > LARGEST:
        raise UnusableTable("too_large")
    columns = COLUMNS[kind]
    required = [column.key for column in columns if not column.optional]
    headings = Headings(lambda name: column_of(kind, name), required)
    rows: list[tuple[int, Cells]] = []
    room = MOST_TEXT
    with open_table(io.BytesIO(content), headings, most_rows(kind) + 1) as table:
        for row in table.rows:
            # Cells that are missing at the end of a row can be filled in on the page.
            if row.fault not in (None, "too_few_columns"):
                raise UnusableTable(row.fault, line=row.line)
            # Our own tables of rows that were not ordered come back, mended.
            cells = {key: without_escape(cell) for key, cell in row.cells.items()}
            rows.append((row.line, {**{column.key: "" for column in columns}, **cells}))
            room -= sum(map(len, cells.values()))
            if room < 0:
                raise UnusableTable("too_much_text")
            if len(rows) > most_rows(kind):
                raise UnusableTable("too_many_rows")
    if not rows:
        raise UnusableTable("empty")
    return BulkFile(table.place, rows)
