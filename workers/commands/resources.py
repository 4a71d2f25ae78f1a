"""Functions that console commands share: print, open the database, look things up, end a command with a message."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import NoReturn

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.orm import Session

import models.schema  # noqa: F401 - foreign keys name tables that nothing else here imports
from models.accounts.accounts import Account, account_by_number
from models.calendar_days import BERLIN, read_day
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.values import Locale
from workers.settings import WorkerSettings

# In a pipe or file there is no terminal width: 200 columns let a table be as wide as needed.
out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True)


def when(moment: datetime | None, form: str = "%d.%m.%Y %H:%M") -> str:
    """Return a moment as text in German local time, by the strftime pattern `form`; the empty string for None."""
    return moment.astimezone(BERLIN).strftime(form) if moment is not None else ""


def midday(day: date) -> datetime:
    """Return 12:00 in Berlin on this day, a moment at which the prices of the day are valid."""
    return datetime.combine(day, time(12), BERLIN)


def typed_day(option: str, typed: str) -> date:
    """Return the date in a typed text such as 2027-01-31 or 31.01.2027; end the command with a message for other text.

    `option` is the name of the command's option, for the message.
    """
    day = read_day(typed)
    if day is None:
        refuse(f"{option} is a day, such as 2027-01-31 or 31.01.2027, not {escape(typed)!r}.")
    return day


def refuse(message: str, code: int = 1) -> NoReturn:
    """Print a message on standard error and end the command with the exit code `code`. Never returns."""
    err.print(f"[red]{message}[/]", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def owner_urls(settings: WorkerSettings) -> tuple[str, str]:
    """Return the URLs of the portal's and the registrar's database, with the owner's role if its URLs are set.

    Where they are not set, return the URL with the workers' role. Ends the command with a message if a URL leads to
    PgBouncer, through which a session cannot keep locks and snapshots.
    """
    urls = (
        settings.owner_database_url or settings.database_url,
        settings.owner_registrar_url or settings.registrar_url,
    )
    if any("pgbouncer" in sa.make_url(url).query for url in urls):
        refuse("Set OWNER_DATABASE_URL and OWNER_REGISTRAR_URL to PostgreSQL itself: this does not work by PgBouncer.")
    return urls


@contextmanager
def open_database() -> Iterator[Database]:
    """Open the portal's database, yield it, and close it at the end of the block.

    After each commit that made rows due, the workers are notified. Statements have no time limit. If the database
    cannot be reached, the command ends with a message and exit code 1.
    """
    database = Database(WorkerSettings().database_url, on_due=hint_workers, statement_limit=None)
    try:
        yield database
    except sa.exc.OperationalError as error:
        refuse(f"The database does not answer: {str(error.orig).splitlines()[0]}")
    finally:
        database.close()


def hint_workers(kinds: Collection[WorkKind]) -> None:
    """Notify the workers through the broker that rows of these kinds of work are due for processing.

    If the broker does not answer, prints that the workers will find the rows later; raises nothing then.
    """
    # Imported here because Celery is slow to import and most commands never need it.
    from tasks.hints import hint, sending_app

    with sending_app("standorte-console", WorkerSettings().hints_url):
        if not hint(kinds):
            err.print("The broker does not answer; the sweep goes on with it when it is back.", style="yellow")


def known_locale(language: str) -> Locale:
    """Return `language` as a locale; end the command with a message unless the language is de or en."""
    match language:
        case "de" | "en":
            return language
        case _:
            refuse("--lang is de or en.")


def known_account(session: Session, customer_number: str) -> Account:
    """Return the account with this customer number; end the command with a message if there is none."""
    account = account_by_number(session, customer_number)
    if account is None:
        refuse(f"There is no account {customer_number}.")
    return account
