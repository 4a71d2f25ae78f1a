"""Fixtures of the workers' tests: environment variables of console commands, demo data, and running programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.values import utc_now
from models.vault import Vault
from tests import forked_programs
from tests.snapshots import written_once
from workers.demo.seed import seed
from workers.stack.postgres import EmbeddedPostgres


@pytest.fixture
def database(database: Database, worker_database: Database) -> Database:
    """Provide the portal's database, connected as the workers' role; it is emptied after the test."""
    return worker_database


@pytest.fixture
def database_settings(
    postgres: EmbeddedPostgres, database: Database, registrar_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set the environment variables of console commands, with the databases of the test.

    Nothing listens at the addresses of the other services.
    """
    monkeypatch.setenv("DATABASE_URL", postgres.url("standorte", DatabaseRole.WORKER))
    monkeypatch.setenv("REGISTRAR_URL", postgres.url("registrar", DatabaseRole.WORKER))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    monkeypatch.setenv("SECRET_KEY", "for-development-only: the key of the tests")


@pytest.fixture
def demo_data(database: Database, portal_url: str) -> None:
    """Load the demo data into the portal's database; the registrar's database stays empty."""
    written_once("company", [portal_url], lambda: seed(database, Vault("a key"), "sip.example.com", utc_now()))


class Children:
    """Starts programs that run during a test, and writes the output of all of them to one log."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "log"
        self._log.touch()
        self._ends = ExitStack()

    def start(self, command: list[str], **settings: str) -> BaseProcess:
        """Start a program with the test's environment and the additional variables `settings`; return its process."""
        return self._start(command, settings, interpreter=False)

    def start_as_operators(self, command: list[str], **settings: str) -> BaseProcess:
        """Start a console command as operators do, and return its process.

        A command that becomes another program, such as `standorte web`, starts that program with a new Python
        interpreter. The environment is that of `start`.
        """
        return self._start(command, settings, interpreter=True)

    def _start(self, command: list[str], settings: dict[str, str], *, interpreter: bool) -> BaseProcess:
        child = forked_programs.start(command, os.environ | settings, self._log, interpreter=interpreter)
        self._ends.callback(forked_programs.kill, child)
        return child

    def said(self) -> str:
        """Return the output of all programs so far, as one text."""
        return self._log.read_text()

    def end(self) -> None:
        """Kill all programs and wait until they have ended."""
        self._ends.close()


@pytest.fixture
def children(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    """Provide a starter of programs, which use the tests' Redis; all are killed after the test."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    found = Children(tmp_path)
    yield found
    found.end()
