"""Makes the workbooks (XLSX) that tests upload, and reads those that they download."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

from python_calamine import CalamineWorkbook
from xlsxwriter import Workbook

SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def as_xlsx(rows: Sequence[Sequence[object]]) -> bytes:
    """Return an XLSX workbook with these rows on its first sheet.

    Cells are texts, numbers or dates; None is a cell without a value.
    """
    out = io.BytesIO()
    with Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        for line, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, str):
                    sheet.write_string(line, column, value)
                elif isinstance(value, int | float):
                    sheet.write_number(line, column, value)
                elif value is not None:
                    sheet.write_datetime(line, column, value, day)
    return out.getvalue()


def read_xlsx(content: bytes) -> list[list[object]]:
    """Return the rows of the first sheet of an XLSX workbook, each as a list of its cells' values."""
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
    return [list(row) for row in sheet.iter_rows()]


def with_parts(book: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """Return a copy of the XLSX workbook `book`, with files of its ZIP archive replaced or added.

    `changes` are the new contents by file name; None leaves a file out.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name, part in ({name: old.read(name) for name in old.namelist()} | dict(changes)).items():
            if part is not None:
                new.writestr(name, part)
    return out.getvalue()


def with_sheet(data: str, strings: str = "", dimension: str = "") -> bytes:
    """Return an XLSX workbook whose first sheet has the rows `data` and the declared range `dimension`.

    `data` and the shared texts `strings` are XML elements; `dimension` is a range such as "A1:C5" (empty: none is
    declared).
    """
    declared = f'<dimension ref="{dimension}"/>' if dimension else ""
    parts = {
        SHEET: f'<worksheet xmlns="{NAMESPACE}">{declared}<sheetData>{data}</sheetData></worksheet>'.encode(),
        STRINGS: f'<sst xmlns="{NAMESPACE}">{strings}</sst>'.encode(),
    }
    return with_parts(as_xlsx([["x"]]), parts)
