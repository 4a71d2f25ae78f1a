"""What the workers and the console commands are told by the environment, typed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """The environment lacks something or has something wrong in it; says what, by variable."""


def _postgres(url: str) -> str:
    if not url.startswith("postgresql+psycopg://"):
        # The value is not repeated: it may hold a password.
        raise ValueError("must begin with postgresql+psycopg://")
    return url


def _redis(url: str) -> str:
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("must begin with redis:// or rediss://")
    return url


def _smtp(url: str) -> str:
    if not url.startswith(("smtp://", "smtps://", "smtp+starttls://")):
        raise ValueError("must begin with smtp://, smtps:// or smtp+starttls://")
    return url


def _long(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < 32:
        raise ValueError("must have at least 32 characters")
    return secret


PostgresUrl = Annotated[str, AfterValidator(_postgres)]


class WorkerSettings(BaseSettings):
    """Read when it is made: `WorkerSettings()`. Raises `SettingsError`, which names every variable at fault."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: PostgresUrl
    """The portal's database: postgresql+psycopg://…"""
    registrar_url: PostgresUrl
    """The registrar's own database, another system: postgresql+psycopg://…"""
    redis_url: Annotated[str, AfterValidator(_redis)]
    """Where Celery's hints travel."""
    smtp_url: Annotated[str, AfterValidator(_smtp)]
    """smtp://host:1025, smtps://user:password@host:465 or smtp+starttls://user:password@host:587."""
    secret_key: Annotated[SecretStr, AfterValidator(_long)]
    """Seals SIP passwords, signs sessions. Losing it loses the sealed passwords."""
    base_url: str = "http://127.0.0.1:8000"
    """How customers reach the portal; the links in mails begin with it."""
    mail_from: str = "Standortverwaltung <standorte@portal.example>"
    letters_dir: Path = Path(".standorte/letters")
    """Where letters are put as PDF files, for the print shop to take."""
    sip_domain: str = "sip.portal.example"
    lease_seconds: Annotated[float, Field(gt=0)] = 90
    """How long a claim lasts, in seconds: what a worker that died leaves undone is taken over after it."""
    batch: Annotated[int, Field(ge=1, le=200)] = 32
    """How many due requests a worker takes at once."""
    log_format: Literal["json", "console"] = "json"
    prometheus_multiproc_dir: Path | None = None
    """Where processes on one machine keep their counters for /metrics; None: nobody collects them."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where a worker shows its processes' counters itself, for where the front cannot read them; None: nowhere."""
    metrics_host: str = "127.0.0.1"

    @model_validator(mode="after")
    def _counters_have_a_place(self) -> WorkerSettings:
        if self.metrics_port is not None and self.prometheus_multiproc_dir is None:
            raise ValueError("METRICS_PORT needs PROMETHEUS_MULTIPROC_DIR, where the counters are kept")
        return self

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        variable = "_".join(str(part) for part in problem["loc"]).upper()
        what = "is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{variable} {what}.".lstrip())
    return "\n".join(lines)
