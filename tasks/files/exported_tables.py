"""Export rows as CSV (in the format of German Excel) or XLSX, without keeping all rows in memory."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import IO

from xlsxwriter import Workbook

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Cell = str | date | Decimal | int
"""A cell: text, a day, an amount in euros, or a whole number."""
EXPORT_PAGE = 1000

_KEPT_IN_MEMORY = 1_000_000
_WIDTHS = (16, 14, 32, 24, 28, 12, 22, 22, 26, 16, 14)
# What starts a formula; a phone number is none.
_FORMULA = re.compile(r"[=@\t\r\n-]|\+(?![0-9]+\Z)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def csv_of(rows: Iterable[list[Cell]]) -> IO[bytes]:
    """Return a CSV file with the rows, in the format of German Excel, open at its beginning; the caller closes it.

    The text is UTF-8 with byte order mark, cells are separated by semicolons, dates written as 31.12.2026, amounts as
    29,90 and whole numbers as 30. A cell that Excel would read as a formula gets an apostrophe in front.
    """
    file = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - it is returned open
    try:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="", write_through=True)
        csv.writer(text, delimiter=";").writerows([_escape_formula(cell) for cell in row] for row in rows)
        text.detach()
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def xlsx_of(rows: Iterable[list[Cell]], title: str) -> IO[bytes]:
    """Return an XLSX file with the rows on one sheet named `title`; the first row has the headings and stays visible.

    The file is open at its beginning; the caller closes it. Text is never read as a formula, and control characters are
    left out.
    """
    file = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - it is returned open
    try:
        with Workbook(file, {"constant_memory": True}) as book:
            sheet = book.add_worksheet(title)
            day = book.add_format({"num_format": "dd.mm.yyyy"})
            euros = book.add_format({"num_format": "0.00"})
            sheet.freeze_panes(1, 0)
            for column, width in enumerate(_WIDTHS):
                sheet.set_column(column, column, width)
            for line, row in enumerate(rows):
                for column, cell in enumerate(row):
                    if isinstance(cell, str):
                        sheet.write_string(line, column, _CONTROL.sub("", cell))
                    elif isinstance(cell, Decimal):
                        sheet.write_number(line, column, cell, euros)
                    elif isinstance(cell, int):
                        sheet.write_number(line, column, cell)
                    else:
                        sheet.write_datetime(line, column, cell, day)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def without_escape(text: str) -> str:
    """Return the text of a CSV cell without the apostrophe that `csv_of` puts before what looks like a formula."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text, 1) else text


def _escape_formula(cell: Cell) -> str:
    if isinstance(cell, Decimal):
        return f"{cell:.2f}".replace(".", ",")
    if isinstance(cell, date):
        return f"{cell:%d.%m.%Y}"
    if isinstance(cell, int):
        return str(cell)
    return "'" + cell if _FORMULA.match(cell) else cell
