"""`standorte users …`: create, import, list, sign out, disable and erase people, export their data, reset factors."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Recipient
from models.people.audit_log import AuditEvent, record_of_carrier
from models.people.login_sessions import Login, end_all_logins, end_logins
from models.people.rights import Role
from models.people.second_factors import SecondFactor, reset_factors
from models.people.sign_in_log import SignedOut, record_sign_out
from models.people.users import Membership, User, administrators_of
from models.staff.erasing_people import ask_for_erasure, only_administrator_of
from models.staff.sign_in_access import disable as shut_out
from models.staff.sign_in_access import enable as let_in
from models.staff.sign_in_access import user_by_email
from models.states import AccountState
from models.views.person_data import person_data
from workers.accounts.user_import import UserImport
from workers.commands.first_access import give_access, tell, typed_address, typed_name
from workers.commands.import_reports import DryRun, ImportedFile, ReportFile, import_rows
from workers.commands.resources import known_account, known_locale, open_database, out, refuse, when

app = typer.Typer(no_args_is_help=True, help="People who can sign in.")

MOST_LISTED = 200
"""The greatest number of people that `users list` shows."""

EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The address with which the person signs in.")]


@app.command()
def create(
    email: EmailArgument,
    name: Annotated[str, typer.Option(help="First and last name.")],
    staff: Annotated[bool, typer.Option("--staff", help="One of the carrier's staff, for the back office.")] = False,
    account: Annotated[
        str | None, typer.Option(help="The first administrator of this account.", metavar="CUSTOMER_NUMBER")
    ] = None,
    language: Annotated[str, typer.Option("--lang", help="de or en.")] = "de",
    print_link: Annotated[
        bool, typer.Option("--print-link", help="Print the link instead of mailing it, while there is no mail yet.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send or print the link again to a person who has set no password yet.")
    ] = False,
) -> None:
    """Create a login: of a member of the carrier's staff, or of the first administrator of an account.

    The person gets a mail with a link to set a password, valid for 7 days. Staff must then set up a second factor
    before they can use anything. Further people of an account are invited in the portal, by the administrator. Safe to
    run twice.
    """
    if staff == (account is not None):
        refuse("Say who it is: --staff, or --account CUSTOMER_NUMBER for the first administrator of an account.")
    to = Recipient(typed_name("--name", name), typed_address("EMAIL", email), known_locale(language))
    with open_database() as database, database.transaction() as session:
        now = database.now()
        found = known_account(session, account) if account is not None else None
        access = give_access(session, to, found, now)
        sends = access.is_added or again
        link = tell(session, access.user, found, now, print_link=print_link) if sends else None
    role = "staff" if found is None else f"administrator of {found.customer_number}"
    if not access.is_added:
        out.print(f"{to.address} is {role} already.", highlight=False)
    elif access.is_new:
        out.print(f"{to.address} is created: {role}.", highlight=False)
    else:
        out.print(f"{to.address}, who had a login already, is {role} now.", highlight=False)
    if link is not None:
        # Printed without rich, which would wrap it.
        typer.echo(link)
    elif sends:
        out.print("A mail is on its way.", highlight=False)


@app.command("import")
def import_users(
    file: ImportedFile,
    dry_run: DryRun = False,
    report: ReportFile = None,
    tell: Annotated[
        bool, typer.Option("--tell", help="Mail people without a password a link to set one, each once.")
    ] = False,
) -> None:
    """Import people and their roles from a CSV or XLSX file with headings, after `accounts import` of the accounts.

    Columns: customer_number, email, name, role (administrator, location_manager or local_member), and the optional
    language (de or en; de without it). A person in several accounts has a row for each. Somebody who has a login
    already gets the role, and keeps name and language. Nobody gets a mail without --tell.

    Valid rows are imported even if others are not. A role that a person already has is left unchanged, so this is safe
    to run twice. Ends with 0 if every row was imported, with 1 if not, and with 2 if no row can be read at all.
    """
    words = "roles would be given" if dry_run else "roles given"
    import_rows(UserImport, partial(UserImport, dry=dry_run, tell=tell), file, report, words)


@app.command("list")
def list_users(
    staff: Annotated[bool, typer.Option("--staff", help="Only the carrier's staff.")] = False,
    account: Annotated[str | None, typer.Option(help="Only this account's people.", metavar="CUSTOMER_NUMBER")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Only who is disabled.")] = False,
) -> None:
    """List people who can sign in, the newest first, at most 200: with roles, last use, and since when disabled."""
    headings = ("address", "name", "roles", "password", "second factor", "created", "last seen", "disabled")
    table = Table(*headings, box=None)
    roles = (
        sa.select(
            sa.func.string_agg(Account.customer_number + sa.literal(" ") + sa.cast(Membership.role, sa.Text), ", ")
        )
        .join(Membership, Membership.account_id == Account.id)
        .where(Membership.user_id == User.id)
        .scalar_subquery()
    )
    seen = sa.select(sa.func.max(Login.seen_at)).where(Login.user_id == User.id).scalar_subquery()
    factor = sa.exists().where(SecondFactor.user_id == User.id)
    query = sa.select(User, roles, seen, factor).order_by(User.id.desc())
    with open_database() as database, database.transaction() as session:
        if staff:
            query = query.where(User.is_staff)
        if disabled:
            query = query.where(User.disabled_at.is_not(None))
        if account is not None:
            members = sa.select(Membership.user_id).where(Membership.account_id == known_account(session, account).id)
            query = query.where(User.id.in_(members))
        rows = session.execute(query.limit(MOST_LISTED + 1)).all()
        for user, of, last, has in rows[:MOST_LISTED]:
            what = "staff" if user.is_staff else of or ""
            has_password = "set" if user.password_hash is not None else "not yet"
            times = (when(user.created_at), when(last), when(user.disabled_at))
            cells = (user.email, user.name, what, has_password, "yes" if has else "no", *times)
            table.add_row(*map(escape, cells), style="dim" if user.disabled_at is not None else "")
    out.print(table if rows else "Nobody.")
    if len(rows) > MOST_LISTED:
        out.print("There are more: name an account with --account.", highlight=False)


@app.command()
def disable(email: EmailArgument) -> None:
    """Disable a person's access at once: end all sign-ins, API tokens and sent invitations, and prevent new sign-ins.

    The person is told by mail, and keeps roles, password and second factors for `users enable`. Safe to run twice.
    """
    with open_database() as database, database.transaction() as session:
        user = _known(session, email)
        is_new = shut_out(session, user, database.now())
        alone = [number for number in _administered(session, user) if is_new]
    out.print(f"{email} is {'disabled' if is_new else 'disabled already'}.", highlight=False, markup=False)
    for number in alone:
        again = f"`standorte users create EMAIL --account {number}` names another one."
        out.print(f"Account {number} has no administrator now who can sign in. {again}", highlight=False)


def _administered(session: Session, user: User) -> list[str]:
    """Return the customer numbers of the user's accounts that are left without an administrator who can sign in.

    Only accounts that the user administers, and that are not closed, are considered.
    """
    mine = (
        sa.select(Account)
        .join(Membership, Membership.account_id == Account.id)
        .where(
            Membership.user_id == user.id,
            Membership.role == Role.ADMINISTRATOR,
            Account.state != AccountState.CLOSED,
        )
    )
    accounts = session.scalars(mine.order_by(Account.id))
    return [account.customer_number for account in accounts if not administrators_of(session, account.id)]


@app.command()
def enable(email: EmailArgument) -> None:
    """Let a disabled person sign in again, with the same roles, password and second factors. Safe to run twice.

    The person is told by mail. API tokens and invitations do not come back.
    """
    with open_database() as database, database.transaction() as session:
        is_new = let_in(session, _known(session, email), database.now())
    out.print(f"{email} {'can sign in again' if is_new else 'is not disabled'}.", highlight=False, markup=False)


@app.command("sign-out")
def sign_out(
    email: Annotated[str | None, typer.Argument(metavar="EMAIL", help="The person; or --everybody.")] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="All people, staff too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before signing everybody out.")] = False,
) -> None:
    """Sign a person, or everybody, out of all browsers. They can sign in again. API tokens stay. Safe to run twice."""
    if everybody == (email is not None):
        refuse("Say who it is: EMAIL, or --everybody.")
    if everybody and not yes:
        typer.confirm("Sign everybody out, staff and customers?", abort=True, err=True)
    with open_database() as database, database.transaction() as session:
        user_id = _known(session, email).id if email is not None else None
        if count := end_all_logins(session, user_id):
            if user_id is not None:
                record_sign_out(session, user_id, SignedOut.EVERYWHERE, None, database.now())
            else:
                facts = {"what": SignedOut.EVERYBODY}
                record_of_carrier(session, None, AuditEvent.SIGNED_OUT, database.now(), facts)
    out.print(f"Signed out of {count} browser{'' if count == 1 else 's'}.", highlight=False)


@app.command()
def erase(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End a person's access for good and delete their name and address (GDPR, Art. 17). This cannot be undone.

    Contracts with their contacts and holders, orders and business letters, and the audit log are kept. The workers' job
    `erasures` deletes name and address within minutes. Refused for the only administrator of an account, and for staff.
    """
    with open_database() as database:
        with database.transaction() as session:
            user = _known(session, email)
            left = [account.customer_number for account in only_administrator_of(session, user)]
        if left:
            refuse(f"{email} is the only administrator of {', '.join(left)}: name another one first, or close these.")
        if user.is_staff:
            refuse(f"{email} belongs to the staff. `standorte users disable` ends their access.")
        if not yes:
            typer.confirm(f"Erase {user.name} ({user.email}) for good?", abort=True, err=True)
        with database.transaction() as session:
            ask_for_erasure(session, _known(session, email), database.now())
    out.print("Their access has ended. Name and address go with the next run of the job `erasures`.", highlight=False)


