"""`standorte roles`: the roles on a server of their own, new or with the data of an earlier version."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.jobs.jobs import last_successes
from models.jobs.outages import current_outages
from models.views.queue_counts import message_counts, oldest_due, request_counts
from tests.factories import prepare
from workers.cli import cli
from workers.gateways.registrar import ensure_schema
from workers.stack.postgres import EmbeddedPostgres

OWNERS = """
SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'
UNION SELECT DISTINCT sequenceowner FROM pg_sequences WHERE schemaname = 'public'
UNION SELECT rolname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = current_database()
UNION SELECT rolname FROM pg_proc JOIN pg_roles ON pg_roles.oid = proowner
WHERE pronamespace = 'public'::regnamespace AND proname ~ '^(refuse|go_forward|keep_newest|begin_anew)'
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Start a server on which no role exists but the superuser."""
    found = EmbeddedPostgres(tmp_path_factory.mktemp("roles") / "data", fsync=False)
    found.start()
    yield found
    found.stop()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def psql(server: EmbeddedPostgres, file: Path) -> None:
    """Run a script as an operator does."""
    command = [server._program("psql"), "--no-psqlrc", "--file", str(file), server.url("postgres", driver="")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_printed_script_takes_over_an_installation_of_one_role(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("portal", "calls"):
        server.create_database(name)
    # As before: the superuser has made everything, and everybody is the superuser.
    prepare(server.url("portal"))
    ensure_schema(server.url("calls"))
    said = run("roles", "sql", "--portal", "portal", "--registrar", "calls")
    assert said.exit_code == 0
    script = tmp_path / "roles.sql"
    script.write_text(said.stdout)
    for _ in range(2):
        psql(server, script)
    for name in ("portal", "calls"):
        with psycopg.connect(server.url(name, driver="")) as connection:
            assert connection.execute(OWNERS).fetchall() == [(DatabaseRole.OWNER,)]
    for variable in ("REDIS_URL", "SMTP_URL"):
        monkeypatch.setenv(variable, f"{variable.partition('_')[0].lower()}://127.0.0.1:1")
    monkeypatch.setenv("SECRET_KEY", "for-development-only: the key of the tests")
    monkeypatch.setenv("DATABASE_URL", server.url("portal", DatabaseRole.WORKER))
    monkeypatch.setenv("REGISTRAR_URL", server.url("calls", DatabaseRole.WORKER))
    refused = run("migrate", "--registrar")
    assert refused.exit_code != 0
    monkeypatch.setenv("OWNER_DATABASE_URL", server.url("portal", DatabaseRole.OWNER))
    monkeypatch.setenv("OWNER_REGISTRAR_URL", server.url("calls", DatabaseRole.OWNER))
    migrated = run("migrate", "--registrar")
    assert migrated.exit_code == 0, migrated.output
    assert run("seed").exit_code == 0


def test_the_printed_script_makes_the_databases_too(server: EmbeddedPostgres, tmp_path: Path) -> None:
    script = tmp_path / "roles.sql"
    script.write_text(run("roles", "sql", "--portal", "new portal", "--registrar", "new-calls").stdout)
    for _ in range(2):
        psql(server, script)
    with psycopg.connect(server.url("new portal", DatabaseRole.OWNER, driver="")) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    prepare(server.url("new portal", DatabaseRole.OWNER))
    # The metrics' role can read all that the metrics ask for.
    metrics = Database(server.url("new portal", DatabaseRole.METRICS))
    with closing(metrics), metrics.transaction() as session:
        assert (request_counts(session), message_counts(session)) == ([], [])
        assert (oldest_due(session, metrics.now()), last_successes(session), current_outages(session)) == (None, {}, [])


def test_passwords_come_from_the_environment_and_go_as_hashes(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("standorte", "registrar"):
        server.create_database(name)
    monkeypatch.setenv("ADMIN_URL", server.url("standorte"))
    monkeypatch.setenv("FRONT_PASSWORD", "front-secret")
    for _ in range(2):
        said = run("roles", "create")
        assert said.exit_code == 0, said.output
    with psycopg.connect(server.url("postgres", driver="")) as connection:
        stored: dict[str, str | None] = dict(
            connection.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname ~ '^standorte_'")
        )
    assert str(stored.pop(DatabaseRole.FRONT)).startswith("SCRAM-SHA-256$")
    assert set(stored.values()) == {None}
