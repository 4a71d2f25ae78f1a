"""A program that reads the sheets of the workbook on its standard input and prints their rows as JSON.

It runs as a separate process, whose memory and time the kernel limits, because uploads are untrusted: a few kilobytes
can unpack to any size, or name a cell so far away that reading needs more memory than there is.

Prints a list of sheets, each with these keys:

- `index` (from 0), `name` and `hidden`
- `whole`: whether all rows were read, up to the limit
- `rows`: `[[line, [value, ...]], ...]` without blank rows, lines from 1
- `hidden_lines`: the lines of those rows that are hidden, for example by a filter
- `far`: the line of the first row below row `LAST_LINE` (50,000) that has content, 0 if there is none

Exits with status 1 if the file is no workbook, and with status `TOO_MUCH` (3) or by a signal if a limit is reached.
"""

from __future__ import annotations

import io
import json
import re
import resource
import sys
import zipfile
from datetime import date
from typing import Any

from python_calamine import CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

TOO_MUCH = 3
LAST_LINE = 50_000
UNPACKED = 60_000_000
"""Maximum size in bytes of all unpacked parts of the workbook together."""
FIRST_ROWS = 30
"""How many rows of a sheet are printed to look for headings, if there are several sheets."""

_MEMORY = 512 * 2**20
_SECONDS = 5
_MOST_TEXT = 12_000_000
_MOST_SHEETS = 50
# More than a cell keeps: `cell_text` cuts it between two characters as a reader sees them.
_LONGEST_CELL = 1_100
_FAR_ROWS = 1_000
_LAST_COLUMN = rb"\1CZ"
_MARK, _MARKED_COLUMN = "hidden", 104
_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
_ATTRIBUTE = rb"""<(?:\w+:)?%s\b[^>]*?\b%s=["']"""
_FAR_ROW = re.compile(rb"(" + _ATTRIBUTE % (b"(?:row|c)", b"r") + rb"[A-Z]*)(\d{5,10})(?!\d)")
_FAR_COLUMN = re.compile(rb"(" + _ATTRIBUTE % (b"c", b"r") + rb")(?:[D-Z][A-Z]|[A-Z]{3,})(?=\d)")
_HIDDEN_ROW = re.compile(
    rb"""<((?:\w+:)?)row\b(?=[^>]*\bhidden=["'](?:1|true)["'])[^>]*?\br=["'](\d+)["'][^>]*(?<!/)>"""
)
_ERROR_VALUE = re.compile(rb"(" + _ATTRIBUTE % (b"c", b"t") + rb""")e(?=["'])""")


def main() -> None:
    """Read a workbook from standard input and print its sheets as JSON, with limited memory and time.

    The command line arguments are the maximum numbers of rows and of columns, and optionally the index (from 0) of the
    only sheet to print. Without an index all sheets are printed: whole if it is the only visible one, otherwise its
    first 30 rows (`FIRST_ROWS`). Exits with status `TOO_MUCH` (3) if the memory does not suffice.
    """
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most_rows, most_columns, *only = map(int, sys.argv[1:])
    try:
        found = _read(sys.stdin.buffer.read(), most_rows, most_columns, only[0] if only else None)
        # Escapes would make six bytes of each character that is not ASCII.
        sys.stdout.buffer.write(json.dumps(found, ensure_ascii=False).encode())
    except MemoryError:
        sys.exit(TOO_MUCH)


def _read(content: bytes, most_rows: int, most_columns: int, only: int | None) -> list[dict[str, Any]]:
    content, moved = _drawn_together(content)
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    listed = [
        (index, sheet) for index, sheet in enumerate(book.sheets_metadata) if sheet.typ is SheetTypeEnum.WorkSheet
    ]
    visible = [index for index, sheet in listed if sheet.visible is SheetVisibleEnum.Visible]
    found = []
    room = _MOST_TEXT
    for index, sheet in listed[:_MOST_SHEETS]:
        if only not in (None, index):
            continue
        is_whole = only == index or visible == [index]
        page = book.get_sheet_by_name(sheet.name)
        rows, hidden, far = _rows(page, most_rows if is_whole else FIRST_ROWS, most_columns)
        room -= sum(_size(cells) for _line, cells in rows)
        if room < 0:
            sys.exit(TOO_MUCH)
        found.append({
            "index": index, "name": sheet.name, "hidden": index not in visible, "whole": is_whole, "rows": rows,
            "hidden_lines": hidden, "far": moved.get(far, far),
        })  # fmt: skip
    return found


