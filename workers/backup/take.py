"""Make a backup: both databases, and the letters that wait for the print shop, as a folder of files."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psycopg

from models.db.connections import TimedConnection
from models.vault import Vault
from workers.backup import postgres_tools
from workers.backup.contents import LETTERS, PORTAL, REGISTRAR, write_contents
from workers.backup.errors import BackupError
from workers.gateways.registrar import plain_url

# Behind a table that is locked for longer, customers' requests wait too: the backup gives up.
_DUMP = ("--format=custom", "--lock-wait-timeout=10s")
# The transaction is idle for as long as the dump takes, so only by these the server notices that our host has vanished.
_OPTIONS = "-c statement_timeout=20s -c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6"


def take_backup(into: Path, portal: str, registrar: str, letters: Path, vault: Vault) -> Path:
    """Write a backup to a new folder in `into`, named by its time in UTC, and return that folder.

    `portal` and `registrar` are the databases' URLs, `letters` is the folder of letters. The system can stay in use:
    each database is read from a snapshot. The registrar's snapshot is taken first, so that every trunk in it is also in
    the portal's data. Raises `BackupError` if a database does not answer or the disk is full; then no folder is left.
    """
    with ExitStack() as stack:
        there = stack.enter_context(_snapshot(registrar))
        here = stack.enter_context(_snapshot(portal))
        taken_at, revision = _facts(here[0])
        folder = into / taken_at.strftime("%Y-%m-%dT%H%M%SZ")
        unfinished = folder.with_suffix(".unfinished")
        try:
            # For the operator alone: the databases hold everything about customers.
            unfinished.mkdir(mode=0o700, parents=True)
            dumps = [
                postgres_tools.start("pg_dump", url, *_DUMP, "--snapshot", snapshot, "--file", unfinished / name)
                for url, (_, snapshot), name in ((registrar, there, REGISTRAR), (portal, here, PORTAL))
            ]
            try:
                for dump in dumps:
                    postgres_tools.end(dump)
            finally:
                for dump in dumps:
                    dump.kill()
            with tarfile.open(unfinished / LETTERS, "w") as tar:
                for letter in sorted(letters.glob("*.pdf")):
                    # The print shop may fetch it at this moment.
                    with suppress(FileNotFoundError):
                        tar.add(letter, letter.name)
            write_contents(unfinished, taken_at, revision, vault)
            os.sync()
            unfinished.rename(folder)
        except OSError as error:
            raise BackupError(f"{folder} cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextmanager
def _snapshot(url: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """Open a snapshot of a database; yield the connection that keeps it open, and the snapshot's name for `pg_dump`.

    Close the connection, and with it the snapshot, at the end of the block. Raises `BackupError` if the database does
    not answer.
    """
    try:
        connection = TimedConnection.within(30, plain_url(url), options=_OPTIONS)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        # It waits for the whole dump.
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        found = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert found is not None
    except psycopg.Error as error:
        raise BackupError(f"A database does not answer: {str(error).splitlines()[0]}") from error
    try:
        yield connection, found[0]
    finally:
        # Not committed: a connection that was lost meanwhile has served its purpose.
        connection.close()


def _facts(connection: psycopg.Connection) -> tuple[datetime, str]:
    found = connection.execute("SELECT now() AT TIME ZONE 'UTC', version_num FROM alembic_version").fetchone()
    if found is None:
        raise BackupError("The portal's database has no schema yet: `standorte migrate` makes it.")
    return found
