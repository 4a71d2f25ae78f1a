"""The files of a backup, and its list of contents, by which a restore sees that all are whole and belong together."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from models.vault import Vault
from workers.backup.errors import BackupError

PORTAL, REGISTRAR, LETTERS = "portal.dump", "registrar.dump", "letters.tar"
"""The names of the files: both databases, in pg_dump's custom format, and the folder of letters."""
_LIST = "contents.json"


class Contents(BaseModel):
    """What a backup holds. Its files are listed with their SHA-256 digests, in hexadecimal.

    `taken_at` is the moment of the portal's data, `revision` that of its schema. `key` is a digest of the first
    SECRET_KEY, which is not in the backup.
    """

    taken_at: datetime
    revision: str
    key: str
    files: dict[str, str]


def key_digests(vault: Vault) -> list[str]:
    """Return the digests, in hexadecimal, by which a backup recognizes the vault's keys, in their order."""
    return [digest.hex() for digest in vault.fingerprints("backup", b"key")]


def write_contents(folder: Path, taken_at: datetime, revision: str, vault: Vault) -> None:
    """Write the list of contents of a backup: digests of the files in the folder and of the first secret key.

    `taken_at` is the moment of the portal's data, `revision` its schema revision.
    """
    files = {file.name: _digest(file) for file in sorted(folder.iterdir())}
    found = Contents(taken_at=taken_at, revision=revision, key=key_digests(vault)[0], files=files)
    (folder / _LIST).write_text(found.model_dump_json(indent=2) + "\n")


def read_contents(folder: Path) -> Contents:
    """Return the list of contents of a backup. Raises `BackupError` if it is no backup, or a file is not as it was."""
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
