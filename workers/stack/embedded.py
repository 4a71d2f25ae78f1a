"""The base class of the servers in the embedded stack: PostgreSQL, Redis and Kamailio."""

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
    """A server of the embedded stack: how to prepare, start, check and stop it.

    Tests run the server with `start` and `stop`. A supervisor starts the process itself, and uses `prepare`, `command`
    and `is_ready`.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    """The signal by which a supervisor stops the server in an orderly way."""

    log: Path
    user: SystemUser | None = None
    """The user that the server runs as; None for the user of this process."""
    directory: Path
    """The server's working directory, which `prepare` creates."""
    _process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Create the files and directories that the server needs, and remove files that a crash has left.

        Safe to run twice.
        """

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""

    def environment(self) -> Mapping[str, str] | None:
        """Return the server's environment variables; None for those of this process."""
        return None

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the server answers now, within about a second."""

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises `DidNotStart` if the server ends before that or does not answer within 60 seconds, or the `StackError`
        that `prepare` or `command` raises.
        """
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
        """Stop the server and wait until its processes have ended. Does nothing if the server was not started."""
        process, self._process = self._process, None
        if process is None:
            return
        identity = identify(process.pid)
        if identity is not None:
            end_session(identity, how=self.end_signal, patience=15)
        process.wait()

    @property
    def end_signal(self) -> signal.Signals:
        """Return the signal that stops the server. It is sent by `stop`, and by the kernel when this process dies."""
        return self.stop_signal
