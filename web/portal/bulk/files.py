"""Reading of bulk files: CSV in all usual encodings and delimiters, and XLSX."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import ParseError

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from models.bulk.bulk import MOST_ROWS
from models.states import Kind
from web.portal.bulk.columns import COLUMNS, Cells, column_of

LARGEST = 5_000_000
"""Maximum size of a file in bytes."""
_UNPACKED = 60_000_000
_LONGEST = 1_000
_WIDEST = 60
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff\ud800-\udfff]+")
# Errors that openpyxl raises for a broken workbook; `RuntimeError` for encryption and unknown compression.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, ParseError, InvalidFileException, AttributeError, EOFError, LookupError, OSError,
    OverflowError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
# Spreadsheets store these values as numbers, without their leading zeros.
_ZEROS = {"postal_code": "{:05d}", "area_code": "0{:d}"}


class BadFile(Exception):
    """The file cannot be read. `code` is the reason, `columns` are the missing columns."""

    def __init__(self, code: str, columns: Iterable[str] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.columns = tuple(columns)


def read_rows(content: bytes, kind: Kind) -> list[tuple[int, Cells]]:
    """Return the rows of the file with their line numbers, without empty rows. Raises `BadFile`."""
    if not content.strip():
        raise BadFile("empty")
    if len(content) > LARGEST:
        raise BadFile("too_large")
    lines = _of_workbook(content) if content.startswith(b"PK\x03\x04") else _of_text(content, kind)
    columns: list[str | None] = []
    found: list[tuple[int, Cells]] = []
    for line, values in lines:
        if not any(_cell_text(value, "") for value in values):
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


def _of_text(content: bytes, kind: Kind) -> Iterator[tuple[int, list[Any]]]:
    text = _decoded(content)
    if "\x00" in text:
        raise BadFile("no_table")
    first = text.lstrip("\r\n").partition("\n")[0]
    named = re.match(r"sep=(.)\s*$", first)
    if named:
        text = text.lstrip("\r\n").partition("\n")[2]
        first = text.partition("\n")[0]

    def known(delimiter: str) -> int:
        return sum(column_of(kind, name.strip('"')) is not None for name in first.strip().split(delimiter))

    delimiter = named[1] if named else max(";,\t", key=known)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for values in reader:
            yield reader.line_num + bool(named), values[:_WIDEST]
    except csv.Error as error:
        raise BadFile("no_table") from error


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # The encoding of German Excel.
        return content.decode("cp1252", errors="replace")


def _of_workbook(content: bytes) -> Iterator[tuple[int, list[Any]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(part.file_size for part in packed.infolist()) > _UNPACKED:
                raise BadFile("too_large")
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except _BROKEN as error:
        raise BadFile("no_table") from error
    try:
        for line, values in enumerate(book.worksheets[0].iter_rows(values_only=True, max_col=_WIDEST), 1):
            yield line, list(values)
    except _BROKEN as error:
        raise BadFile("no_table") from error
    finally:
        book.close()


def _cell_text(value: Any, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and column in _ZEROS:
        return _ZEROS[column].format(value)
    text = f"{value:%d.%m.%Y}" if isinstance(value, datetime) else str(value)
    # The portal's exports put an apostrophe before values that a spreadsheet would read as a formula.
    return re.sub(r"^'(?=[=+\-@])", "", _UNPRINTABLE.sub(" ", text).strip())[:_LONGEST]
