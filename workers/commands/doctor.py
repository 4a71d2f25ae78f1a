"""`standorte doctor`: check that every part of the system is reachable and works."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import psycopg
import sqlalchemy as sa
import typer
from rich.table import Table

from models import migrations
from models.accounts.contract_holders import accounts_without_holder
from models.db.privileges import columns_read_before
from models.db.row_security import is_enforced
from models.db.session import Database
from models.jobs.jobs import last_run
from models.people.sign_in_log import is_access_log_begun
from models.vault import Vault
from models.version import VERSION
from models.views.sealed_secrets import unreadable_secrets
from tasks.ports import GatewayError
from workers.commands.resources import out
from workers.gateways.registrar import KamailioRegistrar
from workers.gateways.smtp import SmtpMailer
from workers.gateways.subscribers import KamailioSubscribers
from workers.settings import WorkerSettings
from workers.sip.probe import NoDialTone, make_test_call

BEAT_MAY_BE_SILENT = timedelta(seconds=30)
"""The greatest age of the last sweep, a job run every second; an older one means beat or the workers are down."""
CLOCK_MAY_BE_OFF = 5.0
"""The greatest number of seconds by which this machine's clock may differ from the database's.

A greater difference does not harm the portal, which uses the database's clock, but the times in logs are wrong.
"""

# What a role is that may do more than a part needs. Tables' owners include the members of their owner.
_POWER = """
CASE WHEN rolsuper THEN 'superuser' WHEN EXISTS (
    SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND pg_has_role(pg_roles.oid, relowner, 'USAGE')
) THEN 'owner' ELSE '' END
"""
_MYSELF = sa.text(f"SELECT rolname, {_POWER} FROM pg_roles WHERE rolname = current_user")  # noqa: S608
_CONNECTED = sa.text(f"""
    SELECT DISTINCT application_name, rolname, {_POWER} FROM pg_stat_activity JOIN pg_roles ON pg_roles.oid = usesysid
    WHERE datname = current_database() AND application_name IN ('standorte front', 'standorte worker', 'kamailio')
