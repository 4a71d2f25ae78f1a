"""Import accounts from a file of customers: check each row against the rules, and save the valid rows in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import OperationalError

from models.accounts.customer_import import REFUSED, AccountRow, Fate, Taken, account_row, take_over
from models.calendar_days import berlin_day
from models.db.session import Database
from models.errors import InvalidField
from models.orders.area_code_of_address import ensure_house_number, ensure_postal_code, restored_postal_code
from models.staff.sign_in_access import tell_first_administrators
from models.values import Clock
from tasks.files.uploaded_cells import cell_fault
from tasks.files.uploaded_tables import Row, Table
from workers.accounts.import_transactions import import_transaction

BATCH = 1000
"""The greatest number of rows saved in one transaction."""
ATTEMPTS = 3

REASONS = {
    "missing": "is empty",
    "not_seven_digits": "is not seven digits, the first of them not 0",
    "not_five_digits": "is not five digits",
    "not_an_email_address": "is not an e-mail address",
    "not_ascii_before_at": "has letters before the @ that mail servers do not know, such as umlauts",
    "not_a_phone_number": "is not a phone number",
    "not_as_dialled": "is not one number as it is dialled, without words",
    "service_number": "is the number of an emergency or other service",
    "unknown_form": "is not company, person or other",
    "not_a_postal_code": "is no postal code",
    "not_a_birth_date": "is no date of birth, such as 1980-12-31 or 31.12.1980",
    "too_long": "is longer than 200 characters",
    "unreadable_character": "has a character that could not be read, or was lost before",
    "error_value": "is an error of the spreadsheet, such as #N/A",
    "shortened_number": "was shortened by the spreadsheet, its last digits are lost",
    "unprintable": "has a character that no typeface of letters on paper has",
    "web_address": "contains a web or e-mail address, which would be a link in mails",
    "appears_twice": "is on an earlier line of this file already",
    "line_too_long": "the line is longer than 65,536 characters",
    "broken_quotes": "the quotes are not closed, or there is text after a closing quote",
    "too_few_columns": "has fewer columns than the header",
    "too_many_columns": "has more columns than the header",
    Fate.ORDERED_HERE: "belongs to an account that was ordered in the portal",
    Fate.CLOSED: "belongs to an account that is closed",
    Fate.NUMBER_USED_UP: "was given out before, and a customer number is never reused",
    "unknown_postal_code_of": "there is no such postal code: emergency calls would go astray",
    "unknown_postal_code": "there is no such postal code: emergency calls would go astray",
    "postal_code_elsewhere": "belongs to another town: emergency calls would go astray",
    "house_number_missing": "has no house number",
    "address_kept": "the account keeps its address: it only moves with a proof of the new one",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that keeps one row from being imported or, with `notice` set, a remark on a row that is imported.

    `line` is the number of the row's first line in the file, from 1. `column` names the column with the problem; empty
    if the problem concerns the whole row. `reason` is a key of `REASONS`. `str()` returns `detail`, or the sentence of
    the reason if `detail` is empty.
    """

    line: int
    column: str
    reason: str
    detail: str = ""
    notice: bool = False

    def __str__(self) -> str:
        return self.detail or REASONS[self.reason]


@dataclass(slots=True)
class Summary:
    """The result of an import, counted in rows.

    `fates` counts valid rows by what happened to their account (created, updated, unchanged …), `bad` the rows that
    were not imported. `addresses_kept` counts imported rows whose address differs from that of their existing account,
    which keeps its own. `doubtful` counts faults in the addresses of new accounts, which are imported all the same.
    `told` counts administrators who get a mail with a link to set their first password.
    """

    fates: Counter[Fate] = field(default_factory=Counter)
    bad: int = 0
    addresses_kept: int = 0
    doubtful: int = 0
    told: int = 0

    @property
    def rows(self) -> int:
        """Return the number of all rows of the file, imported or not."""
        return self.bad + self.fates.total()


