"""What the console commands find in their environment."""

from __future__ import annotations

import pytest

from models.session import Database
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture
def database_settings(
    postgres: EmbeddedPostgres, database: Database, registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test's databases, and nobody at the other addresses."""
    monkeypatch.setenv("DATABASE_URL", postgres.url("standorte"))
    monkeypatch.setenv("REGISTRAR_URL", registrar_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setenv("SECRET_KEY", "a key that is only good for tests, long enough")
