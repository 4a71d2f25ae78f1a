"""`standorte doctor`: check that every part of the system is reachable and works."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from urllib.parse import urlsplit

import psycopg
import redis
import sqlalchemy as sa
import typer
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.table import Table

from models import migrations
from models.accounts.contract_holders import accounts_without_holder
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.jobs.jobs import last_run
from tasks.ports import GatewayError
from workers.commands.resources import out
from workers.gateways.registrar import KamailioRegistrar
from workers.gateways.subscribers import KamailioSubscribers
from workers.settings import WorkerSettings
from workers.sip.probe import NoDialTone, make_test_call

BEAT_MAY_BE_SILENT = timedelta(seconds=30)
"""The greatest age of the last sweep, a job run every two seconds; an older one means beat or the workers are down."""
CLOCK_MAY_BE_OFF = 5.0
"""The most seconds that this machine's clock may differ from the database's.

More does no harm, since the database's clock counts, but logs and other programs disagree.
"""

Check = Callable[[WorkerSettings], str]


class Broken(Exception):
    """Raised when a part of the system does not work as it should; the message says what is wrong."""


class Incomplete(Exception):
    """Raised when a part of the system works but lacks facts that customers need; the message names them."""


def doctor() -> None:
    """Check every part of the system and print a table of findings. Ends with 1 if any part is broken.

    Missing settings about the carrier and missing contract holders are named, but do not count as broken.
    """
    settings = WorkerSettings()
    table = Table("part", "", "finding", box=None, padding=(0, 1))
    broken = False
    for name, check in CHECKS.items():
        try:
            mark, finding = "[green]ok[/]", check(settings)
        except Incomplete as lacking:
            mark, finding = "[yellow]incomplete[/]", str(lacking)
        except (Broken, sa.exc.SQLAlchemyError, psycopg.Error, redis.RedisError, OSError) as error:
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
    if current != head:
        raise Broken(f"at {current or 'nothing'}, {head} is needed: standorte migrate")
    return f"at {head}"


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


def _redis(settings: WorkerSettings) -> str:
    with redis.from_url(settings.redis_url, socket_timeout=3, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        waiting = client.exists(*WorkKind)
        return f"hints wait for {waiting} of {len(WorkKind)} kinds of work"


def _mail_server(settings: WorkerSettings) -> str:
    url = urlsplit(settings.smtp_url)
    kind = smtplib.SMTP_SSL if url.scheme == "smtps" else smtplib.SMTP
    with kind(url.hostname or "", url.port or 0, timeout=5) as server:
        code, said = server.noop()
    if code != 250:
        raise Broken(f"{code} {said.decode(errors='replace')}")
    return f"{url.hostname}:{url.port}"


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
    "database": _database,
    "clock": _clock,
    "migrations": _migrations,
    "contract holders": _contract_holders,
    "registrar": _registrar,
    "dial tone": _dial_tone,
    "redis": _redis,
    "mail server": _mail_server,
    "beat and worker": _beat,
    "carrier": _carrier,
}


def _first_line(error: Exception) -> str:
    if isinstance(error, sa.exc.DBAPIError):
        return str(error.orig).splitlines()[0]
    return (str(error) or type(error).__name__).splitlines()[0]
