"""The composition root: builds the runtime that the tasks use from the settings, and closes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import parseaddr

import models.schema  # noqa: F401 - foreign keys name tables that nothing else here imports
from models.db.session import Database
from models.values import utc_now
from models.vault import Vault
from tasks.ports import Ports
from tasks.runtime import Runtime
from workers.gateways.call_records import KamailioCallRecords
from workers.gateways.letters import LetterFolder
from workers.gateways.registrar import KamailioRegistrar
from workers.gateways.smtp import SmtpMailer
from workers.gateways.subscribers import KamailioSubscribers
from workers.settings import WorkerSettings


def build_runtime(settings: WorkerSettings) -> Runtime:
    """Build the runtime of a worker process: database, gateways, vault and settings. Connects to nothing yet."""
    return Runtime(
        # One connection for the work, and one to reschedule a request when the first connection fails.
        database=Database(settings.database_url, pool_size=2),
        ports=Ports(
            registrar=KamailioRegistrar(settings.registrar_url),
            mailer=SmtpMailer(settings.smtp_url, settings.mail_from),
            letters=LetterFolder(settings.letters_dir, parseaddr(settings.mail_from)[0]),
            subscribers=KamailioSubscribers(settings.registrar_url),
            calls=KamailioCallRecords(settings.registrar_url),
        ),
        vault=Vault(*settings.secret_keys),
        clock=utc_now,
        sip_domain=settings.sip_domain,
        base_url=settings.base_url,
        mail_domain=parseaddr(settings.mail_from)[1].rpartition("@")[2],
        lease=timedelta(seconds=settings.lease_seconds),
        batch=settings.batch,
    )


def close_runtime(runtime: Runtime) -> None:
    """Close the connections of the runtime to mail server, registrar and database."""
    runtime.ports.mailer.close()
    runtime.ports.registrar.close()
    runtime.database.close()


@contextmanager
def open_database(settings: WorkerSettings) -> Iterator[Database]:
    """Open the portal's database for the length of the block, and close the database afterwards."""
    database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.close()
