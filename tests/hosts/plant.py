"""The whole system on ten hosts: two each for web front ends, workers, PostgreSQL and Redis, a balancer, one outside.

The host outside runs the customers and the mail server.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles
from models.db.session import Database
from tests.benchmarks.system import Customer, customers_of
from tests.certificates import self_signed
from tests.chaos.mail_server import MoodyMailServer
from tests.factories import UNLIMITED, prepare
from tests.fakes import wait_until
from tests.hosts.balancers import Balancer
from tests.hosts.network import Host, Network
from tests.hosts.servers import BrokerPair, DatabasePair, HostPostgres, broker_pair, database_url
from workers import programs
from workers.gateways.registrar import ensure_schema
from workers.stack.processes import end_session, identify

LEASE = 20
"""Seconds of a lease. They are fewer than in production, so that a lost worker's rows are due again within the run."""
ADDRESSES = {
    "outside": "192.0.2.1",
    "balancer": "192.0.2.10",
    "front1": "192.0.2.11",
    "front2": "192.0.2.12",
    "database1": "192.0.2.21",
    "database2": "192.0.2.22",
    "broker1": "192.0.2.31",
    "broker2": "192.0.2.32",
    "worker1": "192.0.2.41",
    "worker2": "192.0.2.42",
}
"""The addresses of all hosts, by name. The balancer's and the web front ends' are those of the examples in docs/."""
URL = f"https://{ADDRESSES['balancer']}"
_MAIL_PORT = 2525
_FRONT_PORT = 8000
_THREADS = 16
"""Threads of a web front end: as many as two processes have by default, for which docs/haproxy.cfg is made."""


@dataclass
class Program:
    """A program of the system that runs on a host, with its output in the file `log`. Nothing restarts it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def children(self) -> set[int]:
        """Return the ids of the program's process and its direct child processes; empty if the program has ended."""
        try:
            process = psutil.Process(self.process.pid)
            return {process.pid, *(child.pid for child in process.children())}
        except psutil.NoSuchProcess:
            return set()

    def end(self) -> None:
        """Send the program SIGTERM, kill it if it has not ended after 20 seconds, and then end its other processes.

        Return when the program has ended.
        """
        found = identify(self.process.pid)
        if found is not None:
            end_session(found, how=signal.SIGTERM, patience=20)
        self.process.wait()


@dataclass
class Plant:
    """The whole system under test: its hosts by name, its servers, customers and programs."""

    directory: Path
    hosts: dict[str, Host]
    databases: DatabasePair
    broker: BrokerPair
    balancer: Balancer
    certificate: Path
    mail: MoodyMailServer
    environment: dict[str, str]
    customers: list[Customer]
    programs: list[Program] = field(default_factory=list)
    _started: dict[str, set[int]] = field(default_factory=dict)

    def start_all(self) -> None:
        """Start the web front ends, workers, a beat beside each worker, and the balancer; wait until all are ready."""
        for name in ("front1", "front2"):
            self._start(name, "web", programs.web(ADDRESSES[name], _FRONT_PORT, processes=1, threads=_THREADS))
        for name in ("worker1", "worker2"):
            self._start(name, "worker", programs.worker(1))
            self._start(name, "beat", programs.beat(self.directory / f"{name}.schedule"))
        for name in ("front1", "front2"):
            ready = f"http://{ADDRESSES[name]}:{_FRONT_PORT}/readyz"
            wait_until(lambda: '"ready"' in self._answer(ready), seconds=180, what=f"{name} to be ready")  # noqa: B023
        self.balancer.start()
        wait_until(lambda: self._answer(f"{URL}/healthz") == "ok\n", seconds=60, what="the balancer")
        self._started = {program.name: program.children() for program in self.programs}

    def program(self, name: str) -> Program:
        """Return the program with this name, which is its host and its kind, such as "worker1 worker"."""
        return next(program for program in self.programs if program.name == name)

    def restarted(self) -> list[str]:
        """Return the names of programs that have ended or replaced one of their processes since `start_all`."""
        return [program.name for program in self.programs if program.children() != self._started[program.name]]

    @contextmanager
    def load(self, rate: float) -> Iterator[Path]:
        """Run customers who place `rate` orders a second during the `with` block; yield the file of their record.

        The file gets a line of JSON for each call and for each order that has ended, at once, so that it can be read
        during the block. Raises `AssertionError` if the load has ended with an error.
        """
        task, record = self.directory / "load.json", self.directory / "load.jsonl"
        tokens = [customer.token for customer in self.customers]
        facts = {"url": URL, "ca": str(self.certificate), "tokens": tokens, "rate": rate, "kept": 20}
        task.write_text(json.dumps(facts))
        record.touch()
        command = [programs.console()[0], "-m", "tests.hosts.load", str(task), str(record)]
        log = self.directory / "load.log"
        process = self.hosts["outside"].start(command, log=log, env=self.environment)
        try:
            yield record
        finally:
            process.terminate()
            if process.wait(150) != 0:
                raise AssertionError(f"the load ended: {log.read_text()[-2000:]}")

    def completed_at(self, id: str) -> float | None:
        """Return when the request with this id was completed, in seconds since 1970; None if it is not completed."""
        ended = self.databases.master.ask(
            f"SELECT extract(epoch FROM ended_at) FROM requests WHERE id = '{id}' AND status = 'completed'",
            "standorte",
        )
        return None if ended is None else float(ended)

    def waiting(self) -> int:
        """Return how many rows of the work queues still have to be processed, now or later."""
        tables = ("requests", "messages", "sip_trunks", "bulks")
        due = " + ".join(f"(SELECT count(*) FROM {table} WHERE due_at IS NOT NULL)" for table in tables)
        return int(self.databases.master.ask(f"SELECT {due}", "standorte") or 0)

    def customer_numbers(self) -> list[str]:
        """Return the customer numbers of all accounts."""
        found = self.databases.master.ask("SELECT string_agg(customer_number, ' ') FROM accounts", "standorte")
        return str(found or "").split()

    def end_all(self) -> None:
        """End the balancer and every program, one after the other, and wait until each has ended.

        The database, Redis and mail servers keep running.
        """
        self.balancer.stop()
        for program in self.programs:
            program.end()

    def _start(self, host: str, name: str, command: list[str]) -> None:
        log = self.directory / f"{host}-{name}.log"
        process = self.hosts[host].start(command, log=log, env=self.environment)
        self.programs.append(Program(f"{host} {name}", process, log))

    def _answer(self, url: str) -> str:
        """Return the body of the answer to a GET from the host `outside`; "" if there is no answer."""
        with suppress(httpx.HTTPError), self.hosts["outside"].inside():
            return httpx.get(url, timeout=20, verify=ssl.create_default_context(cafile=self.certificate)).text
        return ""


