"""`standorte invoices …`: set which accounts a collective invoice bills, where no billing system says so."""

from __future__ import annotations

from typing import Annotated

import typer

from models.links.collective_invoices import BilledElsewhere, OtherPayer, put_on_invoice, take_off_invoice
from models.people.users import administrators_of
from workers.commands.resources import known_account, open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="Collective invoices.")

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The collective invoice's number.")]
AccountsArgument = Annotated[list[str], typer.Argument(metavar="CUSTOMER_NUMBER...")]


@app.command()
def add(
    number: NumberArgument,
    customer_numbers: AccountsArgument,
    main: Annotated[str, typer.Option(help="The main account that pays.", metavar="CUSTOMER_NUMBER")],
) -> None:
    """Add accounts to a collective invoice; the next `reconcile invoices` makes them sub-accounts of the main account.

    Safe to run twice. If one of the accounts cannot be added, none is: if it does not exist, it is on another
    collective invoice, or another main account pays this invoice.
    """
    with open_database() as database, database.transaction() as session:
        payer = known_account(session, main)
        for customer_number in customer_numbers:
            try:
                put_on_invoice(session, number, payer, known_account(session, customer_number), database.now())
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
        left = sum(take_off_invoice(session, number, account, database.now()) for account in accounts)
        alone = [account.customer_number for account in accounts if not administrators_of(session, account.id)]
    out.print(f"{left} left collective invoice {number}, {len(accounts) - left} were not on it.", highlight=False)
    for customer_number in alone:
        out.print(
            f"{customer_number} has no administrator and stays a sub-account: invite one first, on its dashboard.",
            highlight=False,
        )
