"""Open a CSV or XLSX file of customers, or of their trunks, call forwardings or users, as a table for an import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.accounts.customer_import import COLUMNS, OPTIONAL, REQUIRED
from tasks.files.csv_lines import LONGEST_LINE
from tasks.files.uploaded_tables import Headings, Table, UnusableTable, open_table
from tasks.files.workbook_program import LAST_LINE, UNPACKED


class UnusableFile(Exception):
    """Raised when a file has no table with the required columns; the message says why and what is expected."""


@contextmanager
def open_customers(path: Path) -> Iterator[Table]:
    """Open a CSV or XLSX file of customers, yield its table, and close the file at the end of the block.

    Raises `UnusableFile` if the file has no table with the required columns, and `OSError` if it cannot be read.
    """
    with open_file(path, REQUIRED, OPTIONAL, COLUMNS) as table:
        yield table


@contextmanager
def open_file(
    path: Path, required: Sequence[str], optional: Sequence[str], columns: Sequence[str] = ()
) -> Iterator[Table]:
    """Open a CSV or XLSX file with headings, yield its table, and close the file at the end of the block.

    `required` are the columns that the file must have, `optional` those that it may have, by the names in the heading.
    `columns` are all columns that are read; if empty, these are the required and the optional ones. Raises
    `UnusableFile` if the file has no table with the required columns, and `OSError` if it cannot be read.
    """
    known = columns or (*required, *optional)
    headings = Headings(lambda name: name.lower() if name.lower() in known else None, required)
    try:
        with path.open("rb") as file, open_table(file, headings, LAST_LINE) as table:
            yield table
    except UnusableTable as error:
        raise UnusableFile(_why_not(error, required, optional)) from error


def _why_not(error: UnusableTable, required: Sequence[str], optional: Sequence[str]) -> str:
    """Return a sentence, without its full stop, that says why the file has no usable table.

    `required` and `optional` are the columns that the file must and may have.
    """
    reasons = {
        "empty": "the file is empty",
        "no_columns": f"no line has all headings, line {error.line} has no {', '.join(error.columns)}; a file needs"
        f" {';'.join(required)} and may have {' and '.join(optional)}",
        "columns_twice": f"a heading of line {error.line} is there more than once",
        "hidden_sheet": f"the table is on the hidden sheet {error.sheet!r}",
        "line_too_long": f"line {error.line} is longer than {LONGEST_LINE} characters",
        "far_row": f"row {error.line} of sheet {error.sheet!r} has content; of a workbook {LAST_LINE} rows are read",
        "too_much": f"the workbook unpacks to more than {UNPACKED // 1_000_000} MB, or has cells far from the table",
    }
    return reasons.get(error.code, "the file is neither CSV nor XLSX")
