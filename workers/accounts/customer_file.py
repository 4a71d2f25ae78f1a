"""Open a CSV or XLSX file of customers; if no table of customers can be read from the file, say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.accounts.customer_import import COLUMNS, OPTIONAL, REQUIRED
from tasks.files.csv_lines import LONGEST_LINE
from tasks.files.uploaded_tables import Headings, Table, UnusableTable, open_table
from tasks.files.workbook_program import LAST_LINE, UNPACKED

_HEADINGS = Headings(lambda name: name.lower() if name.lower() in COLUMNS else None, REQUIRED)


class UnusableFile(Exception):
    """Raised when no table of customers can be read from a file; the message says why and what is expected."""


@contextmanager
def open_customers(path: Path) -> Iterator[Table]:
    """Open a CSV or XLSX file of customers, yield its table, and close the file at the end of the block.

    Raises `UnusableFile` if the file has no table with the required columns, and `OSError` if it cannot be read.
    """
    try:
        with path.open("rb") as file, open_table(file, _HEADINGS, LAST_LINE) as table:
            yield table
    except UnusableTable as error:
        raise UnusableFile(why_not(error, REQUIRED, OPTIONAL)) from error


def why_not(error: UnusableTable, required: Sequence[str], optional: Sequence[str]) -> str:
    """Return why no table with the `required` columns can be read from a file, in a sentence without its full stop.

    `optional` are the columns that it may have besides.
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
