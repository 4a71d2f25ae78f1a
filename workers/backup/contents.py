"""The list of contents of a backup, with which a restore checks that the backup's files are complete and unchanged."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from models.vault import Vault
from workers.backup.errors import BackupError

PORTAL, REGISTRAR, LETTERS = "portal.dump", "registrar.dump", "letters.tar"
"""The names of a backup's files: dumps of both databases, in pg_dump's custom format, and an archive of the letters."""
_LIST = "contents.json"


class Contents(BaseModel):
    """The list of contents of a backup. `files` maps each file's name to its SHA-256 digest, in hexadecimal.

    `taken_at` is the time of the backup's snapshot, `revision` the revision of the portal's schema. `key` is a digest
    of the first key of SECRET_KEY; the key itself is not in the backup.
    """

    taken_at: datetime
    revision: str
    key: str
    files: dict[str, str]


def key_digests(vault: Vault) -> list[str]:
    """Return a digest, in hexadecimal, of each of the vault's secret keys, in their order.

    A backup contains such a digest, so that a restore notices that another key is in use.
    """
    return [digest.hex() for digest in vault.fingerprints("backup", b"key")]


def write_contents(folder: Path, taken_at: datetime, revision: str, vault: Vault) -> None:
    """Write the list of contents of a backup into its folder: digests of all files there and of the first secret key.

    `taken_at` is the time of the backup's snapshot, `revision` the revision of the portal's schema.
    """
    files = {file.name: _digest(file) for file in sorted(folder.iterdir())}
    found = Contents(taken_at=taken_at, revision=revision, key=key_digests(vault)[0], files=files)
    (folder / _LIST).write_text(found.model_dump_json(indent=2) + "\n")


def read_contents(folder: Path) -> Contents:
    """Check all files of the backup in `folder` against its list of contents, and return the list.

    Raises `BackupError` if the folder is no backup, or if a file is missing or was changed.
    """
    try:
        contents = Contents.model_validate_json((folder / _LIST).read_bytes())
    except (OSError, ValidationError):
        raise BackupError(f"{folder} is not a backup: it has no {_LIST} that can be read.") from None
    for name, digest in contents.files.items():
        file = folder / name
        if not file.is_file() or _digest(file) != digest:
            raise BackupError(f"{file} is missing or damaged. Take another backup.")
    return contents


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