""")  # noqa: S608

Check = Callable[[WorkerSettings], str]


class Broken(Exception):
    """Raised by a check when a part of the system does not work as it should; the message says what is wrong."""


class Incomplete(Exception):
    """Raised by a check when a part of the system works, but its set-up is incomplete; the message says what to do."""


def doctor() -> None:
    """Check every part of the system and print a table of findings. Ends with 1 if any part is broken.

    Missing settings about the carrier, missing contract holders, database roles with more rights than needed, and
    row-level security that is off are shown as incomplete, which does not count as broken.
    """
    settings = WorkerSettings()
    table = Table("part", "", "finding", box=None, padding=(0, 1))
    broken = False
    for name, check in CHECKS.items():
        try:
            mark, finding = "[green]ok[/]", check(settings)
        except Incomplete as lacking:
            mark, finding = "[yellow]incomplete[/]", str(lacking)
        except (Broken, sa.exc.SQLAlchemyError, psycopg.Error, OSError) as error:
            broken = True
            mark, finding = "[red]broken[/]", _first_line(error)
        table.add_row(name, mark, finding)
    out.print(table)
    if broken:
        raise typer.Exit(1)


def _database(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database, database.engine.connect() as connection:
        return f"PostgreSQL {connection.scalar(sa.text('SHOW server_version'))}"


def _migrations(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database, database.engine.connect() as connection:
        current, head = migrations.current_revision(connection), migrations.head_revision()
    if not migrations.serves(current):
        raise Broken(f"at {current or 'nothing'}, {head} is needed: standorte migrate")
    return f"at {current}" if current == head else f"at {current}, newer than this version, which goes on meanwhile"


def _roles(settings: WorkerSettings) -> str:
    urls = {
        "worker": settings.database_url,
        "worker at the registrar": settings.registrar_url,
        "front": settings.front_database_url,
        "front at the registrar": settings.front_registrar_url,
    }
    # A part may be connected as several roles, such as processes that were not restarted.
    found = set[tuple[str, str, str]]()
    for part, url in urls.items():
        if url is not None:
            with closing(Database(url)) as database, database.engine.connect() as connection:
                found |= {(name, role, power) for name, role, power in connection.execute(_CONNECTED)}
                role, power = connection.execute(_MYSELF).one()
                found.add((part, role, power))
    if mighty := [f"{part} as {role} ({power})" for part, role, power in sorted(found) if power]:
        raise Incomplete(f"with more rights than needed: {', '.join(mighty)}; see standorte roles sql")
    return ", ".join(f"{part} as {role}" for part, role, _ in sorted(found))


def _row_security(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database:
        if not is_enforced(database):
            raise Incomplete("off: once every web has this version, standorte migrate --row-security")
        with database.engine.connect() as connection:
            if columns_read_before(connection):
                raise Incomplete("on, but web can still read the hashes of logins: standorte migrate --row-security")
        if not is_access_log_begun(database):
            raise Incomplete("on, but sign-ins are not in the audit log yet: standorte migrate --row-security")
        return "on"


def _key(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database, database.transaction() as session:
        unreadable = unreadable_secrets(session, Vault(*settings.secret_keys))
    if unreadable:
        raise Broken(", ".join(f"SECRET_KEY does not open {name}: {count} tried" for name, count in unreadable.items()))
    return "opens the oldest and newest secrets"


def _clock(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database, database.engine.connect():
        off = -database.clock_offset
    if abs(off) > CLOCK_MAY_BE_OFF:
        raise Broken(f"this machine's clock is {off:+.0f} s off the database's, which counts: does NTP run?")
    return f"{off:+.1f} s off the database's"


def _registrar(settings: WorkerSettings) -> str:
    with closing(Database(settings.registrar_url)) as database, database.engine.connect() as connection:
        subscribers = connection.scalar(sa.select(sa.func.count()).select_from(sa.table("subscriber")))
    return f"{subscribers} subscribers"


def _broker(settings: WorkerSettings) -> str:
    # Imported here because Celery is slow to import.
    from tasks.hints import broker_fault, sending_app

    with sending_app("standorte-doctor", settings.hints_url):
        if fault := broker_fault():
            raise Broken(fault)
    return "takes hints"


def _wrong_tries(settings: WorkerSettings) -> str:
    from tasks.attempt_counters import counters_fault

    if settings.redis_url is None:
        return "counted in the database"
    if fault := counters_fault(settings.redis_url):
        raise Broken(f"Redis: {fault}. Each process of the front counts for itself")
    return "counted in Redis"


def _mail_server(settings: WorkerSettings) -> str:
    # As mails are sent: the same port, encryption and login.
    with closing(SmtpMailer(settings.smtp_url, settings.mail_from)) as mailer:
        try:
            mailer.ping()
        except GatewayError as error:
            raise Broken(f"{mailer.server}: {error}") from error
        return mailer.server


def _dial_tone(settings: WorkerSettings) -> str:
    if settings.sip_server is None:
        return "not checked: SIP_SERVER says where phones register"
    registrar = KamailioRegistrar(settings.registrar_url)
    subscribers = KamailioSubscribers(settings.registrar_url)
    try:
        with closing(registrar):
            return make_test_call(settings.sip_server, settings.sip_domain, registrar, subscribers)
    except (NoDialTone, GatewayError) as error:
        raise Broken(str(error)) from error


def _beat(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database, database.transaction() as session:
        ran, now = last_run(session, "sweep"), database.now()
    if ran is None:
        raise Broken("the sweep never ran: does beat run, and a worker?")
    age = now - ran
    if age > BEAT_MAY_BE_SILENT:
        raise Broken(f"the sweep ran {age.total_seconds():.0f} s ago: does beat run, and a worker?")
    return f"the sweep ran {age.total_seconds():.0f} s ago"


def _carrier(settings: WorkerSettings) -> str:
    if unset := settings.unset_carrier():
        raise Incomplete(f"not set, so not shown to customers: {', '.join(unset)}")
    return f"{settings.carrier_name}, {settings.carrier_address}"


def _contract_holders(settings: WorkerSettings) -> str:
    with closing(Database(settings.database_url)) as database, database.transaction() as session:
        missing = accounts_without_holder(session)
    if missing:
        raise Incomplete(f"missing for {missing} accounts: an administrator enters it in the portal")
    return "all known"


CHECKS: dict[str, Check] = {
    "version": lambda _: VERSION,
    "database": _database,
    "clock": _clock,
    "migrations": _migrations,
    "roles": _roles,
    "row security": _row_security,
    "secret key": _key,
    "contract holders": _contract_holders,
    "registrar": _registrar,
    "dial tone": _dial_tone,
    "broker": _broker,
    "wrong tries": _wrong_tries,
    "mail server": _mail_server,
    "beat and worker": _beat,
    "carrier": _carrier,
}


def _first_line(error: Exception) -> str:
    if isinstance(error, sa.exc.DBAPIError):
        return str(error.orig).splitlines()[0]
    return (str(error) or type(error).__name__).splitlines()[0]
