"""What beat, the workers and the console commands are told by the environment, typed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from tasks.settings import PostgresUrl, RedisUrl, SecretSettings, Settings

SIP_DOMAIN = "sip.portal.example"
"""The domain of SIP trunks where nothing else is said."""


def _smtp(url: str) -> str:
    if not url.startswith(("smtp://", "smtps://", "smtp+starttls://")):
        raise ValueError("must begin with smtp://, smtps:// or smtp+starttls://")
    return url


class BeatSettings(Settings):
    """Beat sends hints on a schedule and needs nothing else."""

    redis_url: RedisUrl
    """Where Celery's hints travel."""


class WorkerSettings(BeatSettings, SecretSettings):
    """Of a worker, which talks to everything; the console commands find what they need among them."""

    database_url: PostgresUrl
    """The portal's database: postgresql+psycopg://…"""
    registrar_url: PostgresUrl
    """The registrar's own database, another system: postgresql+psycopg://…"""
    smtp_url: Annotated[str, AfterValidator(_smtp)]
    """smtp://host:1025, smtps://user:password@host:465 or smtp+starttls://user:password@host:587."""
    mail_from: str = "Standortverwaltung <standorte@portal.example>"
    letters_dir: Path = Path(".standorte/letters")
    """Where letters are put as PDF files, for the print shop to take."""
    sip_domain: str = SIP_DOMAIN
    sip_server: Annotated[str, Field(pattern=r"^[^:]+:[0-9]+$")] | None = None
    """Host and port where phones register, for `standorte doctor`; None: it makes no test call."""
    lease_seconds: Annotated[float, Field(gt=0)] = 90
    """How long a claim lasts, in seconds: what a worker that died leaves undone is taken over after it."""
    batch: Annotated[int, Field(ge=1, le=200)] = 32
    """How many due requests a worker takes at once."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where a worker shows its processes' counters itself, for where the front cannot read them; None: nowhere."""
    metrics_host: str = "127.0.0.1"

    @model_validator(mode="after")
    def _counters_have_a_place(self) -> WorkerSettings:
        if self.metrics_port is not None and self.prometheus_multiproc_dir is None:
            raise ValueError("METRICS_PORT needs PROMETHEUS_MULTIPROC_DIR, where the counters are kept")
        return self
