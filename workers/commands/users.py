"""`standorte users …`: what is stored about a person who can sign in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from models.emails import stored_spellings
from models.people.users import User
from models.views.person_data import person_data
from workers.commands.resources import open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="People who can sign in.")


@app.callback()
def about() -> None:
    """Serve people's requests about their own data."""


@app.command()
def export(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    file: Annotated[Path | None, typer.Option("--out", help="The file; standard output without it.")] = None,
) -> None:
    """Write everything that is stored about a person as JSON, for the person's request (GDPR, Art. 15 and 20)."""
    with open_database() as database, database.transaction() as session:
        user = session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))))
        if user is None:
            refuse(f"Nobody signs in as {email}.")
        content = json.dumps(person_data(session, user), ensure_ascii=False, indent=2)
    if file is None:
        typer.echo(content)
        return
    # For the person alone.
    file.touch(mode=0o600)
    file.write_text(content + "\n", encoding="utf-8")
    out.print(f"Written to {file}.", highlight=False)
