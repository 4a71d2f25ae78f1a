"""The progress bar and the report of findings that all commands for importing a file share."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Self, TextIO

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from models.db.session import Database
from workers.accounts.customer_file import UnusableFile, open_file
from workers.accounts.customer_import import Finding
from workers.accounts.row_import import RowImport
from workers.commands.resources import err, open_database, out, refuse

ImportedFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only report; change nothing.")]
ReportFile = Annotated[Path | None, typer.Option(help="Where bad rows are written to; FILE.errors.csv without it.")]
SHOWN = 20
"""The greatest number of findings printed on the terminal; the report file has all findings."""


@contextmanager
def reading(file: Path) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, if this is a terminal, while the block reads a file.

    Yields a function to call with the number of bytes read so far. Removes the bar at the end of the block.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(file.name, total=file.stat().st_size)

        def advance(done: int) -> None:
            progress.update(task, completed=done)

        yield advance


class Report:
    """The findings of an import: all are written to a CSV file, the first 20 (`SHOWN`) also to the terminal.

    A finding is a problem with one row, or a remark on one. Use it as a context manager, which closes the file at the
    end. The file is created with the first finding; without findings there is no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, finding: Finding) -> None:
        """Write one finding to the report file, and to the terminal if it is among the first `SHOWN` (20)."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8-sig", newline="")
            self._writer = csv.writer(self._file, delimiter=";")
            self._writer.writerow(["line", "column", "reason", "taken_over", "explanation"])
        taken_over = "yes" if finding.notice else "no"
        self._writer.writerow([finding.line, finding.column, finding.reason, taken_over, str(finding)])
        self._count += 1
        if self._count <= SHOWN:
            where = f"line {finding.line}" + (f", {finding.column}" if finding.column else "")
            style = "yellow" if finding.notice else "red"
            err.print(f"[{style}]{where}:[/] {escape(str(finding))}", highlight=False, soft_wrap=True)

    def say_where(self) -> None:
        """Print the number of findings and the path of the report file; print nothing if there was no finding."""
        if self._count > SHOWN:
            err.print(f"… and {self._count - SHOWN} more")
        if self._count:
            err.print(f"All {self._count} findings: {self._path}", highlight=False, soft_wrap=True)


def import_rows(
    kind: type[RowImport],
    make: Callable[[Database, Callable[[Finding], None], Callable[[int], None]], RowImport],
    file: Path,
    report: Path | None,
    created: str,
) -> None:
    """Run an import of `file`, and print the counts of its rows.

    `kind` is the class of the import, which names the columns. `make` creates the import; it gets the database, a
    function for each `Finding`, and one for the number of bytes read so far. `report` is the path of the report file,
    `FILE.errors.csv` if None. `created` is the printed word for new rows. Ends the command with the exit code 1 if a
    row was bad, and with 2 if no row can be read from the file at all.
    """
    path = report or file.with_name(file.name + ".errors.csv")
    # The report of an earlier run would look like this run's findings.
    path.unlink(missing_ok=True)
    with Report(path) as findings:
        try:
            with (
                open_database() as database,
                open_file(file, kind.required, kind.optional) as table,
                reading(file) as advance,
            ):
                summary = make(database, findings.add, advance).run(table)
        except UnusableFile as error:
            refuse(f"{file}: {error}.", code=2)
    findings.say_where()
    counts = (summary.created, created), (summary.unchanged, "there already"), (summary.bad, "not taken over")
    for count, words in counts:
        out.print(f"{count:>9,}  {words}", highlight=False)
    if summary.told:
        out.print(f"{summary.told:>9,}  people get a link by mail", highlight=False)
    if summary.bad:
        raise typer.Exit(1)
