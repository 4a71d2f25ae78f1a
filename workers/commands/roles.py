"""`standorte roles …`: print or run the SQL that creates a PostgreSQL role for each part of the system."""

from __future__ import annotations

from typing import Annotated

import typer

from models.db.roles import (
    PORTAL_ROLES,
    REGISTRAR_ROLES,
    DatabaseRole,
    TablesInUse,
    create_roles,
    creation_script,
    hand_over_script,
    set_password,
)
from workers.commands.resources import out, refuse
from workers.gateways.registrar import plain_url
from workers.settings import RolesSettings

app = typer.Typer(no_args_is_help=True, help="The database roles of each part, each with the least privileges.")

Portal = Annotated[str, typer.Option(help="The name of the portal's database.")]
Registrar = Annotated[str, typer.Option(help="The name of the registrar's database.")]


HandOver = Annotated[
    bool,
    typer.Option(
        "--hand-over",
        help="Take both databases, with all tables, from the role that owns them, which can no longer use them.",
    ),
]


@app.command("sql")
def print_script(portal: Portal = "standorte", registrar: Registrar = "registrar", hand_over: HandOver = False) -> None:
    """Print the SQL, for psql as a superuser, that creates the missing roles and the two databases if missing.

    `standorte migrate` then gives each role its privileges on the tables. With `--hand-over`: print the SQL that gives
    databases and tables of an earlier version to the owner's role; run it once every part connects as its own role.
    """
    typer.echo((hand_over_script if hand_over else creation_script)(portal, registrar), nl=False)


@app.command("create")
def create(portal: Portal = "standorte", registrar: Registrar = "registrar", hand_over: HandOver = False) -> None:
    """Create the roles where they are missing; with `--hand-over`, also give both databases to the owner's role.

    Connects as the superuser of ADMIN_URL to databases that exist already. Passwords come from OWNER_PASSWORD,
    FRONT_PASSWORD and so on; a role whose password is not set there keeps the one that it has. Safe to run twice.
    """
    settings = RolesSettings()
    url = plain_url(settings.admin_url)
    try:
        create_roles(url, {portal: PORTAL_ROLES, registrar: REGISTRAR_ROLES}, hand_over=hand_over)
    except TablesInUse as error:
        refuse(str(error))
    for role in DatabaseRole:
        if password := settings.password_of(role):
            set_password(url, role, password)
    out.print(", ".join(DatabaseRole), highlight=False)
