"""The servers on which the benchmarks run: PostgreSQL with fsync, Redis, the registrar's database and an SMTP server.

Also runs the portal's workers and other programs for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import redis
import sqlalchemy as sa
from celery import Celery

from models.accounts.accounts import Account
from models.db.roles import PORTAL_ROLES, REGISTRAR_ROLES, DatabaseRole, create_roles
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.messages.outbox import Message
from models.people.api_tokens import create_token
from models.people.rights import Principal, Scope
from models.people.users import User as Person
from models.requests.requests import Request
from models.states import Status
from models.telephony.number_pool import stock_pool
from models.telephony.numbers import BlockAnnouncement
from models.values import utc_now
from tasks.hints import hint
from tests.factories import UNLIMITED, an_order, make_main, prepare, prove_contact, submit_order
from tests.fakes import wait_until
from workers import programs
from workers.gateways.registrar import ensure_schema, plain_url
from workers.settings import SIP_DOMAIN
from workers.stack.kamailio import EmbeddedKamailio
from workers.stack.ports import LOOPBACK, accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres
from workers.stack.redis import EmbeddedRedis

MAIN_ACCOUNTS = 20
_BLOCKS = 80_000
"""How many free number blocks of ten there are: more than all runs together order."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer who orders: a main account, its manager, and the manager's API token with all scopes."""

    main: Account
    manager: Principal
    token: str


