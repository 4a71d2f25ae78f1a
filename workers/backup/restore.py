"""Restore a backup into empty databases."""

from __future__ import annotations

import tarfile
from pathlib import Path

import psycopg

from models import migrations
from models.db.connections import TimedConnection
from models.vault import Vault
from workers.backup import postgres_tools
from workers.backup.contents import LETTERS, PORTAL, REGISTRAR, Contents, key_digests, read_contents
from workers.backup.errors import BackupError
from workers.gateways.registrar import plain_url


def restore_backup(folder: Path, portal: str, registrar: str, letters: Path, vault: Vault) -> Contents:
    """Restore a backup made by `take_backup` into two empty databases and a folder of letters.

    `folder` is the backup's folder. `portal` and `registrar` are the databases' URLs with the owner's role. Each
    database is restored completely or not at all; a letter whose file exists already is left unchanged. Return the
    backup's list of contents.

    Raises `BackupError` before anything is written if a database is not empty, or if the backup is damaged or was made
    by a newer version or with another SECRET_KEY. Also raises it, later, if `pg_restore` fails.
    """
    contents = read_contents(folder)
    if contents.key not in key_digests(vault):
        raise BackupError(
            "The backup was made with another key: SIP passwords and second factors in it could not be read."
            " Set SECRET_KEY to that one, or put it behind the new one, separated by a comma."
        )
    if not migrations.is_known(contents.revision):
        raise BackupError(f"The backup has the schema {contents.revision} of a newer version: install that version.")
    for url in (portal, registrar):
        _ensure_empty(url)
    # The portal's last: a database that holds tables is not restored into, so that a failure in between can be repeated
    # after the registrar's was emptied, and nobody takes orders without it.
    for url, name in ((registrar, REGISTRAR), (portal, PORTAL)):
        options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
        postgres_tools.end(postgres_tools.start("pg_restore", url, *options, folder / name))
    _unpack(folder / LETTERS, letters)
    return contents


def _ensure_empty(url: str) -> None:
    try:
        with TimedConnection.within(30, plain_url(url), options="-c statement_timeout=20s") as connection:
            found = connection.execute(
                "SELECT current_database(), (SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
            ).fetchone()
    except psycopg.Error as error:
        raise BackupError(f"A database does not answer: {str(error).splitlines()[0]}") from error
    assert found is not None
    if found[1]:
        raise BackupError(
            f"The database {found[0]} is not empty: it has {found[1]} tables. A backup is restored into empty databases"
            " only; `standorte roles sql` creates them."
        )


def _unpack(tar: Path, letters: Path) -> None:
    letters.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar) as files:
        for file in files:
            # Only the name: a path in the archive leads nowhere else.
            letter, content = letters / Path(file.name).name, files.extractfile(file)
            if content is not None and not letter.exists():
                letter.write_bytes(content.read())
