"""Run PostgreSQL's programs `pg_dump` and `pg_restore` on a database given by its URL."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from models.db.connections import CONNECT_LIMIT, TCP_LIMITS
from workers.backup.errors import BackupError
from workers.gateways.registrar import plain_url
from workers.stack.errors import NotInstalled
from workers.stack.postgres import program

LIMITS = {"connect_timeout": CONNECT_LIMIT, **TCP_LIMITS}
"""The libpq connection parameters of the programs: the time limits for connecting and for a silent server."""
_LONGEST = 6 * 3600.0
"""Seconds after which a program is assumed to hang, and is killed."""


def start(name: str, url: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start `pg_dump` or `pg_restore` (`name`) on the database at `url`, and return the running process.

    `arguments` are further command line arguments. Uses the programs of the wheel with the embedded PostgreSQL if it is
    installed, otherwise those in PATH. Raises `BackupError` if there are none. Wait for the process with `end`.
    """
    facts = LIMITS | conninfo_to_dict(plain_url(url))
    # A command line can be read by everybody on the machine.
    password = {"PGPASSWORD": str(facts.pop("password"))} if "password" in facts else {}
    command = [
        _program(name),
        "--dbname",
        make_conninfo(**{name: str(fact) for name, fact in facts.items()}),
        *map(str, arguments),
    ]
    return subprocess.Popen(command, env=os.environ | password, stderr=subprocess.PIPE, text=True)


def end(running: subprocess.Popen[str]) -> None:
    """Wait until a program started by `start` has ended. Raises `BackupError`, with its error output, if it failed.

    Also raises `BackupError`, after killing the program, if it has not ended after six hours.
    """
    try:
        _, said = running.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        raise BackupError(f"{_named(running)} has not ended after {_LONGEST:g} seconds, and was killed.") from None
    if running.returncode != 0:
        raise BackupError(f"{_named(running)} failed: {said.strip()}")


def _named(running: subprocess.Popen[str]) -> str:
    return Path(str(running.args[0])).name  # type: ignore[index]


def _program(name: str) -> str:
    try:
        return program(name)
    except NotInstalled:
        found = shutil.which(name)
    if found is None:
        raise BackupError(f"{name} is not installed: it comes with PostgreSQL's client, version 18 or newer.")
    return found
