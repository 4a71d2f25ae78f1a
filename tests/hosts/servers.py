"""Servers on hosts of the network: a PostgreSQL server with a standby, a Redis server with replica and sentinels."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fakes import wait_until
from tests.hosts.network import SUBNET, Host
from tests.sentinels import RedisServer
from workers.stack.embedded import EmbeddedServer
from workers.stack.errors import DidNotStart
from workers.stack.postgres import EmbeddedPostgres, program
from workers.stack.processes import wait_for
from workers.stack.unprivileged import name_for

PASSWORD = "of/the@hosts"
MASTER = "hints"
_POSTGRES, _REDIS, _SENTINEL = 5432, 6379, 26379
EXAMPLES = Path(__file__).parents[2] / "docs"


class _OnHost(EmbeddedServer):
    """Base class of the servers that run on the host `host`, a network namespace of `make hosts`."""

    host: Host

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `DidNotStart` if it does not."""
        self.prepare()
        process = self.host.start(
            self.command(),
            log=self.log,
            env=self.environment(),
            user=self.user,
            directory=self.directory,
            death_signal=self.end_signal,
        )
        self._process = process
        wait_for(lambda: process.poll() is not None or self.is_ready(), patience=60)
        if process.poll() is not None:
            raise DidNotStart(self.name, self.log)

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """Return the server's process; None if it does not run."""
        return self._process


