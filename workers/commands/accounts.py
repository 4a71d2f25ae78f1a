"""`standorte accounts …`: open an account, import existing customers, set a company's limits, close an account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from models.accounts.company_limits import Limit, limits_of, set_own_limits, used_today
from models.accounts.customer_import import COLUMNS, AccountRow, Fate, account_row
from models.accounts.new_account import open_account, same_account
from models.bulk.bulk import waiting_bulks
from models.calendar_days import berlin_day
from models.db.session import Database
from models.errors import CannotClose, InvalidField
from models.links.account_closing import close_account, ensure_closable
from models.messages.outbox import Recipient
from models.orders.area_code_of_address import ensure_house_number, ensure_postal_code
from models.people.audit_log import AuditEvent, record_of_carrier
from models.states import AccountState
from models.telephony.holdings import holdings_of
from tasks.files import uploaded_tables
from workers.accounts.customer_file import UnusableFile, open_customers
from workers.accounts.customer_import import REASONS, AccountImport, Summary
from workers.commands.first_access import give_access, tell
from workers.commands.import_reports import DryRun, Report, reading
from workers.commands.resources import err, known_account, known_locale, open_database, out, refuse
from workers.settings import WorkerSettings

_USUAL = "usual"
_LIMIT_HELP = "The greatest number, or `usual`."

app = typer.Typer(no_args_is_help=True, help="Customers' accounts.")


REFUSALS = {
    "ordered": "Account {number} is still on order: `standorte requests cancel {facts}` calls it off.",
    "request_runs": "Something runs for account {number}. Wait for its end, or `standorte requests cancel`: {facts}.",
    "bulk_runs": "A file of account {number} is being worked on. Wait for its end.",
    "billed_together": "Account {number} is billed together with others. `standorte invoices remove` takes accounts "
    "off collective invoice {facts}.",
    "is_sub_account": "Account {number} is a sub-account of {facts}. It has to be detached first, in the portal.",
    "has_sub_accounts": "Account {number} has sub-accounts ({facts}). They have to be detached first, in the portal.",
}
"""Messages by the code of `CannotClose`: the obstacle to closing an account, and how to remove the obstacle."""


@app.command()
def create(
    name: Annotated[str, typer.Option(help="The customer, as shown in the portal.")],
    street: Annotated[str, typer.Option(help="Of the connection address, with house number.")],
    postal_code: Annotated[str, typer.Option(help="Five digits.")],
    city: Annotated[str, typer.Option(help="Of the connection address.")],
    contact_name: Annotated[str, typer.Option(help="Whom to ask about the account.")],
    contact_email: Annotated[str, typer.Option(help="The contact's address.")],
    holder_form: Annotated[str, typer.Option(help="The contract holder is a company, a person or other.")],
    contact_phone: Annotated[str, typer.Option(help="As it is dialled.")] = "",
    holder_name: Annotated[str, typer.Option(help="The legal name; --name without it.")] = "",
    holder_register_number: Annotated[
        str, typer.Option(help="Of a company, such as HRB 12345, Amtsgericht Bielefeld.")
    ] = "",
    holder_born_on: Annotated[str, typer.Option(help="Of a person, as 1980-12-31 or 31.12.1980.")] = "",
    holder_street: Annotated[str, typer.Option(help="The legal address; the connection address without it.")] = "",
    holder_postal_code: Annotated[str, typer.Option(help="Of the legal address.")] = "",
    holder_city: Annotated[str, typer.Option(help="Of the legal address.")] = "",
    admin_name: Annotated[str, typer.Option(help="The first administrator; the contact without it.")] = "",
    admin_email: Annotated[str, typer.Option(help="The address with which the administrator signs in.")] = "",
    customer_number: Annotated[str | None, typer.Option(help="One of your own; a new one without it.")] = None,
    language: Annotated[str, typer.Option("--lang", help="The administrator's: de or en.")] = "de",
    print_link: Annotated[
        bool, typer.Option("--print-link", help="Print the link instead of mailing it, while there is no mail yet.")
    ] = False,
) -> None:
    """Open an account for a new customer, with contract holder and first administrator, and print its customer number.

    The administrator gets a mail with a link to set a password, valid for 7 days, and can order at once: the account
    becomes a main account with its first sub-account. If an account with this name and address exists, no second one is
    opened. To import many customers from a file, use `accounts import`.
    """
    given = {column: value for column, value in locals().items() if column in COLUMNS and value}
    given["customer_number"] = customer_number or "1000000"
    given.setdefault("holder_name", name)
    locale = known_locale(language)
    with open_database() as database, database.transaction() as session:
        now = database.now()
        row = _checked(session, given, berlin_day(now))
        if (found := same_account(session, row)) is not None:
            out.print(f"{found.customer_number} has this name and address already.", highlight=False)
            return
        try:
            account = open_account(session, row, customer_number, now)
        except InvalidField:
            refuse(f"--customer-number: {customer_number} was given out before, and no number is given out twice.")
        record_of_carrier(session, account, AuditEvent.ACCOUNT_CREATED, now)
        access = give_access(session, Recipient(row.admin_name, row.admin_email, locale), account, now)
        link = tell(session, access.user, account, now, print_link=print_link)
        number = account.customer_number
    out.print(f"{number} is opened, with the administrator {row.admin_email}.", highlight=False)
    if link is not None:
        # Printed without rich, which would wrap it.
        typer.echo(link)
    else:
        out.print("A mail is on its way.", highlight=False)


def _checked(session: Session, given: dict[str, str], today: date) -> AccountRow:
    """Return the account data typed on the command line in canonical form, after checking it against the rules.

    `given` maps field names to typed texts; `today` is for checking a date of birth. If anything is wrong, ends the
    command with a line for each mistake.
    """
    found = account_row(given, today)
    problems = list(found) if isinstance(found, list) else []
    checks: list[tuple[str, Callable[[], None]]] = [
        ("street", lambda: ensure_house_number(given["street"])),
        ("postal_code", lambda: ensure_postal_code(session, given["postal_code"], given["city"])),
    ]
    named = {problem.field for problem in problems}
    for column, check in checks:
        try:
            if not named & {column, "city"}:
                check()
        except InvalidField as error:
            problems.append(InvalidField(column, error.code))
    if isinstance(found, AccountRow) and not problems:
        return found
    refuse("\n".join(f"--{problem.field.replace('_', '-')} {REASONS[problem.code]}." for problem in problems))


@app.command("import")
def import_accounts(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, metavar="FILE")],
    report: Annotated[
        Path | None, typer.Option(help="Where bad rows are written to; FILE.errors.csv without it.")
    ] = None,
    tell: Annotated[
        bool, typer.Option("--tell", help="Mail administrators without a password a link to set one, each once.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Import customers from a CSV or XLSX file with headings. Encoding, separator and sheet are detected.

    Columns: customer_number, name, street, postal_code, city, contact_name, contact_email, contact_phone, and the
    optional admin_email and admin_name; without these two the contact becomes the administrator. The contract holder
    may be in holder_name, holder_form (company, person or other), holder_register_number (for a company),
    holder_born_on (for a person), holder_street, holder_postal_code and holder_city (without them the account's).

    Valid rows are imported even if other rows are not valid. An account that exists already gets name and contact from
    the file; its address, role and users are never changed. Nobody gets a mail without --tell. Safe to run twice. Ends
    with 0 if every row was imported, with 1 if not, and with 2 if no row can be read from the file at all.
    """
    path = report or file.with_name(file.name + ".errors.csv")
    # The report of an earlier run would look like this run's findings.
    path.unlink(missing_ok=True)
    with Report(path) as findings:
        try:
            with open_database() as database, open_customers(file) as customers:
                summary = _run(database, file, customers, findings, tell=tell, dry=dry_run)
        except UnusableFile as error:
            refuse(f"{file}: {error}.", code=2)
    findings.say_where()
    out.print(_table(summary))
    if dry_run:
        out.print("A dry run: nothing was changed.")
    if summary.bad:
        raise typer.Exit(1)


