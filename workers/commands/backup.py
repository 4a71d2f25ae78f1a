"""`standorte backup` and `standorte restore`: save both databases and the letters to files, and restore them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from models.db.session import Database
from models.jobs.jobs import pause_job
from models.vault import Vault
from workers.backup.errors import BackupError
from workers.backup.restore import restore_backup
from workers.backup.take import take_backup
from workers.commands.resources import err, out, owner_urls, refuse, when
from workers.commands.schema import migrate
from workers.settings import WorkerSettings


def backup(
    into: Annotated[Path, typer.Argument(help="The folder that gets a new folder, named by the time, with the files.")],
) -> None:
    """Write a backup of both databases, each as of one moment, and of the letters. The system may go on running.

    SECRET_KEY is not part of the backup: keep it elsewhere. Connects as the owner's role.
    """
    settings = WorkerSettings()
    try:
        folder = take_backup(into, *owner_urls(settings), settings.letters_dir, Vault(*settings.secret_keys))
    except BackupError as error:
        refuse(str(error))
    out.print(str(folder), highlight=False, soft_wrap=True)


def restore(folder: Annotated[Path, typer.Argument(help="What `standorte backup` has printed.")]) -> None:
    """Restore a backup into two empty databases, and migrate them to this version's schema.

    Afterwards the job `registrar` is paused until `standorte reconcile registrar --resume`. Connects as the owner's
    role.
    """
    settings = WorkerSettings()
    portal, registrar = owner_urls(settings)
    try:
        contents = restore_backup(folder, portal, registrar, settings.letters_dir, Vault(*settings.secret_keys))
    except BackupError as error:
        refuse(str(error))
    try:
        migrate(registrar=True, row_security=None)
    except BaseException:
        err.print(
            "The data is restored, the schema is not migrated. Before any worker starts: `standorte migrate"
            " --registrar`, then UPDATE jobs SET paused = true WHERE name = 'registrar'."
        )
        raise
    with closing(Database(portal)) as database, database.transaction() as session:
        pause_job(session, "registrar", database.now())
    out.print(f"restored, as of {when(contents.taken_at)}", highlight=False)
    out.print("Now look: `standorte reconcile registrar --dry-run`. Then: `standorte reconcile registrar --resume`.")
