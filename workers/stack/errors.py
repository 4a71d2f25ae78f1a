"""Errors that keep the embedded stack from running, with messages for the person who started it."""

from __future__ import annotations

from pathlib import Path


class StackError(Exception):
    """Raised when the stack cannot start or continue; the message says why, and what to do."""


class NotInstalled(StackError):
    """Raised when a program that the stack needs is not installed."""


class PortInUse(StackError):
    """Raised when another program listens on `port`, the port chosen for the web front end."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(
            f"Port {port} is in use by another program.\n"
            f"Choose another one: PORT={port + 1} make run (or: standorte up --port {port + 1})"
        )


class OtherPostgresVersion(StackError):
    """Raised when another major version of PostgreSQL wrote the data directory than the one installed.

    `found` is the version that wrote the data, `wanted` the installed one.
    """

    def __init__(self, data_dir: Path, found: str, wanted: str) -> None:
        self.found, self.wanted = found, wanted
        super().__init__(
            f"The data in {data_dir} was written by PostgreSQL {found}; PostgreSQL {wanted}, which is"
            " installed here, cannot read it.\n"
            f"To begin anew and keep the old data aside:  mv {data_dir} {data_dir}-{found}\n"
            f"To take the data along: check out the version before, start it, and save it with\n"
            f"    pg_dump --format=custom --file=standorte.dump DATABASE_URL\n"
            "then move the directory aside as above, start this version, and load it with pg_restore."
        )


class AlreadyRunning(StackError):
    """Raised when another process already runs, or starts, a stack in the same stack directory."""


class DidNotStart(StackError):
    """Raised when the child process `name` has ended before it was ready, or was not ready in time.

    The message has the last lines of the file `log`, if there is one.
    """

    def __init__(self, name: str, log: Path | None = None) -> None:
        said = ""
        if log is not None and log.exists():
            lines = log.read_text(errors="replace").splitlines()[-15:]
            said = "".join(f"\n    {line}" for line in lines)
        super().__init__(f"{name} did not start.{said}")
