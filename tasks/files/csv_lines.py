"""Read the lines and records of a CSV file as a stream, in bounded memory even for huge or damaged files."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import TextIO

LONGEST_LINE = 65_536
"""The most characters that are kept of a line. A longer line is cut, and readers of tables report it as too long."""
MOST_LINES = 20
"""The most lines one record may span; a record with more is treated as one with an unclosed quote."""

_DELIMITERS = (";", ",", "\t")


class Lines:
    """Reads a text line by line, and can put lines back that were read too far.

    `number` is the number of the line that `take` returned last, counted from 1; 0 before the first. A line longer than
    `LONGEST_LINE` (65,536) characters is cut to that length.
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

    def fields(self, line: str, delimiter: str) -> list[str] | None:
        """Return the fields of the CSV record that begins with `line`, the line taken last.

        If quoted fields contain line breaks, further lines are taken. If the quotes are broken, None is returned and
        the further lines are put back.
        """
        if '"' not in line:
            return line.rstrip("\r\n").split(delimiter)
        pulled: list[str] = []

        def lines() -> Iterator[str]:
            yield line
            while len(pulled) < MOST_LINES and (more := self.take()) is not None:
                pulled.append(more)
                yield more

        try:
            return next(csv.reader(lines(), delimiter=delimiter, strict=True))
        except csv.Error:
            # The lines after the bad one may be valid records themselves.
            self._put_back(pulled)
            return None

    def _put_back(self, lines: list[str]) -> None:
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)

    def _read(self) -> str:
        line = rest = self._text.readline(LONGEST_LINE)
        while len(rest) == LONGEST_LINE and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(LONGEST_LINE)
        return line


def declared_delimiter(line: str) -> str | None:
    """Return the delimiter that a line like `sep=;` declares, as Excel writes it before the header.

    Return None for any other line.
    """
    found = re.fullmatch(r"sep=(.)\s*", line)
    return found[1] if found else None


def likely_delimiter(line: str, is_heading: Callable[[str], bool]) -> str:
    """Return the delimiter (semicolon, comma or tab) that splits the line into the most known headings.

    `is_heading` returns whether a text is a known heading.
    """

    def known(delimiter: str) -> int:
        return sum(is_heading(name.strip().strip('"')) for name in line.split(delimiter))

    return max(_DELIMITERS, key=known)