@dataclass(frozen=True, slots=True)
class System:
    """The servers that all measurements of a run share, the environment variables of the programs, and the customers.

    `directory` takes the logs and other files of the run.
    """

    database: Database
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    environment: dict[str, str]
    customers: Sequence[Customer]
    directory: Path

    def accept(self, count: int) -> list[UUID]:
        """Save `count` orders as the web application does, but send no Celery message that they are due.

        Return their ids.
        """
        ids = []
        for start in range(0, count, 100):
            with self.database.transaction() as session:
                for place in range(start, min(start + 100, count)):
                    customer = self.customers[place % len(self.customers)]
                    order = submit_order(session, customer.manager, customer.main, an_order(), utc_now())
                    ids.append(order.id)
        return ids

    def completed(self) -> int:
        """Return how many requests, of any kind, are completed in the portal's database."""
        with self.database.transaction() as session:
            return session.scalar(sa.select(sa.func.count()).where(Request.status == Status.COMPLETED)) or 0

    def idle(self) -> bool:
        """Return whether every request has ended and every message has been sent. Cheap enough to be polled."""
        return not self.has_due(Request) and not self.has_due(Message)

    def has_due(self, table: type[Request | Message]) -> bool:
        """Return whether the table has a row that is still to be processed: one with a due time, past or future."""
        with self.database.transaction() as session:
            return bool(session.scalar(sa.select(sa.exists().where(table.due_at.is_not(None)))))

    def all_announced(self) -> bool:
        """Return whether all number blocks are written to the registrar."""
        with self.database.transaction() as session:
            return not session.scalar(sa.select(sa.exists().select_from(BlockAnnouncement)))

    def idle_but_alone(self) -> bool:
        """Return whether all requests of bulk files have ended, and all messages about bulk files have been sent.

        Requests and messages that belong to no bulk are ignored.
        """
        with self.database.transaction() as session:
            return not any(
                session.scalar(sa.select(sa.exists().where(table.due_at.is_not(None), table.bulk_id.is_not(None))))
                for table in (Request, Message)
            )

    def cpu_seconds(self) -> float:
        """Return the processor time in seconds that all child processes of this one have used so far."""
        used = 0.0
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                # PostgreSQL's processes come and go with their connections.
                used += times.user + times.system + times.children_user + times.children_system
        return used

    def flush(self) -> None:
        """Delete everything in Redis, so that all Celery queues are empty."""
        with redis.Redis.from_url(self.redis.url()) as client:
            client.flushall()

    @contextmanager
    def fresh(self, name: str, make: Callable[[str], None]) -> Iterator[str]:
        """Create a database `name` and fill it by calling `make` with its URL.

        Yield the URL; drop the database after the `with` block.
        """
        self.postgres.create_database(name)
        url = self.postgres.url(name)
        try:
            make(url)
            yield url
        finally:
            self.postgres.drop_database(name)

    @contextmanager
    def running(self, command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the child process `command`, with additional environment variables, for the time of a `with` block.

        Yield the process. At the end it gets SIGTERM and is waited for. Its log is kept until the run ends.
        """
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".log", delete=False) as log:
            child = subprocess.Popen(command, env=self.environment | environment, stdout=log, stderr=log)
        try:
            yield child
        finally:
            child.terminate()
            child.wait(90)

    @contextmanager
    def worker(self, processes: int) -> Iterator[subprocess.Popen[bytes]]:
        """Run the portal's worker, with `processes` processes for each kind of work of an order, for a `with` block.

        Yield its main process.
        """
        with self.running(programs.worker(processes)) as child:
            yield child

    @contextmanager
    def bare_worker(self, processes: int) -> Iterator[subprocess.Popen[bytes]]:
        """Run a Celery worker with `processes` processes for the bare chains of four empty tasks, for a `with` block.

        Yield its main process.
        """
        celery = [sys.executable, "-m", "celery", "--quiet", "--app", "tests.benchmarks.baselines:app", "worker"]
        options = ["--concurrency", str(processes), "--without-gossip", "--without-mingle"]
        with self.running([*celery, *options]) as child:
            yield child

    @contextmanager
    def kamailio(self, registrar_url: str) -> Iterator[str]:
        """Run Kamailio on the registrar's database for the time of a `with` block; yield its host:port.

        No telephone network is reachable behind it.
        """
        nobody = f"{LOOPBACK}:9"
        server = EmbeddedKamailio(
            Path(tempfile.mkdtemp(dir=self.directory)),
            registrar_url=registrar_url,
            domain=SIP_DOMAIN,
            interconnect="127.0.0.2",
            network=nobody,
            emergency=nobody,
            user=self.postgres.user,
        )
        server.start()
        try:
            yield f"{LOOPBACK}:{server.port}"
        finally:
            server.stop()


@contextmanager
def open_servers(
    *, fsync: bool = True, migrated: bool = True
) -> Iterator[tuple[Path, EmbeddedPostgres, EmbeddedRedis]]:
    """Start PostgreSQL, with the portal's and the registrar's database, and Redis, for the time of a `with` block.

    Yield the directory of their data, PostgreSQL and Redis; the directory is deleted afterwards. With `fsync`
    PostgreSQL waits for the disk at each commit, as in production. With `migrated` the databases have all tables;
    otherwise they are empty.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = EmbeddedPostgres(directory / "postgres", fsync=fsync)
        stack.callback(postgres.stop)
        postgres.start(("standorte", "registrar"))
        create_roles(postgres.url("postgres", driver=""), {"standorte": PORTAL_ROLES, "registrar": REGISTRAR_ROLES})
        if migrated:
            prepare(postgres.url("standorte", DatabaseRole.OWNER))
            ensure_schema(postgres.url("registrar", DatabaseRole.OWNER))
        broker = EmbeddedRedis(directory / "redis")
        stack.callback(broker.stop)
        broker.start()
        yield directory, postgres, broker


@contextmanager
def open_system() -> Iterator[System]:
    """Start PostgreSQL, Redis, registrar database and mail server, and make customers, for the time of a `with` block.

    Yield all these as a `System`, once all number blocks are written to the registrar, so that no worker does that
    while something else is measured. Web application and workers are not started.
    """
    with ExitStack() as stack:
        directory, postgres, broker = stack.enter_context(open_servers())
        smtp_port = free_port()
        environment = os.environ | {
            "DATABASE_URL": postgres.url("standorte", DatabaseRole.WORKER),
            "FRONT_DATABASE_URL": postgres.url("standorte", DatabaseRole.FRONT),
            "REGISTRAR_URL": postgres.url("registrar", DatabaseRole.WORKER),
            "REDIS_URL": broker.url(0),
            "SMTP_URL": f"smtp://{LOOPBACK}:{smtp_port}",
            "LOG_FORMAT": "json",
            "SECRET_KEY": "for-development-only: the key of the benchmarks",
            **UNLIMITED,
        }
        stack.enter_context(Celery("benchmarks", broker=broker.url(0), config_source="celeryconfig"))
        database = stack.enter_context(closing(Database(postgres.url("standorte"))))
        customers = customers_of(database)
        vacuum(postgres.url("standorte"))
        system = System(database, postgres, broker, environment, customers, directory)
        stack.enter_context(system.running([sys.executable, "-m", "tests.benchmarks.sink", str(smtp_port)]))
        wait_until(lambda: accepts_connections(smtp_port), what="the mail server")
        with system.worker(1):
            hint([WorkKind.REGISTRAR])
            wait_until(system.all_announced, seconds=600, what="the announcement of all numbers")
        yield system


def customers_of(database: Database, first: str = "20000000", *, blocks: int = _BLOCKS) -> list[Customer]:
    """Create `MAIN_ACCOUNTS` customers with all proofs that the example order needs; return them.

    Also add `blocks` free number blocks of ten to the pool of area code 030. `first` is the first number, without the
    area code.
    """
    with database.transaction(statement_limit=600) as session:
        stock_pool(session, "030", first, 10, blocks, utc_now())
        found = []
        for _ in range(MAIN_ACCOUNTS):
            main, manager = make_main(session)
            prove_contact(session, main)
            person = session.get_one(Person, manager.user_id)
            found.append(
                Customer(main, manager, create_token(session, main, person, "bench", frozenset(Scope), utc_now()))
            )
    return found


def vacuum(url: str) -> None:
    """Run VACUUM ANALYZE, as autovacuum does in a database that has been in use for a while."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
