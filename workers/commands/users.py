"""`standorte users …`: help for people who cannot sign in any more."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
import typer

from models.emails import stored_spellings
from models.people.logins import end_logins
from models.people.second_factors import reset_factors
from models.people.users import User
from workers.commands.resources import open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="People and their logins.")


@app.command("reset-factors")
def reset(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address with which the person signs in.")],
    proof: Annotated[str, typer.Option(help="How you know that it is the person who asks; kept in the audit log.")],
) -> None:
    """Remove all second factors and recovery codes of a person who has lost them, and end all of the person's logins.

    The person is told by mail, signs in with the password alone, and can set up a new factor then; staff have to.
    """
    with open_database() as database, database.transaction() as session:
        user = session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))).with_for_update())
        if user is None:
            refuse(f"Nobody signs in with {email}.")
        count = reset_factors(session, user, proof.strip(), database.now())
        if count:
            end_logins(session, user.id)
    if count:
        out.print(f"{email}: {count} removed, and signed out everywhere.", highlight=False, markup=False)
    else:
        out.print(f"{email} has no second factor.", highlight=False, markup=False)
