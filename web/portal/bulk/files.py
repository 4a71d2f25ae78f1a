"""Reading of bulk files (one order or link request per row): CSV in all usual encodings and delimiters, and XLSX."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import structlog

from models.bulk.bulk import MOST_ROWS
from models.states import Kind
from tasks.files.csv_text import LONGEST_LINE, declared_delimiter, likely_delimiter, open_text
from web.portal.bulk import workbook_program
from web.portal.bulk.columns import COLUMNS, UNREADABLE, Cells, column_of
from web.portal.bulk.workbook_program import TOO_MUCH

log = structlog.get_logger()

LARGEST = 5_000_000
"""Maximum size of a file in bytes."""
_LONGEST = 1_000
_WIDEST = 60
_PATIENCE = 30
"""Timeout in seconds of the program that reads workbooks; generous, for busy machines."""
_UNDECODED = re.compile("[\udc80-\udcff]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff\ud800-\udfff]+")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f\ufffe\uffff]*")
# Spreadsheets store these values as numbers, without their leading zeros.
_ZEROS = {"postal_code": "{:05d}", "area_code": "0{:d}"}


class BadFile(Exception):
    """Raised when a bulk file cannot be read.

    `code` is the reason, for example "too_large" or "no_columns". `columns` are the keys of the missing columns if that
    is the reason, else empty. `line` is the number of the line with the error, 0 if no line is named.
    """

    def __init__(self, code: str, columns: Iterable[str] = (), line: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.columns = tuple(columns)
        self.line = line


def read_rows(content: bytes, kind: Kind) -> list[tuple[int, Cells]]:
    """Return the rows of a bulk file: its line number and its cells by column key, without the headings and empty rows.

    A file that starts like a ZIP archive is read as XLSX, every other as CSV. Raises `BadFile` if the file is empty,
    larger than `LARGEST`, or no table; if it has more than `MOST_ROWS` rows or too long a line; if a required column is
    missing or a column is there twice; or if the workbook unpacks to too much or has content far below the table.
    """
    if not content.strip():
        raise BadFile("empty")
    if len(content) > LARGEST:
        raise BadFile("too_large")
    lines = _of_workbook(content) if content.startswith(b"PK\x03\x04") else _of_text(content, kind)
    columns: list[str | None] = []
    found: list[tuple[int, Cells]] = []
    for line, values in lines:
        if _BLANK.fullmatch("".join(map(str, values))):
            continue
        if not columns:
            columns = _columns(values, kind)
            continue
        cells = {column.key: "" for column in COLUMNS[kind]}
        cells |= {key: _cell_text(value, key) for key, value in zip(columns, values, strict=False) if key is not None}
        found.append((line, cells))
        if len(found) > MOST_ROWS:
            raise BadFile("too_many_rows")
    if not found:
        raise BadFile("empty")
    return found


def _columns(values: list[Any], kind: Kind) -> list[str | None]:
    found = [column_of(kind, _cell_text(value, "")) for value in values]
    missing = [column.key for column in COLUMNS[kind] if not column.optional and column.key not in found]
    if missing:
        raise BadFile("no_columns", missing)
    if any(found.count(key) > 1 for key in found if key is not None):
        raise BadFile("columns_twice")
    return found


def _of_text(content: bytes, kind: Kind) -> Iterator[tuple[int, list[str]]]:
    with open_text(io.BytesIO(content)) as file:
        text = file.read()
    if "\x00" in text:
        raise BadFile("no_table")
    lines = _lines(text)
    skipped, header = next(((number, line) for number, line in enumerate(lines) if line.strip("\r\n")), (0, ""))
    delimiter = declared_delimiter(header)
    if delimiter is not None:
        skipped, header = skipped + 1, next(lines, "")
    else:
        delimiter = likely_delimiter(header, lambda name: column_of(kind, name) is not None)
    reader = csv.reader(chain([header], lines), delimiter=delimiter)
    try:
        for values in reader:
            if values:
                yield skipped + reader.line_num, values[:_WIDEST]
    except csv.Error as error:
        raise BadFile("no_table") from error


def _lines(text: str) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > LONGEST_LINE:
            raise BadFile("line_too_long", line=number)
        yield line


def _of_workbook(content: bytes) -> list[tuple[int, list[Any]]]:
    program = [sys.executable, "-I", workbook_program.__file__, str(MOST_ROWS + 2), str(_WIDEST)]
    try:
        ended = subprocess.run(program, input=content, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise BadFile("too_much") from error
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2].partition(":")[0]
        log.info("bulk.workbook_refused", status=ended.returncode, said=said[:100])
        raise BadFile("too_much" if ended.returncode < 0 or ended.returncode == TOO_MUCH else "no_table")
    found = json.loads(ended.stdout)
    if "far" in found:
        raise BadFile("far_row", line=found["far"])
    rows: list[tuple[int, list[Any]]] = found["rows"]
    return rows


def _cell_text(value: Any, column: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and column in _ZEROS:
        return _ZEROS[column].format(value)
    text = _UNPRINTABLE.sub(" ", _UNDECODED.sub(UNREADABLE, str(value))).strip()
    # The portal's exports put an apostrophe before values that a spreadsheet would read as a formula.
    return re.sub(r"^'(?=[=+\-@])", "", text)[:_LONGEST]
