"""Tests of the call that `standorte doctor` makes to check whether phones have a dial tone."""

from __future__ import annotations

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from models.db.roles import DatabaseRole
from models.db.session import Database
from tests.sip.conftest import DOMAIN
from workers.commands.doctor import doctor as command
from workers.gateways.registrar import plain_url
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import free_port
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture
def doctor(
    postgres: EmbeddedPostgres, database: Database, registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> CliRunner:
    """Set the environment to the test's databases, and return a runner of console commands.

    Nothing listens at the addresses of the other services.
    """
    monkeypatch.setenv("DATABASE_URL", postgres.url("standorte", DatabaseRole.WORKER))
    monkeypatch.setenv("REGISTRAR_URL", postgres.url("registrar", DatabaseRole.WORKER))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setenv("SECRET_KEY", "for-development-only: the key of the tests")
    monkeypatch.setenv("SIP_DOMAIN", DOMAIN)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def dial_tone(doctor: CliRunner) -> str:
    """Run `standorte doctor` and return the line of its output about the dial tone."""
    app = typer.Typer()
    app.command()(command)
    return next(line for line in doctor.invoke(app).output.splitlines() if "dial tone" in line)


def test_a_test_call_is_made_and_leaves_nothing_behind(
    kamailio: EmbeddedKamailio, doctor: CliRunner, registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_SERVER", f"127.0.0.1:{kamailio.port}")
    said = dial_tone(doctor)
    assert "ok" in said and "a test call was answered" in said
    with psycopg.connect(plain_url(registrar_url)) as connection:
        for table in ("subscriber", "dbaliases", "usr_preferences", "location", "refusals", "calls"):
            assert connection.execute(f"SELECT * FROM {table}".encode()).fetchall() == []


def test_a_server_with_another_domain_is_broken(
    kamailio: EmbeddedKamailio, doctor: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_SERVER", f"127.0.0.1:{kamailio.port}")
    monkeypatch.setenv("SIP_DOMAIN", "sip.elsewhere")
    said = dial_tone(doctor)
    assert "broken" in said and "REGISTER: 401 Unauthorized" in said


def test_a_server_that_is_not_there_is_broken(doctor: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"127.0.0.1:{free_port(udp=True)}"
    monkeypatch.setenv("SIP_SERVER", nowhere)
    said = dial_tone(doctor)
    assert "broken" in said and f"{nowhere} does not answer" in said


def test_without_an_address_none_is_made(doctor: CliRunner) -> None:
    assert "not checked" in dial_tone(doctor)
