"""The command-line program `standorte`: the list of its commands, each of which is defined in `workers/commands/`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from tasks.settings import SettingsError
from workers.commands import (
    accounts,
    audit,
    backup,
    demo,
    destinations,
    directory,
    doctor,
    invoices,
    numbers,
    prices,
    reconcile,
    requests,
    roles,
    schema,
    secrets,
    serve,
    tokens,
    trunks,
    users,
    version,
)
from workers.stack.data_directory import StackDirectory, load_running_stack
from workers.stack.errors import StackError

cli = typer.Typer(
    name="standorte",
    no_args_is_help=True,
    # A traceback with local variables would show secrets.
    pretty_exceptions_enable=False,
    add_completion=False,
)

cli.command()(serve.up)
cli.command()(serve.web)
cli.command()(serve.worker)
cli.command()(serve.beat)
cli.command()(schema.migrate)
cli.command()(schema.seed)
cli.command()(demo.demo)
cli.command()(doctor.doctor)
cli.command()(version.version)
cli.command()(reconcile.reconcile)
cli.command()(backup.backup)
cli.command()(backup.restore)
cli.add_typer(requests.app, name="requests")
cli.add_typer(accounts.app, name="accounts")
cli.add_typer(tokens.app, name="tokens")
cli.add_typer(users.app, name="users")
cli.add_typer(prices.app, name="prices")
cli.add_typer(numbers.app, name="numbers")
cli.add_typer(destinations.app, name="destinations")
cli.add_typer(directory.app, name="directory")
cli.add_typer(invoices.app, name="invoices")
cli.add_typer(trunks.app, name="trunks")
cli.add_typer(audit.app, name="audit")
cli.add_typer(roles.app, name="roles")
cli.add_typer(secrets.app, name="secrets")


def _print_version(asked: bool) -> None:
    if asked:
        version.version()
        raise typer.Exit


@cli.callback()
def console(
    print_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Manage the locations, accounts, numbers and trunks of companies: the console of the Standortverwaltung.

    The settings come from the environment. Without DATABASE_URL the commands use the stack that runs in this directory.
    """
    load_running_stack()
    # A name server that is silent holds each connection that begins with a name, beyond the connection's own limit: by
    # default ten seconds for each name server. The resolver reads this when it is first used.
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")


def main() -> None:
    """Run the command line, and turn two kinds of errors into a message on standard error without a traceback.

    The exit code is 2 for missing or invalid settings (`SettingsError`), 1 for a `StackError` (the embedded stack
    cannot run).
    """
    try:
        cli()
    except SettingsError as error:
        message = str(error)
        if "DATABASE_URL" not in os.environ:
            where = StackDirectory().path
            cause = f"No stack runs in {where}: `make run` (or `standorte up`) starts one."
            message = f"{cause}\nWithout a stack the settings have to come from the environment:\n{message}"
        _complain(message, 2)
    except StackError as error:
        _complain(str(error), 1)


def _complain(message: str, code: int) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(message, style="red", markup=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