@app.command()
def limits(
    customer_number: Annotated[str, typer.Argument(metavar="CUSTOMER_NUMBER")],
    open_orders: Annotated[str | None, typer.Option(help=_LIMIT_HELP, metavar="NUMBER")] = None,
    blocks: Annotated[str | None, typer.Option(help=_LIMIT_HELP, metavar="NUMBER")] = None,
    letters: Annotated[str | None, typer.Option(help=_LIMIT_HELP, metavar="NUMBER")] = None,
    contacts: Annotated[str | None, typer.Option(help=_LIMIT_HELP, metavar="NUMBER")] = None,
    invitations: Annotated[str | None, typer.Option(help=_LIMIT_HELP, metavar="NUMBER")] = None,
    consents: Annotated[str | None, typer.Option(help=_LIMIT_HELP, metavar="NUMBER")] = None,
) -> None:
    """Show the limits of a company, or change them: open orders at a time; number blocks, letters and others per day.

    The limits are those of the company's main account. Its uploaded files that wait for a limit continue at once.
    """
    given = {
        limit: _limit(typed)
        for limit, typed in zip(Limit, (open_orders, blocks, letters, contacts, invitations, consents), strict=True)
        if typed is not None
    }
    usual = WorkerSettings().limits
    with open_database() as database, database.transaction() as session:
        account = known_account(session, customer_number)
        if account.main_id is not None:
            # Orders are its main account's.
            refuse(f"Account {customer_number} is a sub-account. A company's limits are those of its main account.")
        if given:
            for limit, value in set_own_limits(session, account.id, given).items():
                facts = {"limit": str(limit), "allowed": value}
                record_of_carrier(session, account, AuditEvent.LIMIT_CHANGED, database.now(), facts)
            session.flush()
            for bulk in waiting_bulks(session, account.id):
                bulk.make_due(database.now())
        now = limits_of(session, account.id, usual)
        used = used_today(session, account.id, database.now())
    for limit in Limit:
        today = "" if limit is Limit.OPEN_ORDERS else f", {used.get(limit, 0)} today"
        own = "" if now.of(limit) == usual.of(limit) else f" (usual: {usual.of(limit)})"
        out.print(f"{limit}: {now.of(limit)}{own}{today}", highlight=False)