@app.command()
def export(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    file: Annotated[Path | None, typer.Option("--out", help="The file; standard output without it.")] = None,
) -> None:
    """Write all data stored about a person as JSON, to answer the person's request for it (GDPR, Art. 15 and 20)."""
    with open_database() as database, database.transaction() as session:
        user = _known(session, email)
        content = json.dumps(person_data(session, user), ensure_ascii=False, indent=2)
    if file is None:
        typer.echo(content)
        return
    # For the person alone.
    file.touch(mode=0o600)
    file.write_text(content + "\n", encoding="utf-8")
    out.print(f"Written to {file}.", highlight=False)


@app.command("reset-factors")
def reset(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address with which the person signs in.")],
    proof: Annotated[str, typer.Option(help="How you know that it is the person who asks; kept in the audit log.")],
) -> None:
    """Remove all second factors and recovery codes of a person who has lost them, and sign the person out everywhere.

    The person is told by mail and can then sign in with the password alone, to set up a new factor; staff must set one
    up.
    """
    with open_database() as database, database.transaction() as session:
        user = _known(session, email)
        session.refresh(user, with_for_update=True)
        count = reset_factors(session, user, proof.strip(), database.now())
        if count:
            end_logins(session, user.id)
    if count:
        out.print(f"{email}: {count} removed, and signed out everywhere.", highlight=False, markup=False)
    else:
        out.print(f"{email} has no second factor.", highlight=False, markup=False)


def _known(session: Session, email: str) -> User:
    user = user_by_email(session, email)
    if user is None:
        refuse(f"Nobody signs in as {email}.")
    return user
