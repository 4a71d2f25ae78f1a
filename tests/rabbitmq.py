"""A real RabbitMQ server for tests: a node on the loopback address, separate from one that runs on the machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from kombu import Connection

from models.db.work_queue import WorkKind
from tasks.hints import READY_KEY
from tests.fakes import wait_until
from workers.stack.embedded import EmbeddedServer
from workers.stack.ports import LOOPBACK, accepts_connections, free_port
from workers.stack.processes import launch

USER, PASSWORD = "standorte", "of/the@tests"
_PROGRAMS = "/usr/lib/rabbitmq/bin"
"""The folder of Debian's RabbitMQ programs. Those on PATH are wrappers that use the machine's own node and its user."""
_GREETING = b"AMQP\x00\x00\x09\x01"


class RabbitMQ(EmbeddedServer):
    """A RabbitMQ server with one user, whose data in `directory` outlasts a stop.

    Erlang's port mapper (epmd), with which programs find the node, runs beside it on the loopback address.
    """

    name = "RabbitMQ"
    # Not SIGTERM, by which it would take its time: a broker that is killed is what the tests are about.
    stop_signal = signal.SIGKILL

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.log = directory / "rabbitmq.log"
        self._node_port, self._mapper_port = free_port(), free_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL of the server's virtual host `/`, a valid value of the setting BROKER_URL."""
        return f"amqp://{USER}:{quote(PASSWORD, safe='')}@{LOOPBACK}:{self.port}//"

    def prepare(self) -> None:
        """Write the server's configuration, and start the port mapper if it does not run."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "listeners.tcp.1": f"{LOOPBACK}:{self.port}",
            "default_user": USER,
            "default_pass": PASSWORD,
            "log.console": "true",
            "log.console.level": "warning",
            "log.file": "false",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.directory / "rabbitmq.conf").write_text(lines)
        (self.directory / "plugins").write_text("[].\n")
        if self._mapper is None:
            command = [shutil.which("epmd") or "epmd", "-address", LOOPBACK, "-port", str(self._mapper_port)]
            self._mapper = launch(command, log=self.log, death_signal=signal.SIGKILL)
            wait_until(lambda: accepts_connections(self._mapper_port), what="Erlang's port mapper")

    def command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""
        return [f"{_PROGRAMS}/rabbitmq-server"]

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that separate the server from one that runs on the machine."""
        here = str(self.directory)
        return os.environ | {
            # Where Erlang keeps the cookie, by which nodes and their tools know each other.
            "HOME": here,
            "RABBITMQ_NODENAME": f"tests-{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{here}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_MNESIA_BASE": f"{here}/data",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -noinput -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
        }

    def is_ready(self) -> bool:
        """Return whether the server answers the greeting of a client."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(_GREETING)
                return bool(connection.recv(1))
        except OSError:
            return False

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop all processes of the server during the `with` block: it accepts connections, but does not answer."""
        assert self._process is not None
        leader = psutil.Process(self._process.pid)
        for process in (leader, *leader.children(recursive=True)):
            process.suspend()
        yield
        for process in (leader, *leader.children(recursive=True)):
            process.resume()

    def stop_all(self) -> None:
        """Stop the server and the port mapper."""
        self.stop()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()


def skip_without_rabbitmq() -> None:
    """Skip the test where RabbitMQ is not installed; on CI (CI=true) let it fail."""
    if not Path(_PROGRAMS, "rabbitmq-server").exists() or shutil.which("epmd") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no RabbitMQ")
        pytest.skip("no RabbitMQ")


@contextmanager
def forgotten_queues(server: RabbitMQ) -> Iterator[None]:
    """Delete the portal's Celery queues, and the queue of the readiness check, before and after the `with` block.

    If the server does not run at the end of the block, start it again first.
    """
    with _channel(server) as channel:
        _delete(channel)
    yield
    if not server.is_ready():
        server.start()
    with _channel(server) as channel:
        _delete(channel)


def waiting_hints(server: RabbitMQ) -> dict[WorkKind, int]:
    """Return how many hints (Celery messages that rows are due) are in RabbitMQ's queue of each kind of work.

    Kinds of work whose queue is empty are left out. All queues must exist.
    """
    with _channel(server) as channel:
        counts = {kind: channel.queue_declare(kind, passive=True).message_count for kind in WorkKind}
    return {kind: count for kind, count in counts.items() if count}


@contextmanager
def _channel(server: RabbitMQ) -> Iterator[Any]:
    with Connection(server.url, transport_options={"socket_timeout": 20}) as connection:
        yield connection.default_channel


def _delete(channel: Any) -> None:
    for name in (*WorkKind, READY_KEY):
        channel.queue_delete(name)
