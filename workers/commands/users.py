"""`standorte users …`: export what is stored about a person who can sign in, erase it, and reset second factors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from sqlalchemy.orm import Session

from models.emails import stored_spellings
from models.people.logins import end_logins
from models.people.second_factors import reset_factors
from models.people.users import User
from models.staff.erasure import ask_for_erasure, only_administrator_of
from models.views.person_data import person_data
from workers.commands.resources import open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="People who can sign in.")


@app.command()
def erase(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End a person's access for good and take their name and address away (GDPR, Art. 17). This cannot be undone.

    Kept are contracts with their contacts and holders, orders and business letters, and the audit log. The workers' job
    `erasures` removes name and address within minutes. Refused for the only administrator of an account, and for staff.
    """
    with open_database() as database:
        with database.transaction() as session:
            user = _known(session, email)
            left = [account.customer_number for account in only_administrator_of(session, user)]
        if left:
            refuse(f"{email} is the only administrator of {', '.join(left)}: name another one first, or close these.")
        if user.is_staff:
            refuse(f"{email} belongs to the staff; a superuser of the database ends that first.")
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
    """Write everything that is stored about a person as JSON, for the person's request (GDPR, Art. 15 and 20)."""
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
    """Remove all second factors and recovery codes of a person who has lost them, and end all of the person's logins.

    The person is told by mail and can sign in with the password alone, to set up a new factor; staff have to set one
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
    user = session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))))
    if user is None:
        refuse(f"Nobody signs in as {email}.")
    return user
