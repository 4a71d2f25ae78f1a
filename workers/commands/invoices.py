"""`standorte invoices …`: set which accounts a collective invoice bills, if no billing system sets it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models.links.collective_invoices import (
    BilledElsewhere,
    OtherPayer,
    open_items,
    put_on_invoice,
    take_off_invoice,
)
from models.people.audit_log import AuditEvent, record_of_carrier
from models.people.users import administrators_of
from workers.commands.resources import known_account, open_database, out, refuse, when

app = typer.Typer(no_args_is_help=True, help="Collective invoices.")

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The collective invoice's number.")]
AccountsArgument = Annotated[list[str], typer.Argument(metavar="CUSTOMER_NUMBER...")]


@app.command("list")
def show() -> None:
    """List the collective invoices, each with the main account that pays and the accounts that it bills."""
    table = Table("invoice", "main account", "customer number", "name", "since", box=None)
    with open_database() as database, database.transaction() as session:
        for item in open_items(session):
            who = (item.invoice.main.customer_number, item.account.customer_number)
            table.add_row(escape(item.invoice.number), *who, escape(item.account.name), when(item.since, "%d.%m.%Y"))
    out.print(table if table.row_count else "Nobody is billed together with others.")


@app.command()
def add(
    number: NumberArgument,
    customer_numbers: AccountsArgument,
    main: Annotated[str, typer.Option(help="The main account that pays.", metavar="CUSTOMER_NUMBER")],
) -> None:
    """Add accounts to a collective invoice; the next `reconcile invoices` makes them sub-accounts of the main account.

    If one of the accounts does not exist or is on another collective invoice, or if another main account pays this
    invoice, none is added. Safe to run twice.
    """
    with open_database() as database, database.transaction() as session:
        payer = known_account(session, main)
        for customer_number in customer_numbers:
            try:
                account = known_account(session, customer_number)
                if put_on_invoice(session, number, payer, account, database.now()):
                    told = {"invoice": number}
                    record_of_carrier(session, account, AuditEvent.INVOICE_JOINED, database.now(), told)
            except BilledElsewhere:
                refuse(f"{customer_number} is on another collective invoice.")
            except OtherPayer:
                refuse(f"Collective invoice {number} is another main account's.")
    out.print(f"{len(customer_numbers)} on collective invoice {number} of {main}.", highlight=False)


@app.command()
def remove(number: NumberArgument, customer_numbers: AccountsArgument) -> None:
    """Remove accounts from a collective invoice; the next `reconcile invoices` detaches them from the main account.

    An account that nobody can sign in to stays a sub-account until it has an administrator. Safe to run twice.
    """
    with open_database() as database, database.transaction() as session:
        accounts = [known_account(session, customer_number) for customer_number in customer_numbers]
        left = 0
        for account in accounts:
            if take_off_invoice(session, number, account, database.now()):
                left += 1
                record_of_carrier(session, account, AuditEvent.INVOICE_LEFT, database.now(), {"invoice": number})
        alone = [account.customer_number for account in accounts if not administrators_of(session, account.id)]
    out.print(f"{left} left collective invoice {number}, {len(accounts) - left} were not on it.", highlight=False)
    for customer_number in alone:
        out.print(
            f"{customer_number} has no administrator and stays a sub-account: invite one first, on its dashboard.",
            highlight=False,
        )
