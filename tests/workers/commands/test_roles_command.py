"""Tests of `standorte roles` on separate PostgreSQL servers: a new one, and one with data of an earlier version."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles
from models.db.session import Database
from models.jobs.jobs import last_successes
from models.jobs.outages import current_outages
from models.views.queue_counts import message_counts, oldest_due, request_counts
from tasks.settings import SettingsError
from tests.factories import prepare
from tests.fakes import wait_until
from workers.cli import cli
from workers.gateways.registrar import ensure_schema
from workers.settings import PUBLISHED_PASSWORD, RolesSettings
from workers.stack.postgres import EmbeddedPostgres, program

OWNERS = """
SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'
UNION SELECT DISTINCT sequenceowner FROM pg_sequences WHERE schemaname = 'public'
UNION SELECT rolname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = current_database()
UNION SELECT rolname FROM pg_proc JOIN pg_roles ON pg_roles.oid = proowner
WHERE pronamespace = 'public'::regnamespace AND proname ~ '^(refuse|go_forward|keep_newest|begin_anew)'
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Provide a running PostgreSQL server without any role except the superuser's."""
    found = EmbeddedPostgres(tmp_path_factory.mktemp("roles") / "data", fsync=False)
    found.start()
    yield found
    found.stop()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def start_psql(server: EmbeddedPostgres, script: Path) -> subprocess.Popen[str]:
    """Start psql, connected as the superuser, with this SQL script; return its process."""
    command = [program("psql"), "--no-psqlrc", "--file", str(script), server.url("postgres", driver="")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def psql(server: EmbeddedPostgres, script: Path) -> None:
    """Run this SQL script with psql, connected as the superuser. Fails if psql fails."""
    running = start_psql(server, script)
    said, _ = running.communicate()
    assert running.returncode == 0, said


def printed(file: Path, *arguments: str) -> Path:
    """Write the SQL that `standorte roles sql` prints with these arguments to `file`; return the file."""
    said = run("roles", "sql", *arguments)
    assert said.exit_code == 0
    file.write_text(said.stdout)
    return file


@pytest.fixture
def earlier(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """Provide two databases of an earlier version, whose tables belong to one role; yield a connection as this role.

    The connection is to the portal's database. Databases and role are deleted after the test.
    """
    for name in ("portal", "calls"):
        server.create_database(name)
    with psycopg.connect(server.url("postgres", driver=""), autocommit=True) as connection:
        connection.execute("CREATE ROLE everything LOGIN")
        connection.execute("ALTER DATABASE portal OWNER TO everything")
    with psycopg.connect(server.url("portal", driver=""), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    # The other database is a superuser's, and the role connects as everybody may.
    with psycopg.connect(server.url("calls", driver=""), autocommit=True) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO everything")
    prepare(server.url("portal", "everything"))
    ensure_schema(server.url("calls", "everything"))
    with psycopg.connect(server.url("portal", "everything", driver=""), autocommit=True) as connection:
        yield connection
    with psycopg.connect(server.url("postgres", driver=""), autocommit=True) as connection:
        for name in ("portal", "calls"):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute("DROP ROLE everything")


def owners(server: EmbeddedPostgres, name: str) -> set[str]:
    with psycopg.connect(server.url(name, driver="")) as connection:
        return {owner for (owner,) in connection.execute(OWNERS)}


@pytest.fixture
def settings(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set the environment variables that every command needs, except those of the databases.

    Return the `MonkeyPatch` with which the test sets further variables.
    """
    for variable in ("REDIS_URL", "SMTP_URL"):
        monkeypatch.setenv(variable, f"{variable.partition('_')[0].lower()}://127.0.0.1:1")
    monkeypatch.setenv("SECRET_KEY", "for-development-only: the key of the tests")
    return monkeypatch


def test_no_step_of_the_way_from_one_role_to_several_stops_a_part(
    server: EmbeddedPostgres, earlier: psycopg.Connection, tmp_path: Path, settings: pytest.MonkeyPatch
) -> None:
    names = ("--portal", "portal", "--registrar", "calls")
    creation = printed(tmp_path / "roles.sql", *names)
    for _ in range(2):
        psql(server, creation)
    # The old role's parts go on, also with new connections.
    assert owners(server, "portal") == {"everything"}
    assert owners(server, "calls") == {"everything", "standorte"}
    with psycopg.connect(server.url("calls", "everything", driver="")) as connection:
        connection.execute("SELECT FROM calls")
    earlier.execute("UPDATE users SET locale = locale")
    settings.setenv("DATABASE_URL", server.url("portal", "everything"))
    settings.setenv("REGISTRAR_URL", server.url("calls", "everything"))
    migrated = run("migrate", "--registrar")
    assert migrated.exit_code == 0, migrated.output
    # Now each part can be restarted with its own role, while others still have the old one.
    settings.setenv("DATABASE_URL", server.url("portal", DatabaseRole.WORKER))
    settings.setenv("REGISTRAR_URL", server.url("calls", DatabaseRole.WORKER))
    assert run("seed").exit_code == 0
    earlier.execute("UPDATE users SET locale = locale")
    earlier.close()
    hand_over = printed(tmp_path / "hand-over.sql", *names, "--hand-over")
    for _ in range(2):
        psql(server, hand_over)
    assert owners(server, "portal") == owners(server, "calls") == {DatabaseRole.OWNER}
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(server.url("portal", "everything", driver=""))
    assert run("seed").exit_code == 0
    refused = run("migrate", "--registrar")
    assert refused.exit_code != 0
    settings.setenv("OWNER_DATABASE_URL", server.url("portal", DatabaseRole.OWNER))
    settings.setenv("OWNER_REGISTRAR_URL", server.url("calls", DatabaseRole.OWNER))
    # A front of an earlier version tells nobody's name, until row-level security is switched on.
    for option, sees in {
        "--registrar": True,
        "--row-security": False,
        "--no-registrar": False,
        "--no-row-security": True,
    }.items():
        migrated = run("migrate", option)
        assert migrated.exit_code == 0, migrated.output
        assert ("row-level security is off" in migrated.output) is (option == "--registrar")
        assert "sign-ins are not in the audit log yet" not in migrated.output
        with psycopg.connect(server.url("portal", DatabaseRole.FRONT, driver="")) as connection:
            assert bool(connection.execute("SELECT FROM accounts").fetchall()) is sees, option
    for said in ([run("migrate")], [run("migrate", "--row-security"), run("migrate")]):
        assert ("sign-ins are not in the audit log yet" in said[-1].output) is (len(said) == 1)


@pytest.mark.parametrize("way", ["script", "program"])
def test_a_long_transaction_delays_its_own_table_only(
    server: EmbeddedPostgres, earlier: psycopg.Connection, tmp_path: Path, way: str
) -> None:
    names = ("--portal", "portal", "--registrar", "calls")
    psql(server, printed(tmp_path / "roles.sql", *names))
    ensure_schema(server.url("calls", "everything"))
    script = printed(tmp_path / "hand-over.sql", *names, "--hand-over")
    databases = {"portal": PORTAL_ROLES, "calls": REGISTRAR_ROLES}
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(server.url("calls", driver="")) as backup,
        psycopg.connect(server.url("calls", DatabaseRole.KAMAILIO, driver=""), autocommit=True) as kamailio,
    ):
        backup.execute("SELECT FROM calls")
        if way == "script":
            done = thread.submit(psql, server, script)
        else:
            done = thread.submit(create_roles, server.url("postgres", driver=""), databases, pause=0.1)
        # Everything but the one table is handed over, in spite of it.
        wait_until(lambda: left_in(server, "calls") == ["calls"])
        kamailio.execute("SET lock_timeout = '1s'")
        kamailio.execute("SELECT FROM subscriber")
        # Also the function that deletes old calls, which acts as its owner: the table's may still be the other one.
        kamailio.execute("SET lock_timeout = '20s'")
        kamailio.execute(
            "INSERT INTO calls (username, domain, direction, own_number, other_number, status, result) "
            "SELECT 'user', 'domain', 'in', '', '', 200, '' FROM generate_series(1, 60)"
        )
        backup.rollback()
        done.result(60)
    assert owners(server, "portal") == owners(server, "calls") == {DatabaseRole.OWNER}


def left_in(server: EmbeddedPostgres, database: str) -> list[str]:
    """Return the names of the tables in `database` that still belong to the role of the earlier version."""
    with psycopg.connect(server.url(database, driver="")) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE tableowner = 'everything'")
        return [name for (name,) in found]


def test_the_printed_script_makes_the_databases_too(server: EmbeddedPostgres, tmp_path: Path) -> None:
    script = printed(tmp_path / "roles.sql", "--portal", "new 'portal", "--registrar", "new-calls")
    for _ in range(2):
        psql(server, script)
    # Which nobody needs to hand over.
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(server.url("new 'portal", DatabaseRole.KAMAILIO, driver=""))
    with psycopg.connect(server.url("new 'portal", DatabaseRole.OWNER, driver="")) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    prepare(server.url("new 'portal", DatabaseRole.OWNER))
    # The metrics' role can read all that the metrics ask for.
    metrics = Database(server.url("new 'portal", DatabaseRole.METRICS))
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


@pytest.mark.parametrize(("superuser", "accepted"), [("standorte", True), ("of-our-own", False), ("", False)])
def test_the_published_password_is_refused_beside_a_superuser_with_another(
    monkeypatch: pytest.MonkeyPatch, superuser: str, accepted: bool
) -> None:
    monkeypatch.setenv("ADMIN_URL", f"postgresql+psycopg://standorte:{superuser}@127.0.0.1/standorte")
    for role in DatabaseRole:
        monkeypatch.setenv(f"{role.name}_PASSWORD", f"of our own for {role}")
    assert RolesSettings().password_of(DatabaseRole.OWNER) == "of our own for standorte_owner"
    monkeypatch.setenv("OWNER_PASSWORD", PUBLISHED_PASSWORD)
    if accepted:
        assert RolesSettings().password_of(DatabaseRole.OWNER) == PUBLISHED_PASSWORD
    else:
        with pytest.raises(SettingsError, match=r"^OWNER_PASSWORD: the former default"):
            RolesSettings()
