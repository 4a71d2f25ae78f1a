"""The real system for a chaos run: each program is a process of its own, and each connection goes through a proxy."""

from __future__ import annotations

import os
import random
import subprocess
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from celery import Celery
from sqlalchemy.engine import make_url

from models.db.roles import DatabaseRole
from models.db.session import Database
from tests.benchmarks.system import Customer, customers_of, open_servers
from tests.chaos.mail_server import MoodyMailServer
from tests.factories import UNLIMITED
from tests.fakes import wait_until
from tests.proxy import Proxy, proxy_to
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.redis import EmbeddedRedis

SECRET = "for-development-only: the key of the chaos run"
BLOCKS = 20_000
"""How many free number blocks of ten there are: more than a long run orders."""
LEASE = 20
"""Seconds of a lease. They are fewer than in production, so that a killed worker's rows are due again within the run.
"""


class Program:
    """A running program that is started again whenever it ends, as a supervisor does.

    It runs in `folder` (None: the folder of this process). Its output is added to NAME.log in `directory`.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], directory: Path, folder: Path | None = None
    ) -> None:
        self.name = name
        self._folder = folder
        self._command = command
        self._environment = environment
        self._log = directory / f"{name}.log"
        self._ending = threading.Event()
        self._left: list[psutil.Process] = []
        self._process = self._start()
        self._watch = threading.Thread(target=self._keep_running, daemon=True)
        self._watch.start()

    @property
    def process(self) -> psutil.Process:
        """Return the program's main process."""
        return psutil.Process(self._process.pid)

    def all(self) -> list[psutil.Process]:
        """Return the program's running processes, the main process first; empty if it does not run."""
        with suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []

    def kill(self, *, first: bool = False, some: int | None = None) -> None:
        """Kill all processes of the program with SIGKILL.

        With `first`, kill only the main process. With `some`, kill only this number of its child processes, chosen by
        chance.
        """
        processes = self.all()
        doomed = processes[:1] if first else processes
        if some is not None:
            doomed = random.sample(processes[1:], min(some, len(processes) - 1))
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ask_to_end(self) -> None:
        """Send the program SIGTERM, and do not start it again. Safe to run twice."""
        if not self._ending.is_set():
            self._ending.set()
            self._left = self.all()
            self._process.terminate()

    def end(self) -> None:
        """Send the program SIGTERM and wait until it ends; kill it if that takes more than 20 seconds.

        Children that are left are killed, too.
        """
        self.ask_to_end()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for process in self._left:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)

    def _keep_running(self) -> None:
        while not self._ending.wait(0.3):
            if self._process.poll() is not None and not self._ending.is_set():
                self._process = self._start()


def end_together(programs: Collection[Program]) -> None:
    """Send all programs SIGTERM at the same time, and wait until each has ended.

    A program that has not ended after 20 seconds is killed.
    """
    for program in programs:
        program.ask_to_end()
    for program in programs:
        program.end()


@dataclass
class Plant:
    """All parts of the system in a chaos run, with the proxies between them that can cut or slow a connection.

    `database` connects to the portal's database directly, past the proxies. `front_port` is the port at which the web
    application listens behind its proxy; `programs` are the running programs by name.
    """

    directory: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    mail: MoodyMailServer
    database: Database
    """The tests' own connections to the portal's database, past the proxies."""
    to_portal: Proxy
    to_registrar: Proxy
    to_mail: Proxy
    to_front: Proxy
    environment: dict[str, str]
    customers: list[Customer]
    front_port: int
    programs: dict[str, Program] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    """What was found wrong while a fault lasted, as sentences."""

    @property
    def port(self) -> int:
        """Return the port of the proxy at which clients reach the web application."""
        return self.to_front.port

    @property
    def front(self) -> str:
        """Return the URL at which clients reach the web application, through a proxy."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self, name: str, command: list[str], **environment: str) -> Program:
        """Start a program with additional environment variables; return it, and keep it in `programs` under `name`.

        It is started again whenever it ends.
        """
        program = Program(name, command, self.environment | environment, self.directory)
        self.programs[name] = program
        return program

    def start_all(self) -> None:
        """Start web application, worker and beat, and wait until the web application accepts connections."""
        self.start("front", programs.web(LOOPBACK, self.front_port, processes=2, threads=8))
        self.start("worker", programs.worker(2))
        self.start("beat", programs.beat(self.directory / "schedule"))
        wait_until(lambda: accepts_connections(self.front_port), seconds=120, what="the front")

    def end_all(self) -> None:
        """Send every program SIGTERM at the same time, and wait until all have ended.

        A program that has not ended after 20 seconds is killed. Servers and proxies keep running.
        """
        end_together(self.programs.values())


@contextmanager
def open_plant() -> Iterator[Plant]:
    """Start servers and proxies and create customers; yield them as a `Plant` with no program running yet.

    At the end of the `with` block the servers and proxies are stopped.
    """
    with ExitStack() as stack:
        directory, postgres, redis = stack.enter_context(open_servers(fsync=False))
        mail = MoodyMailServer()
        stack.callback(mail.stop)
        socket = f"{postgres.socket_dir}/.s.PGSQL.5432"
        to_portal, to_registrar = (stack.enter_context(proxy_to(socket)) for _ in range(2))
        to_mail = stack.enter_context(proxy_to(mail.port))

        def behind(proxy: Proxy, database: str, role: DatabaseRole) -> str:
            url = make_url(postgres.url(database, role)).set(host=LOOPBACK, port=proxy.port, query={})
            return url.render_as_string(hide_password=False)

        front_port = free_port()
        to_front = stack.enter_context(proxy_to(front_port))
        environment = os.environ | {
            "DATABASE_URL": behind(to_portal, "standorte", DatabaseRole.WORKER),
            "FRONT_DATABASE_URL": behind(to_portal, "standorte", DatabaseRole.FRONT),
            "REGISTRAR_URL": behind(to_registrar, "registrar", DatabaseRole.WORKER),
            "REDIS_URL": redis.url(0),
            "SMTP_URL": f"smtp://{LOOPBACK}:{to_mail.port}",
            "LETTERS_DIR": str(directory / "letters"),
            "BASE_URL": f"http://{LOOPBACK}:{to_front.port}",
            "LOG_FORMAT": "json",
            "SECRET_KEY": SECRET,
            "LEASE_SECONDS": str(LEASE),
            **UNLIMITED,
        }
        stack.enter_context(Celery("chaos", broker=redis.url(0), config_source="celeryconfig"))
        database = Database(postgres.url("standorte"), pool_size=20)
        stack.callback(database.close)
        customers = customers_of(database, blocks=BLOCKS)[:6]
        plant = Plant(
            directory,
            postgres,
            redis,
            mail,
            database,
            to_portal,
            to_registrar,
            to_mail,
            to_front,
            environment,
            customers,
            front_port,
        )
        stack.callback(plant.end_all)
        yield plant
