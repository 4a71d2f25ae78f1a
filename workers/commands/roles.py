"""`standorte roles`: the roles of the database server, for operators who set it up."""

from __future__ import annotations

from typing import Annotated

import typer

from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles, script, set_password
from workers.commands.resources import out
from workers.gateways.registrar import plain_url
from workers.settings import RolesSettings

app = typer.Typer(no_args_is_help=True, help="The database roles of each part, each with the least privileges.")

Portal = Annotated[str, typer.Option(help="The name of the portal's database.")]
Registrar = Annotated[str, typer.Option(help="The name of the registrar's database.")]


@app.command("sql")
def print_script(portal: Portal = "standorte", registrar: Registrar = "registrar") -> None:
    """Print the SQL that creates the roles and both databases where they are missing: for psql, as a superuser.

    `standorte migrate` then gives each role its privileges on the tables.
    """
    typer.echo(script(portal, registrar), nl=False)


@app.command("create")
def create(portal: Portal = "standorte", registrar: Registrar = "registrar") -> None:
    """Create the roles, and give both databases to the owner's. Safe to run twice.

    Connects as the superuser of ADMIN_URL. Passwords come from OWNER_PASSWORD, FRONT_PASSWORD and so on; a role without
    one keeps the password that it has.
    """
    settings = RolesSettings()
    url = plain_url(settings.admin_url)
    create_roles(url, {portal: PORTAL_ROLES, registrar: REGISTRAR_ROLES})
    for role in DatabaseRole:
        if password := settings.password_of(role):
            set_password(url, role, password)
    out.print(", ".join(DatabaseRole), highlight=False)
