"""The directory `.standorte/` with the data of an embedded stack and its state (ports, processes, settings)."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from workers.stack.errors import AlreadyRunning, StackError
from workers.stack.processes import Identity, identify

DEFAULT = ".standorte"


@dataclass(slots=True)
class State:
    """The state of a stack, as saved in stack.json.

    `supervisor` is the process that runs the stack, None if none runs; `environment` has the settings of its child
    processes as environment variables; `children` are the child processes by name. `ports` are the servers' ports by
    name; they are kept when the stack ends, so that the next start uses them again.
    """

    supervisor: Identity | None = None
    environment: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    children: dict[str, Identity] = field(default_factory=dict)


class StackDirectory:
    """The directory with the data and the state of one embedded stack.

    It is `path`. If `path` is None, it is the directory that the variable STANDORTE_DIR names, or else `.standorte` in
    the working directory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or Path(os.environ.get("STANDORTE_DIR", DEFAULT))).absolute()
        self.postgres = self.path / "postgres"
        self.redis = self.path / "redis"
        self.kamailio = self.path / "kamailio"
        self.mail = self.path / "mail"
        self.letters = self.path / "letters"
        self.metrics = self.path / "metrics"
        self.schedule = self.path / "beat-schedule"
        self.seeded = self.path / "seeded"
        self._state_file = self.path / "stack.json"
        self._key_file = self.path / "secret_key"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory and lock it against other stacks until the end of the block, or of the process.

        Raises `AlreadyRunning` if another process holds the lock, `StackError` if this user may not write there.
        """
        self._make()
        with (self.path / "lock").open("a") as handle:
            if not _take(handle):
                raise AlreadyRunning(self._who_runs())
            yield

    def read(self) -> State:
        """Return the state saved most recently; an empty state if none was saved or stack.json is damaged."""
        try:
            raw = json.loads(self._state_file.read_text())
            return State(
                supervisor=Identity(**raw["supervisor"]) if raw["supervisor"] else None,
                environment=dict(raw["environment"]),
                ports=dict(raw["ports"]),
                children={name: Identity(**child) for name, child in raw["children"].items()},
            )
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return State()

    def write(self, state: State) -> None:
        """Save the state to stack.json atomically, readable by its owner only, because settings contain passwords."""
        unfinished = self._state_file.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(state), indent=2) + "\n")
        unfinished.replace(self._state_file)

    def secret_key(self) -> str:
        """Return the stack's SECRET_KEY. The first call generates it and saves it, readable by its owner only."""
        try:
            return self._key_file.read_text().strip()
        except FileNotFoundError:
            key = secrets.token_urlsafe(48)
            self._key_file.touch(mode=0o600)
            self._key_file.write_text(key + "\n")
            return key

    def running_environment(self) -> Mapping[str, str] | None:
        """Return the settings of the stack that runs in this directory, by environment variable; None if none runs.

        SECRET_KEY is among them.
        """
        state = self.read()
        if state.supervisor is None or not _same(state.supervisor):
            return None
        return state.environment | {"SECRET_KEY": self.secret_key()}

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.mail.mkdir(exist_ok=True)
            self.letters.mkdir(exist_ok=True)
            self.redis.mkdir(exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError
        except PermissionError:
            raise StackError(
                f"{self.path} belongs to another user. Take it over (chown -R), or name another directory:"
                " STANDORTE_DIR=…"
            ) from None

    def _who_runs(self) -> str:
        state = self.read()
        if state.supervisor is None:
            return f"A stack is starting or running in {self.path} already."
        where = state.environment.get("BASE_URL", "")
        pid = state.supervisor.pid
        return (
            f"A stack is running in {self.path} already (process {pid}): {where}\n"
            f"End it with Ctrl-C where it was started, or: kill {pid}\n"
            "For a second one beside it: STANDORTE_DIR=… PORT=… standorte up"
        )


def load_running_stack() -> bool:
    """Add the settings of the stack that runs in the directory `StackDirectory()` to `os.environ`.

    Variables that are set already stay. Does nothing if DATABASE_URL is set. Return True if a stack runs and its
    settings were added.
    """
    if "DATABASE_URL" in os.environ:
        return False
    environment = StackDirectory().running_environment()
    for name, value in (environment or {}).items():
        os.environ.setdefault(name, value)
    return environment is not None


def _take(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(remembered: Identity) -> bool:
    now = identify(remembered.pid)
    return now is not None and abs(now.started - remembered.started) < 1
