"""Read a CSV file of customers: detect encoding and delimiter, handle quotes, report what is wrong.

The file is streamed: memory use depends neither on the size of the file nor on how broken it is.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from models.accounts.customer_import import HOLDER, OPTIONAL, REQUIRED
from tasks.files.csv_text import LONGEST_LINE, column_names, declared_delimiter, likely_delimiter, open_text

MOST_LINES = 20
"""The most lines one record may span; a record with more is treated as one with an unclosed quote."""


class UnusableFile(Exception):
    """Raised when no record can be read from the file; the message says why, and what the file should look like."""


@dataclass(frozen=True, slots=True)
class Record:
    """One data row: the number of its first line in the file, and its values by lower-case column name."""

    line: int
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A row that cannot be split into its columns.

    `line` is the number of the row's first line, `reason` a key of `customer_import.REASONS`, `detail` a sentence that
    is more specific than that reason, or empty.
    """

    line: int
    reason: str
    detail: str = ""


class CustomerFile:
    """An open customer file whose header has been read.

    `encoding` and `delimiter` were detected from the file, `columns` are the header's names in lower case. Creating
    the object raises `UnusableFile` if the file is empty, or its header lacks a required column or repeats a known one.
    """

    def __init__(self, file: BinaryIO, text: TextIO, encoding: str) -> None:
        self._file = file
        self.encoding = encoding
        self._lines = _Lines(text)
        self.delimiter, self.columns = self._header()

    @property
    def position(self) -> int:
        """Return how many bytes of the file have been read so far; up to one read buffer more than the rows yielded."""
        return self._file.tell()

    def records(self) -> Iterator[Record | BadRecord]:
        """Yield every data row in file order; a malformed row as a `BadRecord`. Empty rows are left out."""
        while (line := self._lines.take()) is not None:
            number = self._lines.number
            if len(line) >= LONGEST_LINE:
                yield BadRecord(number, "line_too_long")
                continue
            fields = self._split(line)
            if fields is None:
                yield BadRecord(number, "broken_quotes")
            elif any(fields):
                yield self._record(number, fields)

    def _record(self, line: int, fields: list[str]) -> Record | BadRecord:
        expected = len(self.columns)
        detail = f"{len(fields)} columns, not {expected}"
        if len(fields) < expected:
            return BadRecord(line, "too_few_columns", detail)
        if any(fields[expected:]):
            return BadRecord(line, "too_many_columns", detail)
        return Record(line, dict(zip(self.columns, fields, strict=False)))

    def _split(self, line: str) -> list[str] | None:
        """Return the fields of the record that begins with `line`; None if the record's quotes are broken.

        Reads the record's further lines from the file, and puts them back if the quotes are broken.
        """
        if '"' not in line:
            return line.rstrip("\r\n").split(self.delimiter)
        pulled: list[str] = []

        def lines() -> Iterator[str]:
            yield line
            while len(pulled) < MOST_LINES and (more := self._lines.take()) is not None:
                pulled.append(more)
                yield more

        try:
            return next(csv.reader(lines(), delimiter=self.delimiter, strict=True))
        except csv.Error:
            # The lines after the bad one may be valid records themselves.
            self._lines.put_back(pulled)
            return None

    def _header(self) -> tuple[str, list[str]]:
        line = self._lines.take()
        declared = declared_delimiter(line) if line is not None else None
        if declared is not None:
            line = self._lines.take()
        while line is not None and not line.strip():
            line = self._lines.take()
        if line is None:
            raise UnusableFile("the file is empty")
        known = {*REQUIRED, *OPTIONAL, *HOLDER}
        delimiter = declared or likely_delimiter(line, lambda name: name.lower() in known)
        found = [name.lower() for name in column_names(line, delimiter)]
        missing = [column for column in REQUIRED if column not in found]
        if missing:
            raise UnusableFile(
                f"the header has no {', '.join(missing)}; it needs {delimiter.join(REQUIRED)}"
                f" and may have {' and '.join(OPTIONAL)}"
            )
        twice = sorted({column for column in known if found.count(column) > 1})
        if twice:
            raise UnusableFile(f"the header has {', '.join(twice)} more than once")
        return delimiter, found


@contextmanager
def open_customers(path: Path) -> Iterator[CustomerFile]:
    """Open a customer file for the length of the block.

    Raises `UnusableFile` if the file is UTF-16 or empty, or its header lacks a required column or repeats a known one;
    `OSError` if the file cannot be read.
    """
    with path.open("rb") as file, open_text(file) as text:
        if text.encoding.startswith("utf_16"):
            raise UnusableFile("the file is UTF-16; save it as UTF-8")
        yield CustomerFile(file, text, text.encoding)


class _Lines:
    """A reader of single lines that can put lines back; an overlong line is cut to its first `LONGEST_LINE` characters.

    `number` is the number of the line that `take` returned last, counted from 1; 0 before the first.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self.number = 0

    def take(self) -> str | None:
        """Return the next line with its line break; None after the last line."""
        line = self._again.popleft() if self._again else self._read()
        if not line:
            return None
        self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        """Put back the lines taken last, given in file order, so that `take` returns them next."""
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)

    def _read(self) -> str:
        line = rest = self._text.readline(LONGEST_LINE)
        while len(rest) == LONGEST_LINE and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(LONGEST_LINE)
        return line
