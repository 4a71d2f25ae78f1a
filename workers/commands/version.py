"""`standorte version`: print the version of this program."""

from __future__ import annotations

from models.version import VERSION
from workers.commands.resources import out


def version() -> None:
    """Print the version of this program; CHANGELOG.md says what came with it. Needs no settings."""
    out.print(VERSION, highlight=False)
