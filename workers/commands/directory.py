"""`standorte directory …`: export the entries of the telephone directory for its publishers."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from models.accounts.accounts import Account
from models.calendar_days import BERLIN
from models.telephony.directory import DirectoryEntry, Publication, entries_since
from tasks.files.exported_tables import Cell, csv_of
from workers.commands.resources import err, open_database

app = typer.Typer(help="The telephone directory.")

HEADER: list[Cell] = [
    "change", "customer_number", "number", "name", "street", "postal_code", "city", *Publication, "changed_at",
]  # fmt: skip
OVERLAP = timedelta(hours=1)
"""The time before `--since` from which changes are exported again: some were saved only after the last export."""


@app.callback()
def directory() -> None:
    """Commands about the telephone directory: `export` writes its entries as CSV."""


@app.command()
def export(
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Only what changed since an hour before then, German time.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; the standard output without it.", metavar="FILE")] = None,
) -> None:
    """Write the directory's entries as CSV (UTF-8 with byte order mark, semicolon), in the order of their numbers.

    Column change is new, changed or withdrawn; without --since every entry is new, and withdrawn ones are left out.
    The address is empty if the customer does not want it shown; print, online and enquiries say yes or no.
    """
    begin = since.replace(tzinfo=BERLIN) - OVERLAP if since is not None else None
    with open_database() as database, database.transaction() as session:
        rows = [_row(entry, account, begin) for entry, account in entries_since(session, begin)]
    with csv_of([HEADER, *rows]) as file:
        content = file.read()
    if out is None:
        typer.echo(content, nl=False)
    else:
        out.write_bytes(content)
    err.print(f"{len(rows)} entries" if len(rows) != 1 else "1 entry", highlight=False)


def _row(entry: DirectoryEntry, account: Account, since: datetime | None) -> list[Cell]:
    address = (account.street, account.postal_code, account.city) if entry.show_address else ("", "", "")
    if entry.withdrawn_at is not None:
        change = "withdrawn"
    elif since is None or entry.created_at >= since:
        change = "new"
    else:
        change = "changed"
    published = ("yes" if place in entry.published_in and change != "withdrawn" else "no" for place in Publication)
    changed_at = entry.changed_at.astimezone(BERLIN).isoformat(timespec="seconds")
    return [change, account.customer_number, f"+{entry.number}", entry.name, *address, *published, changed_at]