class HostPostgres(EmbeddedPostgres, _OnHost):
    """A PostgreSQL server on a host, which all hosts of the network can reach and which can be a standby."""

    def __init__(self, host: Host, directory: Path) -> None:
        super().__init__(directory, fsync=False)
        self.host = host

    def prepare(self) -> None:
        """Create the data directory if needed, and allow connections from the other hosts."""
        super().prepare()
        rules = self.data_dir / "pg_hba.conf"
        if SUBNET not in rules.read_text():
            with rules.open("a") as file:
                file.writelines(f"host {what} all {SUBNET} trust\n" for what in ("all", "replication"))

    def command(self) -> list[str]:
        """Return the server's command line; the server also listens at its host's address."""
        # What a standby misses while it is away is kept for it. A sender notices within seconds that it is away.
        settings = {"listen_addresses": self.host.address, "wal_keep_size": "1GB", "wal_sender_timeout": "5s"}
        settings["wal_receiver_timeout"] = "5s"
        return [*super().command(), *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]

    def follow(self, master: HostPostgres) -> None:
        """Replace all data of this server by a copy of the master's, and start it as the master's standby."""
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.data_dir.mkdir(mode=0o700)
        if self.user is not None:
            os.chown(self.data_dir, self.user.uid, self.user.gid)
        command = [
            program("pg_basebackup", self.user),
            "-D",
            str(name_for(self.user, self.data_dir)),
            "-R",
            "-c",
            "fast",
        ]
        command += ["-N", "-d", f"host={master.host.address} user=standorte"]
        fetching = self.host.start(command, log=self.log, user=self.user, directory=self.data_dir)
        if fetching.wait(120) != 0:
            raise DidNotStart("pg_basebackup", self.log)
        self.start()

    def ask(self, question: str, database: str = "postgres") -> str | None:
        """Return the first value of a query's result as text; None if there is no row.

        The query goes over the Unix socket, so it works while the host is cut off.
        """
        with psycopg.connect(self.url(database, driver=""), autocommit=True) as connection:
            row = connection.execute(question.encode()).fetchone()
        return None if row is None else str(row[0])

    def act(self, *statements: str) -> None:
        """Run statements as a superuser on the database `postgres`, each in its own transaction.

        They go over the Unix socket, so they work while the host is cut off.
        """
        with psycopg.connect(self.url("postgres", driver=""), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@dataclass
class DatabasePair:
    """A PostgreSQL server and its standby, with the actions of an operator, or of a program such as Patroni.

    Replication is synchronous while the standby is connected, so that what was committed is on both servers.
    """

    master: HostPostgres
    standby: HostPostgres

    def connect(self) -> None:
        """Start the standby with a new copy of the master's data, and make the master's commits wait for it."""
        self.standby.follow(self.master)
        wait_until(lambda: self._streams("streaming"), seconds=60, what="the standby to stream")
        self.master.act("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")

    def is_whole(self) -> bool:
        """Return whether the master's commits wait for the standby, so that losing the master loses nothing."""
        return self._streams("streaming", "sync")

    def go_on_alone(self) -> None:
        """Make replication asynchronous, so that the master's commits no longer wait for the standby."""
        self.master.act("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make the standby the master. The old master must be stopped before its host is connected again."""
        self.master, self.standby = self.standby, self.master
        self.go_on_alone()
        self.master.act("SELECT pg_promote()")

    def _streams(self, state: str, sync: str = "%") -> bool:
        found = self.master.ask(
            f"SELECT count(*) FROM pg_stat_replication WHERE state = '{state}' AND sync_state LIKE '{sync}'"
        )
        return found != "0"


class HostRedis(RedisServer, _OnHost):
    """A Redis server on a host; with `sentinel`, a Redis Sentinel. `lines` are added to its configuration."""

    def __init__(self, host: Host, directory: Path, *lines: str, sentinel: bool = False) -> None:
        own = f"bind {host.address}"
        port = _SENTINEL if sentinel else _REDIS
        super().__init__(directory, own, *lines, password=PASSWORD, sentinel=sentinel, port=port)
        self.host = host

    def is_ready(self) -> bool:
        """Return whether the server answers to a program on its own host."""
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return a client of the server whose connection was opened on the server's own host."""
        client = redis.Redis(
            host=self.host.address,
            port=self.port,
            password=PASSWORD,
            decode_responses=True,
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )
        with self.host.inside():
            client.ping()
        return client


@dataclass(frozen=True)
class BrokerPair:
    """A Redis master with its replica, and the sentinels that promote the replica when the master does not answer."""

    servers: tuple[HostRedis, HostRedis]
    sentinels: tuple[HostRedis, ...]

    @property
    def url(self) -> str:
        """Return the value of the setting REDIS_URL, which names the sentinels."""
        hosts = ",".join(f"{sentinel.host.address}:{_SENTINEL}" for sentinel in self.sentinels)
        return f"sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{MASTER}"

    def start(self) -> None:
        """Start all servers and sentinels, and wait until every sentinel knows the replica and the other sentinels."""
        for server in (*self.servers, *self.sentinels):
            server.start()
        for sentinel in self.sentinels:
            wait_until(partial(self._is_informed, sentinel), seconds=60, what="the sentinels to know each other")

    def stop(self) -> None:
        """Stop all servers and sentinels."""
        for server in (*self.sentinels, *self.servers):
            server.stop()

    def master(self, witness: Host) -> HostRedis:
        """Return the server that is the master according to the sentinel on the host `witness`.

        If there is no sentinel on that host, another one is asked.
        """
        asked = next((one for one in self.sentinels if one.host is witness), self.sentinels[-1])
        with asked.client() as client:
            address = client.sentinel_get_master_addr_by_name(MASTER)[0]
        return next(server for server in self.servers if server.host.address == address)

    def is_whole(self) -> bool:
        """Return whether one server is the master, and the other is a replica that is connected to it."""
        roles = []
        # A server that becomes a replica ends all connections.
        with suppress(redis.RedisError):
            for server in self.servers:
                with server.client() as client:
                    found = client.info("replication")
                roles.append((found["role"], found.get("master_link_status", "up")))
        return sorted(roles) == [("master", "up"), ("slave", "up")]

    def _is_informed(self, sentinel: HostRedis) -> bool:
        with sentinel.client() as client:
            known = client.sentinel_sentinels(MASTER)
            return bool(client.sentinel_slaves(MASTER)) and len(known) == len(self.sentinels) - 1


def broker_pair(hosts: tuple[Host, Host], third: Host, directory: Path) -> BrokerPair:
    """Return a Redis master and a replica on two hosts, with sentinels there and on a third host; none is started."""
    first, second = hosts
    servers = (
        HostRedis(first, directory / "redis-1", f"masterauth {PASSWORD}"),
        HostRedis(second, directory / "redis-2", f"replicaof {first.address} {_REDIS}", f"masterauth {PASSWORD}"),
    )
    watching = (
        f"sentinel monitor {MASTER} {first.address} {_REDIS} 2",
        f"sentinel auth-pass {MASTER} {PASSWORD}",
        f"sentinel down-after-milliseconds {MASTER} 3000",
        f"sentinel failover-timeout {MASTER} 10000",
    )
    sentinels = tuple(
        HostRedis(host, directory / f"sentinel-{host.name}", *watching, sentinel=True) for host in (*hosts, third)
    )
    return BrokerPair(servers, sentinels)


def database_url(pair: DatabasePair, database: str, role: str) -> str:
    """Return a database URL as operators write it: it names both servers, and connects to the writable one."""
    hosts = ",".join(f"{server.host.address}:{_POSTGRES}" for server in (pair.master, pair.standby))
    return f"postgresql+psycopg://{role}@{hosts}/{database}?target_session_attrs=read-write"