class AccountImport:
    """An import of accounts from one file of customers.

    `report` is called with every `Finding`: a problem with a row, or a remark on a row. `progress` is called after
    every batch with the number of bytes read so far. With `tell`, each administrator without a password gets one mail
    with a link to set it, also if the account was imported before. With `dry` every batch is rolled back, so the
    database does not change, and the counts say what would happen. Safe to run twice, also after an interrupted run: an
    account that already has the values of its row is left unchanged.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        report: Callable[[Finding], None],
        progress: Callable[[int], None],
        *,
        tell: bool = False,
        dry: bool = False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._report = report
        self._progress = progress
        self._tell = tell
        self._dry = dry
        self._summary = Summary()
        self._batch: list[tuple[int, AccountRow]] = []
        self._seen = _SeenNumbers()

    def run(self, file: Table) -> Summary:
        """Import every valid row of `file`, report what is wrong with every other row, and return the counts.

        Commits a transaction for each batch of 1,000 rows (`BATCH`). Raises `OperationalError` if the database fails
        three times in a row (`ATTEMPTS`) on one batch; the batches saved before stay.
        """
        for row in file.rows:
            self._take(row)
            if len(self._batch) == BATCH:
                self._write()
                self._progress(file.position)
        self._write()
        self._progress(file.position)
        return self._summary

    def _take(self, row: Row) -> None:
        """Add a valid row to the batch; report what is wrong with an invalid row.

        A row is also invalid if its customer number was on an earlier line of the file.
        """
        if row.fault is not None:
            detail = "{} columns, not {}".format(*row.widths) if row.widths[0] else ""
            self._refuse(Finding(row.line, "", row.fault, detail))
            return
        cells = self._with_zeros(row.cells)
        faults = {column: fault for column, cell in cells.items() if (fault := cell_fault(cell)) is not None}
        found = account_row(cells, berlin_day(self._clock()))
        problems = found if isinstance(found, list) else []
        codes = {problem.field: problem.code for problem in problems} | faults
        if codes or isinstance(found, list):
            self._refuse(*(Finding(row.line, column, code) for column, code in codes.items()))
        elif not self._seen.add(found.customer_number):
            self._refuse(Finding(row.line, "customer_number", "appears_twice"))
        else:
            self._batch.append((row.line, found))

    def _with_zeros(self, cells: Mapping[str, str]) -> Mapping[str, str]:
        """Return the row's cells, with the leading zero restored that a spreadsheet has dropped from a postal code.

        The zero is added to four digits, and only if the town can have the resulting code. Other cells stay unchanged.
        """
        code = cells.get("postal_code", "")
        if len(code) != 4:
            return cells
        with self._database.transaction() as session:
            return {**cells, "postal_code": restored_postal_code(session, code, cells.get("city", ""))}

    def _write(self) -> None:
        if not self._batch:
            return
        for (line, row), taken in zip(self._batch, self._taken([row for _, row in self._batch]), strict=True):
            if taken.fate in REFUSED:
                self._refuse(Finding(line, "customer_number", taken.fate))
                continue
            self._summary.fates[taken.fate] += 1
            if taken.fate is Fate.CREATED:
                self._doubt(line, row)
            if taken.address_kept:
                self._summary.addresses_kept += 1
                self._report(Finding(line, "street", "address_kept", notice=True))
        self._batch.clear()

    def _doubt(self, line: int, row: AccountRow) -> None:
        """Report faults in the address of a new account as notices, which do not stop the import.

        Checks that the street has a house number and that the postal code can be the city's. Each fault is counted in
        `Summary.doubtful`.
        """
        with self._database.transaction() as session:
            for column, rule, typed in (
                ("street", ensure_house_number, (row.street,)),
                ("postal_code", ensure_postal_code, (session, row.postal_code, row.city)),
            ):
                try:
                    rule(*typed)
                except InvalidField as error:
                    self._summary.doubtful += 1
                    self._report(Finding(line, column, error.code, notice=True))

    def _taken(self, rows: list[AccountRow]) -> list[Taken]:
        attempt = 0
        while True:
            attempt += 1
            try:
                told = 0
                with import_transaction(self._database, dry=self._dry) as session:
                    taken = take_over(session, rows, self._clock())
                    if self._tell:
                        pairs = zip(rows, taken, strict=True)
                        good = {row.customer_number: row.admin_email for row, one in pairs if one.fate not in REFUSED}
                        told = tell_first_administrators(session, good, self._clock())
                self._summary.told += told
                return taken
            except OperationalError:
                # A deadlock with another transaction on one of the accounts, or a lost connection: try again.
                if attempt == ATTEMPTS:
                    raise

    def _refuse(self, *findings: Finding) -> None:
        self._summary.bad += 1
        for finding in findings:
            self._report(finding)


class _SeenNumbers:
    """A set of customer numbers, stored as one bit for each possible number. It always takes 1.25 MB."""

    def __init__(self) -> None:
        self._bits = bytearray(10_000_000 // 8)

    def add(self, number: str) -> bool:
        """Add a customer number (seven digits). Return True if it was not in the set before."""
        place, bit = divmod(int(number), 8)
        new = not self._bits[place] >> bit & 1
        self._bits[place] |= 1 << bit
        return new
