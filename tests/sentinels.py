"""A Redis master, its replica and a sentinel for tests: a broker of Celery whose replica can replace the master."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis

from tests.fakes import wait_until
from workers.stack.ports import LOOPBACK
from workers.stack.redis import EmbeddedRedis

PASSWORD = "of/the@tests"
NAME = "hints"


class RedisServer(EmbeddedRedis):
    """A Redis server with a password, and with `lines` added to its configuration.

    With `sentinel` it is a Redis Sentinel, which watches other servers. Without `port` a free port is chosen.
    """

    def __init__(
        self, directory: Path, *lines: str, password: str = PASSWORD, sentinel: bool = False, port: int | None = None
    ) -> None:
        super().__init__(directory, port=port)
        self._password = password
        self._lines, self._sentinel = lines, sentinel

    def prepare(self) -> None:
        """Write the server's configuration file."""
        super().prepare()
        known = self._configuration.read_text().splitlines()
        if self._sentinel:
            known = [line for line in known if not line.startswith(("save", "appendonly"))]
        self._configuration.write_text("\n".join([*known, *self._lines]) + "\n")

    def command(self) -> list[str]:
        """Return the command line of the server or sentinel."""
        return [*super().command(), *(["--sentinel"] if self._sentinel else [])]


@dataclass(frozen=True, slots=True)
class Watched:
    """A Redis master, its replica, and the sentinel that watches both.

    `url` is the sentinel's URL, a valid value of the setting REDIS_URL. `master` and `replica` are the servers that had
    these roles at the start.
    """

    url: str
    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    def master_port(self) -> int:
        """Return the port of the server that is the master now, as the sentinel reports it."""
        with redis.Redis(port=self.sentinel.port, password=PASSWORD) as client:
            return int(client.sentinel_get_master_addr_by_name(NAME)[1])


@contextmanager
def watched_redis(directory: Path) -> Iterator[Watched]:
    """Run a master, its replica and a sentinel, which promotes the replica a second after the master has vanished.

    Yield them as `Watched`; they are stopped at the end of the `with` block.
    """
    with ExitStack() as stack:

        def start(server: RedisServer) -> RedisServer:
            server.start()
            stack.callback(server.stop)
            return server

        master = start(RedisServer(directory / "master", f"masterauth {PASSWORD}"))
        replica = start(
            RedisServer(directory / "replica", f"replicaof {LOOPBACK} {master.port}", f"masterauth {PASSWORD}")
        )
        sentinel = start(
            RedisServer(
                directory / "sentinel",
                f"sentinel monitor {NAME} {LOOPBACK} {master.port} 1",
                f"sentinel auth-pass {NAME} {PASSWORD}",
                f"sentinel down-after-milliseconds {NAME} 1000",
                f"sentinel failover-timeout {NAME} 5000",
                sentinel=True,
            )
        )
        with redis.Redis(port=sentinel.port, password=PASSWORD) as client:
            wait_until(lambda: client.sentinel_slaves(NAME), what="the sentinel to know the replica")
        url = f"sentinel://:{quote(PASSWORD, safe='')}@{LOOPBACK}:{sentinel.port}/{NAME}"
        yield Watched(url, master, replica, sentinel)