def _rows(
    sheet: CalamineSheet, most_rows: int, most_columns: int
) -> tuple[list[tuple[int, list[Any]]], list[int], int]:
    """Return a sheet's rows that are not blank, the line numbers of hidden rows among them, and the line of a far row.

    Each row is a pair of line number (from 1) and values; there are at most `most_rows`, with at most `most_columns`
    values each. The far row is the first one below `LAST_LINE` (50,000) with content, at which reading ends; its line
    is 0 if there is none. The value of cells that are merged downwards is repeated in each of their rows. Ends the
    program with status 3 (`TOO_MUCH`) if the text is too long.
    """
    rows: list[tuple[int, list[Any]]] = []
    hidden: list[int] = []
    room = _MOST_TEXT
    merged = sorted(
        (top, bottom, left) for (top, left), (bottom, _right) in sheet.merged_cell_ranges or [] if bottom > top
    )
    covering: list[tuple[int, int, Any]] = []
    for line, values in enumerate(sheet.iter_rows(), 1):
        cells = [_plain(value) for value in values[:most_columns]]
        while merged and merged[0][0] < line:
            top, bottom, left = merged.pop(0)
            if top == line - 1 and left < len(cells):
                covering.append((bottom, left, cells[left]))
        if not any(not isinstance(cell, str) or cell.strip() for cell in cells):
            continue
        if line > LAST_LINE:
            return rows, hidden, line
        covering = [area for area in covering if area[0] >= line - 1]
        for _bottom, left, value in covering:
            cells[left] = cells[left] if cells[left] != "" else value
        room -= _size(cells)
        if room < 0:
            sys.exit(TOO_MUCH)
        rows.append((line, cells))
        if values[_MARKED_COLUMN:] == [_MARK]:
            hidden.append(line)
        if len(rows) == most_rows:
            break
    return rows, hidden, 0


def _drawn_together(content: bytes) -> tuple[bytes, dict[int, int]]:
    """Return the workbook with far cells moved closer, and a map of the moved rows' new to their original numbers.

    The library that reads workbooks keeps every cell between the first and the last in memory, used or not. Therefore
    rows far below are moved to just below `LAST_LINE` (50,000), and all columns far right, which are not read, into one
    column. An error value such as #N/A becomes text, because the library drops it, and hidden rows get a mark in a
    column of their own. A workbook with unusual XML stays unchanged and may run into a limit. Exits with status
    `TOO_MUCH` (3) if the parts of the workbook unpack to more than `UNPACKED` (60 million) bytes.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        if sum(part.file_size for part in book.infolist()) > UNPACKED:
            sys.exit(TOO_MUCH)
        parts = {name: book.read(name) for name in book.namelist()}
    sheets = [name for name in parts if _SHEET.fullmatch(name)]
    numbers = {int(number) for name in sheets for _before, number in _FAR_ROW.findall(parts[name])}
    far = sorted(number for number in numbers if number > LAST_LINE)[:_FAR_ROWS]
    near = {number: LAST_LINE + place for place, number in enumerate(far, 1)}

    def moved(found: re.Match[bytes]) -> bytes:
        return b"%s%d" % (found[1], near.get(int(found[2]), int(found[2])))

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        for name, part in parts.items():
            if name in sheets:
                part = _ERROR_VALUE.sub(rb"\1str", _FAR_COLUMN.sub(_LAST_COLUMN, _FAR_ROW.sub(moved, part)))
                part = _HIDDEN_ROW.sub(rb'\g<0><\1c r="DA\2" t="str"><\1v>hidden</\1v></\1c>', part)
            book.writestr(name, part)
    return out.getvalue(), {place: number for number, place in near.items()}


def _size(cells: list[Any]) -> int:
    return sum(len(cell.encode(errors="replace")) for cell in cells if isinstance(cell, str))


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    return (f"{value:%d.%m.%Y}" if isinstance(value, date) else str(value))[:_LONGEST_CELL]


if __name__ == "__main__":
    main()
