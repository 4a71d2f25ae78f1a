"""Tests of the command `standorte audit verify`, with which operators check the seals of the audit log."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.people.audit_log import AuditEvent, record_of_carrier
from tests.factories import NOW, make_account
from workers.cli import cli
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture(autouse=True)
def _log(database_settings: None, database: Database) -> None:
    """Write three entries into the audit log, and seal them with the hashes by which a later change is found."""
    with database.transaction() as session:
        account = make_account(session)
        for _ in range(3):
            record_of_carrier(session, account, AuditEvent.TRUNK_SUSPENDED, NOW)
    assert run("reconcile", "audit_seal").exit_code == 0


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_a_whole_log_is_said_to_be_whole_and_its_head_can_be_kept() -> None:
    said = run("audit", "verify")
    assert said.exit_code == 0, said.output
    assert "3 entries have a seal, 0 wait for theirs" in said.stdout
    assert said.stdout.splitlines()[-1] == "ok: the audit log is what was written"
    [head] = re.findall(r"^head (3:[0-9a-f]{64})$", said.stdout, re.M)
    assert run("audit", "verify", "--head", head).exit_code == 0
    other = run("audit", "verify", "--head", f"3:{'00' * 32}")
    assert other.exit_code == 1
    assert "The seals of the audit log had reached 3" in other.stdout
    assert run("audit", "verify", "--head", "yesterday").exit_code == 2


def test_a_changed_log_is_named_and_ends_the_command_with_1(postgres: EmbeddedPostgres) -> None:
    engine = sa.create_engine(postgres.url("standorte"))
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text("UPDATE audit_entries SET facts = '{\"forged\": true}' WHERE id = 2"))
    engine.dispose()
    said = run("audit", "verify")
    assert said.exit_code == 1
    assert "Entry 2 of the audit log, or its seal 2, was changed after it was sealed." in said.stdout
    assert "The audit log is not what was written." in said.stderr and "ok" not in said.stdout.split()
