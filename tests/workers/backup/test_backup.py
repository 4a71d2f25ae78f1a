"""Tests that a backup can be taken while the system runs, and that it can be restored into empty databases only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner, Result

from models import migrations
from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles
from models.db.session import Database
from models.jobs.jobs import Job, is_paused, latest_runs
from models.values import utc_now
from models.vault import Vault
from tests.factories import prepare
from workers.cli import cli
from workers.demo.seed import seed
from workers.gateways.registrar import KamailioRegistrar, ensure_schema
from workers.stack.postgres import EmbeddedPostgres

KEY = "the key of these tests has 32 characters or more"
OTHER_KEY = "another key that also has 32 characters or more"
TAKEN = ("taken_portal", "taken_registrar")
BACK = ("back_portal", "back_registrar")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Provide a running PostgreSQL server with the database roles, and with two databases that have the demo data."""
    found = EmbeddedPostgres(tmp_path_factory.mktemp("backup") / "data", fsync=False)
    found.start()
    create_databases(found, TAKEN)
    portal, registrar = (found.url(name, DatabaseRole.OWNER) for name in TAKEN)
    prepare(portal)
    ensure_schema(registrar)
    database = Database(portal)
    gateway = KamailioRegistrar(registrar)
    seed(database, Vault(KEY), "sip.example.com", utc_now(), registrar=gateway)
    gateway.close()
    database.close()
    yield found
    found.stop()


@pytest.fixture
def empty(server: EmbeddedPostgres) -> None:
    """Replace the databases into which tests restore (`BACK`) by empty ones."""
    for name in BACK:
        server.drop_database(name)
    create_databases(server, BACK)


def create_databases(server: EmbeddedPostgres, names: tuple[str, str]) -> None:
    """Create two empty databases that belong to the owner's role, and the database roles that each needs.

    `names` are the names of the portal's and of the registrar's database.
    """
    for name in names:
        server.create_database(name)
    roles = dict(zip(names, (PORTAL_ROLES, REGISTRAR_ROLES), strict=True))
    create_roles(server.url("postgres", driver=""), roles)


@pytest.fixture(autouse=True)
def settings(server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables of console commands, with the databases that have the demo data (`TAKEN`)."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setenv("SECRET_KEY", KEY)
    monkeypatch.setenv("LETTERS_DIR", str(tmp_path / "letters"))
    connect(server, TAKEN, monkeypatch)


def connect(server: EmbeddedPostgres, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables that name the databases; `names` are those of the portal's and the registrar's."""
    for name, setting in zip(names, ("DATABASE_URL", "REGISTRAR_URL"), strict=True):
        monkeypatch.setenv(setting, server.url(name, DatabaseRole.WORKER))
        monkeypatch.setenv(f"OWNER_{setting}", server.url(name, DatabaseRole.OWNER))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def taken(into: Path) -> Path:
    """Take a backup into a new folder below `into` by the command `standorte backup`; return the new folder."""
    said = run("backup", into)
    assert said.exit_code == 0, said.output
    return Path(said.output.strip())


def rows(server: EmbeddedPostgres, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the database `name`, by table and sorted. Each row is a tuple with one text."""
    with psycopg.connect(server.url(name, driver="")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        read = sql.SQL("SELECT whole::text FROM {} AS whole ORDER BY 1")
        return {table: connection.execute(read.format(sql.Identifier(table))).fetchall() for (table,) in tables}


@pytest.mark.usefixtures("empty")
def test_all_that_was_there_is_there_again_and_the_job_that_removes_waits_for_a_look(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a letter.pdf").write_bytes(b"%PDF")
    folder = taken(tmp_path / "kept")
    before = [rows(server, name) for name in TAKEN]
    assert len(before[0]["accounts"]) > 5 and len(before[1]["subscriber"]) > 1

    connect(server, BACK, monkeypatch)
    monkeypatch.setenv("LETTERS_DIR", str(tmp_path / "elsewhere"))
    said = run("restore", folder)
    assert said.exit_code == 0, said.output
    after = [rows(server, name) for name in BACK]
    assert after[0].pop("jobs") != before[0].pop("jobs")
    assert after == before
    assert (tmp_path / "elsewhere" / "a letter.pdf").read_bytes() == b"%PDF"

    database = Database(server.url(BACK[0], DatabaseRole.WORKER))
    with database.transaction() as session:
        assert is_paused(session, "registrar")
    assert "is paused since a backup was restored" in run("reconcile", "registrar").output
    assert "paused: a backup was restored" in run("reconcile").output
    assert "A dry run" in run("reconcile", "registrar", "--dry-run").output
    with database.transaction() as session:
        assert latest_runs(session) == {}
    assert run("reconcile", "registrar", "--resume").exit_code == 0
    with database.transaction() as session:
        assert not session.get_one(Job, "registrar").paused
    assert run("audit", "verify").exit_code == 0
    database.close()


def test_a_backup_is_restored_into_empty_databases_only(tmp_path: Path) -> None:
    said = run("restore", taken(tmp_path))
    assert said.exit_code == 1
    assert "The database taken_portal is not empty" in said.output


@pytest.mark.usefixtures("empty")
def test_a_backup_of_another_key_or_a_newer_version_or_with_damage_is_refused(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = taken(tmp_path)
    connect(server, BACK, monkeypatch)
    monkeypatch.setenv("SECRET_KEY", OTHER_KEY)
    assert "made with another key" in run("restore", folder).output
    monkeypatch.setenv("SECRET_KEY", f"{OTHER_KEY},{KEY}")
    contents = folder / "contents.json"
    whole = contents.read_text()
    contents.write_text(whole.replace(migrations.head_revision(), "9999"))
    assert "install that version" in run("restore", folder).output
    contents.write_text(whole)
    with (folder / "portal.dump").open("ab") as dump:
        dump.write(b"x")
    assert "portal.dump is missing or damaged" in run("restore", folder).output
    assert "is not a backup" in run("restore", tmp_path).output
    assert [rows(server, name) for name in BACK] == [{}, {}]


def test_a_backup_that_cannot_be_written_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNER_REGISTRAR_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    said = run("backup", tmp_path / "kept")
    assert said.exit_code == 1 and "does not answer" in said.output
    assert not (tmp_path / "kept").exists()


def test_what_needs_a_session_refuses_pgbouncer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNER_DATABASE_URL", "postgresql+psycopg://owner@127.0.0.1:6432/portal?pgbouncer=true")
    for command in (["backup", tmp_path], ["restore", tmp_path], ["migrate"], ["secrets", "reseal"]):
        said = run(*command)
        assert said.exit_code == 1
        assert "does not work by PgBouncer" in said.output
