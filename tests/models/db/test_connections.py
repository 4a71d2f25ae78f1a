"""Tests that each connection to PostgreSQL has time limits: to connect, for each answer, for idle transactions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from models.db import connections
from models.db.advisory_locks import AdvisoryLock
from models.db.roles import DatabaseRole, TablesInUse, create_roles, set_password
from models.vault import Vault
from tests.proxy import LOOPBACK, proxy_to
from workers.backup import postgres_tools
from workers.backup.errors import BackupError
from workers.backup.restore import _ensure_empty
from workers.backup.take import take_backup
from workers.gateways.registrar import KamailioRegistrar, ensure_schema, plain_url
from workers.stack.postgres import EmbeddedPostgres

_ROOT = Path(__file__).parents[3]
_ROOMS = ("models", "tasks", "workers", "web")


@pytest.fixture
def silent(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Yield the URL, in libpq's form, of a database server that accepts connections and never answers."""
    with proxy_to(f"{postgres.socket_dir}/.s.PGSQL.5432") as proxy:
        proxy.silence()
        yield f"postgresql://standorte@{LOOPBACK}:{proxy.port}/registrar"


def _dump(url: str) -> None:
    postgres_tools.end(postgres_tools.start("pg_dump", url, "--schema-only"))


def _back_up(url: str) -> None:
    take_backup(Path("/nowhere"), url, url, Path("/nowhere"), Vault("of these tests, which has 32 characters"))


CONNECTING: dict[str, Callable[[str], object]] = {
    "schema": ensure_schema,
    "roles": lambda url: create_roles(url, {"registrar": ()}),
    "password": lambda url: set_password(url, DatabaseRole.FRONT, "secret"),
    "backup": _back_up,
    "restore": _ensure_empty,
    "pg_dump": _dump,
}


def test_nobody_waits_for_a_silent_server_to_greet(
    silent: str, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr(connections, "CONNECT_LIMIT", 2)
    monkeypatch.setitem(postgres_tools.LIMITS, "connect_timeout", 2)
    # All at once, since each of them waits.
    with ThreadPoolExecutor(len(CONNECTING)) as pool:
        waiting = {name: pool.submit(connect, silent) for name, connect in CONNECTING.items()}
        for name, connecting in waiting.items():
            with subtests.test(name), pytest.raises((psycopg.OperationalError, BackupError)):
                connecting.result()


def test_a_program_of_postgres_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = tmp_path / "pg_dump"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(postgres_tools, "_program", lambda _: str(hanging))
    monkeypatch.setattr(postgres_tools, "_LONGEST", 0.2)
    running = postgres_tools.start("pg_dump", "postgresql:///standorte")
    with pytest.raises(BackupError, match="pg_dump has not ended after"):
        postgres_tools.end(running)
    assert running.returncode is not None


def test_a_lock_of_a_stopped_program_is_waited_for_only_so_long(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.db.roles._TURN", "SET lock_timeout = '200ms'")
    monkeypatch.setattr("workers.gateways.registrar._SCHEMA_OPTIONS", "-c lock_timeout=200ms")
    with psycopg.connect(postgres.url("registrar", driver="")) as stopped:
        for lock in (AdvisoryLock.ROLES, AdvisoryLock.REGISTRAR_SCHEMA):
            stopped.execute("SELECT pg_advisory_xact_lock(%s)", [int(lock)])
        with pytest.raises(TablesInUse, match="another program"):
            create_roles(postgres.url("registrar", driver=""), {})
        # A lock of one database is none in another, so the first is not in the way.
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ensure_schema(postgres.url("registrar", DatabaseRole.OWNER))


def test_a_worker_that_was_stopped_holds_a_trunk_only_so_long(
    registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_LIMIT", 0.3)
    stopped = KamailioRegistrar(registrar_url)
    # As between two statements of `put_trunks`; nothing more comes until the server has ended the transaction.
    stopped._connected().execute("BEGIN")
    stopped._connected().execute("SELECT pg_advisory_xact_lock(42)")
    with psycopg.connect(plain_url(registrar_url), autocommit=True) as other:
        other.execute("SET lock_timeout = '15s'")
        other.execute("SELECT pg_advisory_xact_lock(42)")
    stopped.close()


def test_no_part_connects_but_with_limits() -> None:
    """Search the program's code for calls that connect without time limits: psycopg's `connect`, and `create_engine`.

    Only the two modules that set the limits may contain such a call.
    """
    own = {("models/db/connections.py", "connect"), ("models/db/session.py", "create_engine")}
    found = set()
    for room in _ROOMS:
        for file in (_ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    of = ast.unparse(node.func.value)
                    is_psycopg = node.func.attr == "connect" and of in ("psycopg", "psycopg.Connection", "cls")
                    if is_psycopg or node.func.attr == "create_engine":
                        found.add((str(file.relative_to(_ROOT)), node.func.attr))
    assert found == own