@contextmanager
def open_plant(network: Network, balancer: type[Balancer], blocks: int) -> Iterator[Plant]:
    """Create the hosts, start the servers and create customers; yield them as a `Plant`. No program runs yet.

    At the end of the `with` block the servers are stopped. `blocks` is the number of free number blocks, and so of
    orders that can get one. Raises `NotPossible` if the balancer is not installed.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        hosts = {name: network.host(name, address) for name, address in ADDRESSES.items()}
        certificate = self_signed(directory, ADDRESSES["balancer"])
        in_front = balancer(hosts["balancer"], directory, certificate)
        first, second = (HostPostgres(hosts[f"database{one}"], directory / f"postgres{one}") for one in (1, 2))
        databases = DatabasePair(first, second)
        stack.callback(first.stop)
        stack.callback(second.stop)
        first.start(("standorte", "registrar"))
        create_roles(first.url("postgres", driver=""), {"standorte": PORTAL_ROLES, "registrar": REGISTRAR_ROLES})
        prepare(first.url("standorte", DatabaseRole.OWNER))
        ensure_schema(first.url("registrar", DatabaseRole.OWNER))
        broker = broker_pair((hosts["broker1"], hosts["broker2"]), hosts["balancer"], directory)
        stack.callback(broker.stop)
        broker.start()
        with hosts["outside"].inside():
            mail = MoodyMailServer(ADDRESSES["outside"], _MAIL_PORT)
        stack.callback(mail.stop)
        environment = os.environ | {
            "DATABASE_URL": database_url(databases, "standorte", DatabaseRole.WORKER),
            "FRONT_DATABASE_URL": database_url(databases, "standorte", DatabaseRole.FRONT),
            "REGISTRAR_URL": database_url(databases, "registrar", DatabaseRole.WORKER),
            "REDIS_URL": broker.url,
            "SMTP_URL": f"smtp://{ADDRESSES['outside']}:{_MAIL_PORT}",
            "LETTERS_DIR": str(directory / "letters"),
            "BASE_URL": URL,
            "TRUSTED_PROXIES": "1",
            "LOG_FORMAT": "json",
            "SECRET_KEY": secrets.token_hex(32),
            "LEASE_SECONDS": str(LEASE),
            **UNLIMITED,
        }
        database = Database(first.url("standorte"), pool_size=5)
        stack.callback(database.close)
        customers = customers_of(database, blocks=blocks)[:6]
        databases.connect()
        wait_until(databases.is_whole, what="the standby to be synchronous")
        plant = Plant(directory, hosts, databases, broker, in_front, certificate, mail, environment, customers)
        stack.callback(plant.end_all)
        yield plant
