"""`standorte directory …`: hand the entries of the telephone directory on to those who publish them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from models.accounts.accounts import Account
from models.telephony.directory import DirectoryEntry, Publication, entries_since
from models.values import BERLIN
from workers.commands.resources import err, open_database

app = typer.Typer(help="The telephone directory.")

HEADER = (
    "change", "customer_number", "number", "name", "street", "postal_code", "city", *Publication, "changed_at",
)  # fmt: skip


@app.callback()
def directory() -> None:
    """The telephone directory."""


@app.command()
def export(
    since: Annotated[
        datetime | None,
        typer.Option(help="Only what changed since then, German time.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; the standard output without it.", metavar="FILE")] = None,
) -> None:
    """Write the directory's entries as CSV (UTF-8, semicolon), in the order of their numbers.

    Column change is new, changed or withdrawn; without --since every entry is new, and withdrawn ones are left out.
    The address is empty if the customer does not want it shown; print, online and enquiries say yes or no.
    """
    begin = since.replace(tzinfo=BERLIN) if since is not None else None
    with open_database() as database, database.transaction() as session:
        rows = [_row(entry, account, begin) for entry, account in entries_since(session, begin)]
    if out is None:
        _write(sys.stdout, rows)
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            _write(file, rows)
    err.print(f"{len(rows)} entries" if len(rows) != 1 else "1 entry", highlight=False)


def _row(entry: DirectoryEntry, account: Account, since: datetime | None) -> Sequence[str]:
    address = (account.street, account.postal_code, account.city) if entry.show_address else ("", "", "")
    if entry.withdrawn_at is not None:
        change = "withdrawn"
    elif since is None or entry.created_at >= since:
        change = "new"
    else:
        change = "changed"
    published = ("yes" if place in entry.published_in and change != "withdrawn" else "no" for place in Publication)
    changed_at = entry.changed_at.astimezone(BERLIN).isoformat(timespec="seconds")
    return (change, account.customer_number, f"+{entry.number}", entry.name, *address, *published, changed_at)


def _write(file: TextIO, rows: Iterable[Sequence[str]]) -> None:
    writer = csv.writer(file, delimiter=";", lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
