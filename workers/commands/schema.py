"""`standorte migrate` and `standorte seed`: update the database's schema, and load the demo data."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from models import migrations
from models.contracts.catalogue import load_price_list
from models.db.privileges import grant_privileges
from models.db.row_security import apply_row_security
from models.db.session import Database
from models.people.sign_in_log import begin_access_log, is_access_log_begun
from models.telephony.area_codes import load_area_codes
from models.telephony.place_answers import load_towns
from models.vault import Vault
from models.views.person_data import make_own_data
from workers.commands.resources import out, owner_urls
from workers.demo.seed import seed as load
from workers.gateways.registrar import KamailioRegistrar, ensure_schema
from workers.settings import WorkerSettings


def migrate(
    registrar: Annotated[
        bool, typer.Option(help="Create Kamailio's tables where they are missing: without a Kamailio of its own.")
    ] = False,
    row_security: Annotated[
        bool | None,
        typer.Option(
            help="Switch row-level security for the front's role on, once all fronts run this version, or off again;"
            " and so whether sign-ins are recorded in the audit log. By default on in an empty database, and otherwise"
            " as before.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Migrate the portal's database to this version's schema; load price list, area codes and towns. Safe to run twice.

    Also gives each role of `standorte roles` its privileges on the tables, and with --registrar creates or upgrades
    Kamailio's tables. Connects as the owner's role.
    """
    portal, calls = owner_urls(WorkerSettings())
    if registrar:
        ensure_schema(calls)
    with closing(Database(portal, statement_limit=None)) as database:
        with database.engine.connect() as connection:
            before = migrations.current_revision(connection)
        if before is None and row_security is None:
            row_security = True
        migrations.upgrade(database.engine)
        grant_privileges(database, keep=row_security is not True)
        is_on = apply_row_security(database, on=row_security)
        if row_security is not None:
            begin_access_log(database, begun=row_security)
        is_begun = is_access_log_begun(database)
        make_own_data(database)
        with database.transaction() as session:
            load_price_list(session)
            load_area_codes(session)
            load_towns(session, database.now())
    after = migrations.head_revision()
    out.print(f"at {after}" if before == after else f"from {before or 'empty'} to {after}", highlight=False)
    later = "once every web has this version, standorte migrate --row-security"
    if not is_on and row_security is None:
        out.print(f"row-level security is off: {later}")
    if not is_begun and row_security is None:
        out.print(f"sign-ins are not in the audit log yet: {later}")


def seed() -> None:
    """Load the demo data, after `standorte migrate`. Safe to run twice: existing accounts and numbers do not change.

    Writes the SIP trunks of the demo to the registrar every time.
    """

    settings = WorkerSettings()
    vault = Vault(*settings.secret_keys)
    registrar = KamailioRegistrar(settings.registrar_url)
    with closing(Database(settings.database_url, statement_limit=None)) as database, closing(registrar):
        seeded = load(database, vault, settings.sip_domain, database.now(), registrar=registrar)
    out.print(f"{seeded.new_accounts} new accounts, {seeded.new_blocks} new number blocks")
