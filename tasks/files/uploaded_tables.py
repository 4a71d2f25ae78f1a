"""Read uploaded tables, CSV or XLSX, row by row. The table's headings may stand anywhere among the first rows.

A title above the headings, blank rows, additional columns and repeated headings do no harm. In a workbook, the first
visible sheet with all required headings and with rows is read. Encoding and delimiter of a CSV file are recognised, and
the file is streamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from tasks.files.csv_lines import LONGEST_LINE, Lines, declared_delimiter, likely_delimiter
from tasks.files.text_encoding import Encoding, encoding_of, open_text
from tasks.files.uploaded_cells import cell_text
from tasks.files.workbook_program import FIRST_ROWS
from tasks.files.workbooks import WIDEST, Sheet, UnusableWorkbook, sheets_of

_ARCHIVE = b"PK\x03\x04"
_BLANK = ' ;,"' + "".join(map(chr, range(32)))
"""The characters that a line of CSV without any text consists of: separators, quotation marks, blanks and controls."""


class UnusableTable(Exception):
    """Raised when no table can be read from a file. `code` is the reason:

    - `empty`: there is nothing but blank rows.
    - `no_table`: the file is neither text nor a readable workbook with sheets.
    - `no_columns`: required columns are missing; `columns` are their keys.
    - `columns_twice`: two headings name the same column.
    - `hidden_sheet`: only a hidden sheet has the headings.
    - `line_too_long`: a line above the headings is too long.
    - `far_row`: a row far below the table has content.
    - `too_much`: a workbook is too large.

    `line` is the number of the line with the problem, counted from 1; 0 if the problem is in no single line. `sheet` is
    the name of its sheet, empty if there is none.
    """

    def __init__(self, code: str, columns: Sequence[str] = (), line: int = 0, sheet: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.columns = tuple(columns)
        self.line = line
        self.sheet = sheet


@dataclass(frozen=True, slots=True)
class Headings:
    """Recognises the columns of a kind of table by their headings.

    `key_of` returns the key of the column that a heading's text names, None if it names none; `required` are the keys
    of the columns that a table must have.
    """

    key_of: Callable[[str], str | None]
    required: Sequence[str]

    def keys(self, values: Sequence[Any]) -> list[str | None]:
        """Return for each cell of a row the key of the column that the cell names as a heading; None if it names none.

        `values` are the cells in order, of any type. A key appears twice if two cells name the same column.
        """
        return [self.key_of(cell_text(value)) for value in values]

    def are(self, values: Sequence[str], keys: Sequence[str | None]) -> bool:
        """Return whether a row repeats the headings: the cell of each required column is a heading of that column.

        `values` are the cells of the row, `keys` the columns' keys in the same order.
        """
        cells = dict(zip(keys, values, strict=False))
        return all(self.key_of(cells.get(key, "")) == key for key in self.required)

    def missing(self, keys: Sequence[str | None]) -> list[str]:
        """Return the keys of the required columns that are not among `keys`."""
        return [key for key in self.required if key not in keys]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table was found in a file: `line` of its headings, counted from 1, and name of the sheet (None for CSV).

    `others` are the names of further visible sheets with such a table, which are not read. `hidden_rows` is the number
    of rows that are hidden in the sheet, for example by a filter; they are read all the same. `encoding` and
    `delimiter` are those of a CSV file, empty for a workbook.
    """

    line: int
    sheet: str | None = None
    others: tuple[str, ...] = ()
    hidden_rows: int = 0
    encoding: str = ""
    delimiter: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an uploaded table: `line` is its first line in the file, from 1, `cells` its texts by column key.

    `fault` is the code of what is wrong with the row as a whole: `too_few_columns`, `too_many_columns`, `line_too_long`
    or `broken_quotes`. It is None if nothing is wrong. With the last two codes `cells` is empty. `widths` are the
    number of cells in the row and in the headings; (0, 0) if unknown.
    """

    line: int
    cells: Mapping[str, str]
    fault: str | None = None
    widths: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Table:
    """An open table of an uploaded file, whose headings have been found.

    `place` says where the headings are. `rows` yields every row below them, in file order, without blank rows and
    repeated headings.
    """

    place: Place
    rows: Iterator[Row]
    file: BinaryIO

    @property
    def position(self) -> int:
        """Return how many bytes of the file have been read, for a progress bar.

        These may be one read buffer more than the rows yielded so far.
        """
        return self.file.tell()


@contextmanager
def open_table(file: BinaryIO, headings: Headings, most_rows: int) -> Iterator[Table]:
    """Find the table in an uploaded file, yield it, and close the file at the end of the block.

    `headings` says by which headings the columns are recognised. A file that begins like a ZIP archive is read as a
    workbook, of which at most `most_rows` rows are read; any other file as CSV, whose rows are read when they are asked
    for. Raises `UnusableTable` if there is no table with the required columns, or the file is too large or broken.
    """
    file.seek(0)
    if file.read(len(_ARCHIVE)) == _ARCHIVE:
        with file:
            yield _table_of_workbook(file, headings, most_rows)
    else:
        encoding = encoding_of(file)
        with open_text(file, encoding) as text:
            yield _table_of_text(file, Lines(text), encoding, headings)


def _table_of_text(file: BinaryIO, lines: Lines, encoding: Encoding, headings: Headings) -> Table:
    number, delimiter, values = _headings_of_text(lines, encoding, headings)
    keys = headings.keys(values)
    if _is_twice(keys):
        raise UnusableTable("columns_twice", line=number)
    place = Place(number, encoding=encoding.name, delimiter=delimiter)
    return Table(place, _rows_of_text(lines, encoding, headings, delimiter, keys), file)


def _headings_of_text(lines: Lines, encoding: Encoding, headings: Headings) -> tuple[int, str, list[str]]:
    """Find the headings of a CSV file; return the number of their line (from 1), the delimiter, and their texts.

    The headings are the first row with all required columns, among the first 30 rows (`FIRST_ROWS`) that are not blank.
    Raises `UnusableTable` if there is no such row (`no_columns`, `empty`, or `no_table` for a binary file), or a line
    above is too long.
    """
    declared: str | None = None
    nearest: tuple[int, int, list[str]] | None = None
    looked_at, is_binary = 0, False
    while looked_at < FIRST_ROWS and (line := lines.take()) is not None:
        number = lines.number
        if len(line) >= LONGEST_LINE:
            raise UnusableTable("line_too_long", line=number)
        line = encoding.trusted(line)
        is_binary = is_binary or "\0" in line
        if not cell_text(line.strip(_BLANK)):
            continue
        if not looked_at and declared is None and (declared := declared_delimiter(line)) is not None:
            continue
        looked_at += 1
        delimiter = declared or likely_delimiter(line, lambda name: headings.key_of(cell_text(name)) is not None)
        values = lines.fields(line, delimiter) or []
        missing = headings.missing(headings.keys(values))
        if not missing:
            return number, delimiter, values
        if nearest is None or len(missing) < nearest[0]:
            nearest = len(missing), number, missing
    if is_binary:
        raise UnusableTable("no_table")
    if nearest is None:
        raise UnusableTable("empty")
    raise UnusableTable("no_columns", nearest[2], nearest[1])


def _rows_of_text(
    lines: Lines, encoding: Encoding, headings: Headings, delimiter: str, keys: Sequence[str | None]
) -> Iterator[Row]:
    width = max(place for place, key in enumerate(keys, 1) if key is not None)
    while (line := lines.take()) is not None:
        number = lines.number
        if len(line) >= LONGEST_LINE:
            yield Row(number, {}, "line_too_long")
            continue
        if not line.strip(_BLANK):
            continue
        fields = lines.fields(line, delimiter)
        if fields is None:
            yield Row(number, {}, "broken_quotes")
            continue
        values = [cell_text(encoding.trusted(field)) for field in fields[:WIDEST]]
        if not any(values) or headings.are(values, keys):
            continue
        few, many = len(fields) < width, any(field.strip() for field in fields[len(keys) :])
        fault = "too_few_columns" if few else "too_many_columns" if many else None
        yield Row(number, _cells(keys, values), fault, (len(fields), len(keys)))


def _table_of_workbook(file: BinaryIO, headings: Headings, most_rows: int) -> Table:
    file.seek(0)
    content = file.read()
    try:
        sheets = sheets_of(content, most_rows + FIRST_ROWS)
        found = _heading_rows(sheets, headings)
        visible = [sheet for sheet in sheets if sheet.index in found and not sheet.hidden]
        if not visible:
            raise _why_no_headings(sheets, found, headings)
        filled = [sheet for sheet in visible if sheet.rows[-1][0] > found[sheet.index][0]]
        chosen = (filled or visible)[0]
        others = tuple(sheet.name for sheet in filled if sheet is not chosen)
        if not chosen.whole:
            [chosen] = sheets_of(content, most_rows + FIRST_ROWS, chosen.index)
    except UnusableWorkbook as error:
        raise UnusableTable(error.code) from error
    if chosen.far:
        raise UnusableTable("far_row", line=chosen.far, sheet=chosen.name)
    line, keys = found[chosen.index]
    if _is_twice(keys):
        raise UnusableTable("columns_twice", line=line, sheet=chosen.name)
    below = ((number, [cell_text(value) for value in values]) for number, values in chosen.rows if number > line)
    rows = (
        Row(number, _cells(keys, values)) for number, values in below if any(values) and not headings.are(values, keys)
    )
    hidden_rows = sum(number > line for number in chosen.hidden_lines)
    return Table(Place(line, chosen.name, others, hidden_rows), rows, file)


def _heading_rows(sheets: Sequence[Sheet], headings: Headings) -> dict[int, tuple[int, list[str | None]]]:
    """Return, by sheet index (from 0), the number of the headings' line and the column keys of its cells.

    A sheet is left out if none of its first 30 rows (`FIRST_ROWS`) has all required columns.
    """
    found: dict[int, tuple[int, list[str | None]]] = {}
    for sheet in sheets:
        for line, values in sheet.rows[:FIRST_ROWS]:
            keys = headings.keys(values)
            if not headings.missing(keys):
                found[sheet.index] = line, keys
                break
    return found


def _why_no_headings(
    sheets: Sequence[Sheet], found: Mapping[int, tuple[int, list[str | None]]], headings: Headings
) -> UnusableTable:
    for sheet in sheets:
        if sheet.index in found:
            return UnusableTable("hidden_sheet", line=found[sheet.index][0], sheet=sheet.name)
        if sheet.far and not sheet.hidden:
            return UnusableTable("far_row", line=sheet.far, sheet=sheet.name)
    tried = [
        (headings.missing(headings.keys(values)), line, sheet.name)
        for sheet in sheets
        if not sheet.hidden
        for line, values in sheet.rows[:FIRST_ROWS]
        if any(map(cell_text, values))
    ]
    if not tried:
        return UnusableTable("empty" if sheets else "no_table")
    missing, line, name = min(tried, key=lambda one: len(one[0]))
    return UnusableTable("no_columns", missing, line, name)


def _is_twice(keys: Sequence[str | None]) -> bool:
    known = [key for key in keys if key is not None]
    return len(known) != len(set(known))


def _cells(keys: Sequence[str | None], values: Sequence[str]) -> dict[str, str]:
    return {key: value for key, value in zip(keys, values, strict=False) if key is not None}
