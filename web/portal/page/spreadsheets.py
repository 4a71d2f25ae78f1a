"""Export of rows as CSV (in the format of German Excel) and XLSX, without keeping all rows in memory."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import IO

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.cell.cell import Cell as PlainCell
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from models.values import BERLIN

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Cell = str | date
EXPORT_PAGE = 1000

_ROWS = 500
_KEPT_IN_MEMORY = 1_000_000
# The characters that start a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def berlin_day(at: datetime) -> date:
    """Return the date in Germany at that moment."""
    return at.astimezone(BERLIN).date()


def csv_of(rows: Iterable[list[Cell]]) -> Iterator[bytes]:
    """Yield the rows as CSV: UTF-8 with byte order mark, separated by semicolons, no cell starting a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=";")
    buffer.write("\ufeff")
    for place, row in enumerate(rows, 1):
        writer.writerow([_escape_formula(cell) for cell in row])
        if place % _ROWS == 0:
            yield _drain(buffer)
    yield _drain(buffer)


def xlsx_of(rows: Iterable[list[Cell]], title: str) -> IO[bytes]:
    """Write the rows to a workbook with one sheet and a frozen first row. Text is never read as a formula."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    for letter, width in zip("ABCDEFGHIJK", (16, 14, 32, 24, 28, 12, 22, 22, 26, 16, 14), strict=True):
        sheet.column_dimensions[letter].width = width
    try:
        for row in rows:
            sheet.append([_xlsx_cell(sheet, cell) for cell in row])
    except BaseException:
        # The sheet keeps a temporary file open.
        sheet.close()
        raise
    file = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    book.save(file)
    file.seek(0)
    return file


def _drain(buffer: io.StringIO) -> bytes:
    content = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return content


def _escape_formula(cell: Cell) -> str:
    if isinstance(cell, date):
        return f"{cell:%d.%m.%Y}"
    return "'" + cell if cell.startswith(_FORMULA) else cell


def _xlsx_cell(sheet: WriteOnlyWorksheet, cell: Cell) -> PlainCell:
    typed: PlainCell
    if isinstance(cell, str):
        typed = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", cell))
        typed.data_type = "s"
    else:
        typed = WriteOnlyCell(sheet, datetime.combine(cell, time()))
        typed.number_format = "DD.MM.YYYY"
    return typed
