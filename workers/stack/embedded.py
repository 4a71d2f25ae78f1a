"""What the servers of the stack have in common: started and ended by tests, told to the supervisor."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from workers.stack.errors import DidNotStart
from workers.stack.processes import end_session, identify, launch, wait_for
from workers.stack.unprivileged import SystemUser


class EmbeddedServer(ABC):
    """One server. `start` and `stop` for tests; `prepare`, `command` and `is_ready` for a supervisor."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    """For a supervisor: an end in order."""

    log: Path
    user: SystemUser | None = None
    """Whom it runs as; None for ourselves."""
    directory: Path
    """Its working directory, which `prepare` makes."""
    _process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make ready what it needs, whatever happened before. Safe to run twice."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server, in the foreground."""

    def environment(self) -> Mapping[str, str] | None:
        """What it is told by the environment; None for ours."""
        return None

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers."""

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `StackError`."""
        self.prepare()
        process = launch(
            self.command(),
            log=self.log,
            env=self.environment(),
            death_signal=self.end_signal,
            user=self.user,
            directory=self.directory,
        )
        self._process = process
        if not wait_for(lambda: process.poll() is not None or self.is_ready(), patience=60):
            self.stop()
        if process.poll() is not None:
            raise DidNotStart(self.name, self.log)

    def stop(self) -> None:
        """End the server and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        identity = identify(process.pid)
        if identity is not None:
            end_session(identity, how=self.end_signal, patience=15)
        process.wait()

    @property
    def end_signal(self) -> signal.Signals:
        """How `stop` ends it, and so does the end of the process that has started it."""
        return self.stop_signal
