"""Read uploaded workbooks (XLSX) in a separate process, which runs `workbook_program` with limited memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import structlog

from tasks.files import workbook_program
from tasks.files.workbook_program import TOO_MUCH

log = structlog.get_logger()

WIDEST = 60
"""The most columns of a table that are read."""
_PATIENCE = 30
"""Timeout in seconds of the program that reads workbooks; generous, for busy machines."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A worksheet of a workbook. `rows` are its rows that are not blank, as pairs of line number (from 1) and values.

    `index` counts the workbook's sheets from 0. If the sheet is not `whole`, `rows` are only the first 30.
    `hidden_lines` are the line numbers of hidden rows, for example by a filter. `far` is the number of a row far below
    the table that has content, 0 if there is none.
    """

    index: int
    name: str
    hidden: bool
    whole: bool
    rows: list[tuple[int, list[Any]]]
    hidden_lines: list[int]
    far: int


class UnusableWorkbook(Exception):
    """Raised when a workbook cannot be read.

    `code` is `too_much` if a limit of size, memory or time was reached, otherwise `no_table`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def sheets_of(content: bytes, most_rows: int, only: int | None = None) -> list[Sheet]:
    """Return the worksheets of a workbook in order, or only the one with the index `only`, counted from 0.

    The only visible sheet, or the sheet `only`, is read up to `most_rows` rows; of other sheets only the first 30 rows
    are read, to look for headings. Raises `UnusableWorkbook` if the content is no workbook or reaches a limit of size
    or time.
    """
    program = [sys.executable, "-I", workbook_program.__file__, str(most_rows), str(WIDEST)]
    if only is not None:
        program.append(str(only))
    try:
        ended = subprocess.run(program, input=content, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise UnusableWorkbook("too_much") from error
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2].partition(":")[0]
        log.info("workbook.refused", status=ended.returncode, said=said[:100])
        raise UnusableWorkbook("too_much" if ended.returncode < 0 or ended.returncode == TOO_MUCH else "no_table")
    return [Sheet(**found) for found in json.loads(ended.stdout)]
