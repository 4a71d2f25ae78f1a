"""Build the resources that the tasks use (database, gateways, keys, limits) from the settings, and close them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from email.utils import parseaddr

import models.schema  # noqa: F401 - foreign keys name tables that nothing else here imports
from models.db.session import Database, OnDue
from models.vault import Vault
from tasks.hints import send_hints
from tasks.ports import Ports
from tasks.runtime import Runtime
from workers.gateways.call_records import KamailioCallRecords
from workers.gateways.letters import LetterFolder
from workers.gateways.registrar import KamailioRegistrar
from workers.gateways.smtp import SmtpMailer
from workers.gateways.subscribers import KamailioSubscribers
from workers.settings import WorkerSettings

LOCK_LIMIT = 2.0
"""The greatest number of seconds for which a worker waits for a database lock."""


def build_runtime(
    settings: WorkerSettings, on_due: OnDue = send_hints, *, stopping: Callable[[], bool] = lambda: False
) -> Runtime:
    """Build the resources of a worker process from its settings. Connects to nothing yet.

    `on_due` is called after each commit that made rows due for processing, with the kinds of work of those rows.
    `stopping` returns whether the worker was asked to stop.
    """
    # One connection for the work, and one to keep claims alive meanwhile.
    database = Database(
        settings.database_url, pool_size=2, on_due=on_due, lock_limit=LOCK_LIMIT, name="standorte worker"
    )
    return Runtime(
        database=database,
        ports=Ports(
            registrar=KamailioRegistrar(settings.registrar_url),
            mailer=SmtpMailer(settings.smtp_url, settings.mail_from, settings.carrier_email, database.now),
            letters=LetterFolder(settings.letters_dir, parseaddr(settings.mail_from)[0], settings.carrier),
            subscribers=KamailioSubscribers(settings.registrar_url),
            calls=KamailioCallRecords(settings.registrar_url),
        ),
        vault=Vault(*settings.secret_keys),
        clock=database.now,
        sip_domain=settings.sip_domain,
        base_url=settings.base_url,
        mail_domain=parseaddr(settings.mail_from)[1].rpartition("@")[2],
        lease=timedelta(seconds=settings.lease_seconds),
        batch=settings.batch,
        carrier=settings.carrier,
        limits=settings.limits,
        office_email=settings.office_email or settings.carrier_email,
        periods=settings.periods,
        stopping=stopping,
    )


def close_runtime(runtime: Runtime) -> None:
    """Close the runtime's connections to the mail server, the registrar and the database."""
    runtime.ports.mailer.close()
    runtime.ports.registrar.close()
    runtime.database.close()
