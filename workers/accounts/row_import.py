"""Import a file row by row, with a transaction for each row, and report the rows that break a rule."""

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
"""The number of rows after which the progress is reported again."""


@dataclass(slots=True)
class RowSummary:
    """The result of an import, counted in rows.

    `created` rows created something, `unchanged` rows were in the database already, `bad` rows were not imported.
    `told` is the number of people who get a mail.
    """

    created: int = 0
    unchanged: int = 0
    bad: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The effect of one imported row: whether it created something (`is_new`), and whether a person gets a mail."""

    is_new: bool
    is_told: bool = False


class RowImport(ABC):
    """An import of a file whose rows do not depend on each other; a subclass says how one row is imported.

    `report` is called with every `Finding`, a problem with a row. `progress` is called after every 100 rows with the
    number of bytes read so far. With `dry` the transaction of every row is rolled back; a row that appears twice is
    then not noticed.
    """

    required: Sequence[str]
    optional: Sequence[str]
    reasons: Mapping[str, str]
    """The sentence for each code of the `InvalidField` errors that `_take` raises."""

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
        """Import one row, and return its effect.

        `cells` are the row's texts by column, empty for columns that the file does not have. Raises `InvalidField` for
        the column with the error if the row breaks a rule.
        """

    def run(self, file: Table) -> RowSummary:
        """Import every valid row of `file`, report what is wrong with every other row, and return the counts.

        Raises `OperationalError` if the database fails; the rows that were imported before stay.
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
        """Import one row; return the problems found in it (none: an empty list), and its effect."""
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
