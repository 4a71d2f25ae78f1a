"""Import a file row by row, each in a transaction of its own, and report the rows that break a rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from models.db.session import Database
from models.errors import InvalidField
from tasks.files.uploaded_cells import cell_fault
from tasks.files.uploaded_tables import Row, Table
from workers.accounts.customer_import import REASONS, Finding
from workers.accounts.import_transactions import import_transaction

PROGRESS_EVERY = 100
"""After how many rows the progress is reported."""


@dataclass(slots=True)
class RowSummary:
    """The result of an import in rows: `created`, there before (`unchanged`), and not taken over (`bad`).

    `told` is how many people get a mail.
    """

    created: int = 0
    unchanged: int = 0
    bad: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row has caused: whether something was created (`is_new`), and whether a person is told by mail."""

    is_new: bool
    is_told: bool = False


class RowImport(ABC):
    """An import of a file whose rows do not depend on each other.

    `report` is called with every `Finding`, `progress` now and then with the number of bytes read so far. With `dry`
    every row is rolled back, so that a row that appears twice is not noticed.
    """

    required: Sequence[str]
    optional: Sequence[str]
    reasons: Mapping[str, str]
    """The sentences of the codes of `InvalidField` that `_take` raises."""

    def __init__(
        self,
        database: Database,
        report: Callable[[Finding], None],
        progress: Callable[[int], None],
        *,
        dry: bool = False,
    ) -> None:
        self._database = database
        self._report = report
        self._progress = progress
        self._dry = dry

    @abstractmethod
    def _take(self, session: Session, cells: Mapping[str, str]) -> Outcome:
        """Take over one row, and return what it has caused.

        `cells` are the texts of all columns, empty for those that the file does not have. Raises `InvalidField`, whose
        field is a column, if the row breaks a rule.
        """

    def run(self, file: Table) -> RowSummary:
        """Import every valid row of `file`, report what is wrong with every other row, and return the counts.

        Raises `OperationalError` if the database fails; the rows before stay.
        """
        summary = RowSummary()
        for count, row in enumerate(file.rows, 1):
            findings, outcome = self._row(row)
            for finding in findings:
                self._report(finding)
            if findings:
                summary.bad += 1
            elif outcome.is_new:
                summary.created += 1
            else:
                summary.unchanged += 1
            summary.told += outcome.is_told
            if count % PROGRESS_EVERY == 0:
                self._progress(file.position)
        self._progress(file.position)
        return summary

    def _row(self, row: Row) -> tuple[list[Finding], Outcome]:
        """Take over a row; return what is wrong with it, and what it has caused."""
        outcome = Outcome(is_new=False)
        if row.fault is not None:
            detail = "{} columns, not {}".format(*row.widths) if row.widths[0] else ""
            return [Finding(row.line, "", row.fault, detail)], outcome
        faults = {column: fault for column, cell in row.cells.items() if (fault := cell_fault(cell))}
        if faults:
            return [Finding(row.line, column, fault) for column, fault in faults.items()], outcome
        cells = {column: row.cells.get(column, "").strip() for column in (*self.required, *self.optional)}
        try:
            with import_transaction(self._database, dry=self._dry) as session:
                outcome = self._take(session, cells)
        except InvalidField as error:
            detail = self.reasons.get(error.code) or REASONS[error.code]
            return [Finding(row.line, error.field, error.code, detail)], Outcome(is_new=False)
        return [], outcome