def _limit(typed: str) -> int | None:
    if typed == _USUAL:
        return None
    if not typed.isdecimal() or not 0 < int(typed) <= 1_000_000:
        refuse(f"A limit is a number from 1 to 1000000, or {_USUAL!r}: {typed}")
    return int(typed)


@app.command()
def close(
    customer_number: Annotated[str, typer.Argument(metavar="CUSTOMER_NUMBER")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Close an account for good: trunks, numbers, contracts and all users' access. This cannot be undone.

    The account must have no main account, no sub-accounts, no running request or uploaded file, and must not be billed
    together with other accounts. Its numbers are kept back for 90 days before they can be assigned again; its customer
    number is never reused. Safe to run twice. Asks first, unless --yes is given.
    """
    with open_database() as database:
        try:
            with database.transaction() as session:
                account = known_account(session, customer_number)
                if account.state is AccountState.CLOSED:
                    out.print(f"Account {customer_number} is closed already.", highlight=False)
                    return
                ensure_closable(session, account)
                holdings = holdings_of(session, account, database.now())
            if not yes:
                trunks = ", ".join(trunk.sip_user for trunk in holdings.trunks) or "none"
                numbers = ", ".join(block.display for block in holdings.blocks) or "none"
                what = f"{customer_number}, {account.name}, {account.city}\nSIP trunks: {trunks}\nNumbers: {numbers}"
                err.print(what, highlight=False, markup=False, soft_wrap=True)
                typer.confirm("Close this account for good?", abort=True, err=True)
            with database.transaction() as session:
                close_account(session, known_account(session, customer_number), database.now())
        except CannotClose as error:
            refuse(REFUSALS[error.code].format(number=customer_number, facts=", ".join(error.facts)))
    out.print(f"Account {customer_number} is closed.", highlight=False)


def _run(
    database: Database, file: Path, customers: uploaded_tables.Table, findings: Report, *, tell: bool, dry: bool
) -> Summary:
    place = customers.place
    form = f"sheet {place.sheet!r}" if place.sheet else f"{place.encoding}, columns separated by {place.delimiter!r}"
    err.print(escape(f"{file}: {form}, headings in line {place.line}"), style="dim")
    if place.hidden_rows:
        err.print(f"{place.hidden_rows} rows of the sheet are hidden. They are read all the same.", style="yellow")
    for name in place.others:
        err.print(escape(f"Sheet {name!r} has such a table, too. It is not read."), style="yellow")
    with reading(file) as advance:
        return AccountImport(database, database.now, findings.add, advance, tell=tell, dry=dry).run(customers)


def _table(summary: Summary) -> Table:
    table = Table("rows", "", box=None, show_header=False, padding=(0, 1))
    for count, words in (
        (summary.fates[Fate.CREATED], "created"),
        (summary.fates[Fate.UPDATED], "updated"),
        (summary.fates[Fate.UNCHANGED], "unchanged"),
        (summary.bad, "not taken over"),
        (summary.rows, "in all"),
    ):
        table.add_row(f"{count:>9,}", words)
    if summary.addresses_kept:
        table.add_row(f"{summary.addresses_kept:>9,}", "with another address in the file: the account's was kept")
    if summary.told:
        table.add_row(f"{summary.told:>9,}", "administrators get a link by mail")
    if summary.doubtful:
        table.add_row(f"{summary.doubtful:>9,}", "doubts about new accounts' addresses: taken over as they are")
    return table
