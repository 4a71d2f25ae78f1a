"""What the commands work with, and how they say that something cannot be done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NoReturn

import sqlalchemy as sa
import typer
from rich.console import Console
from sqlalchemy.orm import Session

import models.schema  # noqa: F401 - foreign keys name tables that nothing else here imports
from models.accounts.accounts import Account, account_by_number
from models.db.session import Database
from models.values import BERLIN, Locale
from workers.settings import WorkerSettings

# Into a pipe or file a table is as wide as it needs to be.
out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True)


def when(moment: datetime | None, form: str = "%d.%m.%Y %H:%M") -> str:
    """A moment as the portal shows it, in Europe/Berlin; empty for none."""
    return moment.astimezone(BERLIN).strftime(form) if moment is not None else ""


def refuse(message: str, code: int = 1) -> NoReturn:
    """End the command with a sentence on standard error."""
    err.print(f"[red]{message}[/]", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def open_database() -> Iterator[Database]:
    """The portal's database, for one command."""
    database = Database(WorkerSettings().database_url)
    try:
        yield database
    except sa.exc.OperationalError as error:
        refuse(f"The database does not answer: {str(error.orig).splitlines()[0]}")
    finally:
        database.close()


def known_locale(language: str) -> Locale:
    """The language, or the end of the command."""
    match language:
        case "de" | "en":
            return language
        case _:
            refuse("--lang is de or en.")


def known_account(session: Session, customer_number: str) -> Account:
    """The account, or the end of the command."""
    account = account_by_number(session, customer_number)
    if account is None:
        refuse(f"There is no account {customer_number}.")
    return account
