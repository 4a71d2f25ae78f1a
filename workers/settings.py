"""The settings of beat, the workers and the console commands, read from the environment, typed and validated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator
from sqlalchemy import make_url

from models.db.roles import DatabaseRole
from models.retention import Periods
from tasks.settings import BrokerSettings, PostgresUrl, SecretSettings, Settings, sendable

PUBLISHED_PASSWORD = "standorte"  # noqa: S105
"""The former default password of the superuser and the roles in docker-compose.yml, which is a public file."""
SIP_DOMAIN = "sip.portal.example"
"""The default domain of SIP trunks."""


def _smtp(url: str) -> str:
    if not url.startswith(("smtp://", "smtps://", "smtp+starttls://")):
        raise ValueError("must begin with smtp://, smtps:// or smtp+starttls://")
    return url


class BeatSettings(BrokerSettings):
    """The settings of Celery's beat, which only sends messages to the workers on a schedule."""


class WorkerSettings(BeatSettings, SecretSettings):
    """The settings of a worker, which connects to every part of the system. Console commands use some of them."""

    database_url: PostgresUrl
    """The URL of the portal's database, with the workers' role: postgresql+psycopg://…"""
    registrar_url: PostgresUrl
    """The URL of the registrar's database, a separate system, with the workers' role: postgresql+psycopg://…"""
    owner_database_url: PostgresUrl | None = None
    """The URL of the portal's database with the owner's role, for `migrate`. None: `database_url`."""
    owner_registrar_url: PostgresUrl | None = None
    """The URL of the registrar's database with the owner's role, for `migrate`. None: `registrar_url`."""
    front_database_url: PostgresUrl | None = None
    """The URL with which the web front end connects to the portal's database, for the checks of `standorte doctor`.

    None if it is not known."""
    front_registrar_url: PostgresUrl | None = None
    """The URL with which the web front end connects to the registrar's database, for the checks of `standorte doctor`.

    None if it is not known."""
    smtp_url: Annotated[str, AfterValidator(_smtp)]
    """The mail server: smtp://host:1025, smtps://user:password@host:465 or smtp+starttls://user:password@host:587."""
    mail_from: str = "Standortverwaltung <standorte@portal.example>"
    office_email: Annotated[str, AfterValidator(sendable)] | None = None
    """The e-mail address to which the carrier gets mails about requests that wait for the back office.

    None: `carrier_email`."""
    letters_dir: Path = Path(".standorte/letters")
    """The folder to which letters are written as PDF files, for the print shop to fetch."""
    sip_domain: str = SIP_DOMAIN
    sip_server: Annotated[str, Field(pattern=r"^[^:]+:[0-9]+$")] | None = None
    """Host and port where phones register, for the test call of `standorte doctor`; None means no test call."""
    lease_seconds: Annotated[float, Field(gt=0)] = 90
    """The seconds for which a worker claims a request. It renews the claim while it works on the request.

    When a claim ends, another worker may take over the request."""
    batch: Annotated[int, Field(ge=1, le=200)] = 32
    """The greatest number of requests that a worker claims at once."""
    stop_seconds: Annotated[int, Field(ge=1)] = 45
    """The seconds that a worker has to finish running tasks when it is asked to stop; then its processes are killed."""
    keep_mails_days: Annotated[int, Field(ge=30, le=4000)] = Periods().mails.days
    """The days for which a mail that is no business letter is kept after it was sent."""
    keep_documents_days: Annotated[int, Field(ge=30, le=4000)] = Periods().documents.days
    """The days for which a document that was uploaded as address proof is kept after the decision on it."""
    keep_files_days: Annotated[int, Field(ge=30, le=2000)] = Periods().files.days
    """The days for which an uploaded file is kept after all of its requests have ended."""
    keep_business_years: Annotated[int, Field(ge=6, le=30)] = Periods().business_years
    """The full years for which business letters, requests and closed accounts' contacts are kept (§ 257 HGB: 6)."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port on which a worker serves its metrics, for machines without the web front end. None: it serves none."""
    metrics_host: str = "127.0.0.1"

    @property
    def periods(self) -> Periods:
        """Return the retention periods of mails, documents, files and business records that the carrier has chosen."""
        return Periods(
            mails=timedelta(days=self.keep_mails_days),
            documents=timedelta(days=self.keep_documents_days),
            files=timedelta(days=self.keep_files_days),
            business_years=self.keep_business_years,
        )

    @model_validator(mode="after")
    def _counters_have_a_place(self) -> WorkerSettings:
        if self.metrics_port is not None and self.prometheus_multiproc_dir is None:
            raise ValueError("METRICS_PORT needs PROMETHEUS_MULTIPROC_DIR, where the counters are kept")
        return self


class RolesSettings(Settings):
    """The settings of `standorte roles create`: a superuser's URL, and a password for each role.

    A role whose password is None keeps the password that it has.
    """

    admin_url: PostgresUrl
    """The URL of any database of the server, with a superuser's role: postgresql+psycopg://…"""
    owner_password: SecretStr | None = None
    front_password: SecretStr | None = None
    worker_password: SecretStr | None = None
    kamailio_password: SecretStr | None = None
    metrics_password: SecretStr | None = None

    @model_validator(mode="after")
    def _published_passwords_stay_in_a_trial(self) -> RolesSettings:
        published = [role for role in DatabaseRole if self.password_of(role) == PUBLISHED_PASSWORD]
        if published and make_url(self.admin_url).password != PUBLISHED_PASSWORD:
            names = ", ".join(f"{role.name}_PASSWORD" for role in published)
            raise ValueError(
                f"{names}: the former default of docker-compose.yml, with which everybody who reaches the server can"
                " connect. Set one of your own for each role: only where the superuser still has it too is it accepted"
            )
        return self

    def password_of(self, role: DatabaseRole) -> str | None:
        """Return the password that the settings give to the database role; None if they give none."""
        passwords = {
            DatabaseRole.OWNER: self.owner_password,
            DatabaseRole.FRONT: self.front_password,
            DatabaseRole.WORKER: self.worker_password,
            DatabaseRole.KAMAILIO: self.kamailio_password,
            DatabaseRole.METRICS: self.metrics_password,
        }
        found = passwords[role]
        return None if found is None else found.get_secret_value()
