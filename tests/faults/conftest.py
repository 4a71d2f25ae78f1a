"""Fixtures of the fault tests: worker processes that can be killed, on real PostgreSQL, Redis, registrar and SMTP."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from celery import Celery
from pypdf import PdfReader

from models.accounts.accounts import Account
from models.contracts.contracts import Contract
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.links.links import LinkDraft, submit_link
from models.messages.outbox import Message, MessageState
from models.orders.orders import OrderDraft
from models.people.api_tokens import create_token
from models.people.rights import Principal, Scope
from models.people.users import User
from models.requests.requests import Request
from models.states import Status
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from models.vault import Vault
from tests import forked_programs
from tests.factories import UNLIMITED, an_order, fill_pool, make_main, prove_contact, submit_order
from tests.fakes import MailSink, wait_until
from tests.faults import engine
from tests.faults.stopping import Stop
from workers import programs
from workers.gateways.registrar import plain_url
from workers.stack.ports import LOOPBACK, accepts_connections, free_port
from workers.stack.redis import EmbeddedRedis

SECRET = "for-development-only: the key of the tests"
LEASE = timedelta(minutes=10)
"""The lease of engines (workers without Celery): so long that none ends during a test before the clock is put forward.
"""


@dataclass
class Plant:
    """The real parts of the system, with methods that start and kill worker processes, and inspect what they have done.

    `sink` is the mail server. An "engine" is a process that does a worker's work without Celery's programs, which are
    slow to start.
    """

    KINDS = (WorkKind.VERIFY, WorkKind.PROVISION, WorkKind.MESSAGES)

    database: Database
    registrar_url: str
    sink: MailSink
    redis: EmbeddedRedis
    environment: dict[str, str]
    directory: Path
    main: Account
    manager: Principal
    programs: list[BaseProcess] = field(default_factory=list)
    engines: list[BaseProcess] = field(default_factory=list)
    ahead: timedelta = timedelta()
    """By how much the clock of the engines (workers without Celery) is ahead of the machine's clock."""

    def now(self) -> datetime:
        """Return the current time of engines (workers without Celery): the machine's time plus `ahead`."""
        return utc_now() + self.ahead

    def start_engine(self, stop: Stop | None = None) -> BaseProcess:
        """Start an engine: a process that does a worker's work without Celery.

        With `stop` the process stops at the point that `stop` names, such as `provision.after`, and waits there to be
        killed.
        """
        log = self.directory / f"engine-{len(list(self.directory.glob('engine-*.log')))}.log"
        environment = self.environment | {"LEASE_SECONDS": str(LEASE.total_seconds())}
        process = forked_programs.processes.Process(
            target=engine.run, args=(environment, log, self.ahead, stop), daemon=True
        )
        process.start()
        self.engines.append(process)
        return process

    def kill_engine(self, process: BaseProcess) -> None:
        """Kill an engine (a worker process without Celery) with SIGKILL, and wait for its end."""
        process.kill()
        process.join(10)
        self.engines.remove(process)

    @contextmanager
    def engine_stopped_at(self, point: str) -> Iterator[None]:
        """Start an engine (a worker process without Celery), and run the `with` block while it is stopped at `point`.

        A point is a name such as `provision.after`. When the block ends, the engine is killed and another one starts.
        The new engine's clock is so far ahead that the claims of the killed engine have expired.
        """
        stop = Stop(point, self.directory / "reached")
        doomed = self.start_engine(stop)
        wait_until(stop.file.exists, what=f"the process to reach {point}")
        yield
        self.kill_engine(doomed)
        self.ahead += LEASE
        self.start_engine()

    @contextmanager
    def worker_stopped_at(self, point: str) -> Iterator[None]:
        """Start a Celery worker, and run the `with` block while it is stopped at `point`, such as `provision.after`.

        When the block ends, the worker is killed, and beat and another worker start.
        """
        reached = self.directory / "reached"
        doomed = self.start_worker(STOP_AT=point, STOP_FILE=str(reached))
        self.publish()
        wait_until(reached.exists, what=f"the worker to reach {point}")
        yield
        self.kill(doomed)
        self.start_beat()
        self.start_worker()

    def start_worker(
        self,
        concurrency: int = 1,
        kinds: Sequence[WorkKind] = (*KINDS, WorkKind.REGISTRAR, WorkKind.SWEEP),
        **extra: str,
    ) -> BaseProcess:
        """Start a Celery worker with `concurrency` processes for each kind of work in `kinds`; empty `kinds` means all.

        `extra` are further environment variables: with STOP_AT and STOP_FILE the worker stops at the point STOP_AT.
        """
        command = programs.worker(concurrency, kinds)
        if "STOP_AT" in extra:
            command = ["tests.faults.stopping_worker" if part == "workers.process_pools" else part for part in command]
        return self._start(command, f"worker-{len(self.programs)}", extra)

    def start_beat(self) -> None:
        """Start Celery beat, which every second sends the task that looks for due work (the sweep)."""
        self._start(programs.beat(self.directory / "schedule"), "beat", {})

    def kill(self, program: BaseProcess) -> None:
        """Kill a program and all processes of its process group with SIGKILL."""
        forked_programs.kill(program)
        self.programs.remove(program)

    def start_front(self) -> int:
        """Start the web application and return its port, once it accepts connections."""
        port = free_port()
        self._start(programs.web(LOOPBACK, port, processes=1), "front", {})
        wait_until(lambda: accepts_connections(port), what="the front")
        return port

    def token(self) -> str:
        """Create an API token of the main account with all scopes, and return it."""
        with self.database.transaction() as session:
            manager = session.get_one(User, self.manager.user_id)
            return create_token(session, self.main, manager, "test", frozenset(Scope), utc_now())

    def order(self, count: int, draft: OrderDraft | None = None) -> list[UUID]:
        """Save `count` orders as the web application does, but send no Celery message that they are due.

        Return the requests' ids. Each order has the content `draft` (None: the example order).
        """
        order, main = draft or an_order(), self.main
        with self.database.transaction() as session:
            return [submit_order(session, self.manager, main, order, utc_now()).id for _ in range(count)]

    def order_one_trunk(self) -> None:
        """Place an order and let an engine (a worker process without Celery) complete it; then kill the engine."""
        ids = self.order(1)
        helper = self.start_engine()
        self.wait_for_completion(ids)
        self.kill_engine(helper)

    def link(self, draft: LinkDraft) -> UUID:
        """Save a link request as the web application does, but send no Celery message that it is due. Return its id."""
        with self.database.transaction() as session:
            return submit_link(session, Vault(SECRET), self.manager, self.main, draft, utc_now()).id

    def code_to(self, recipient: str) -> str:
        """Return the code in the only mail to the recipient. Several copies of the mail count as one."""
        mails = [mail for to, mail in self.sink.received if to == recipient]
        [code] = {_code_in(body.get_content()) for mail in mails if (body := mail.get_body(("plain",)))}
        return code

    def letter_code(self) -> str:
        """Return the code in the only letter."""
        [file] = (self.directory / "letters").glob("*.pdf")
        text = "".join(page.extract_text() for page in PdfReader(file).pages)
        return _code_in(text)

    def publish(self, hints: int = 1) -> None:
        """Put `hints` messages into the Celery queue of each kind of work that orders need.

        Such a message only says that rows are due.
        """
        with Celery(broker=self.redis.url(0), set_as_current=False) as sender:
            for kind in self.KINDS * hints:
                sender.send_task(kind, queue=kind)

    def statuses(self, ids: list[UUID]) -> set[Status]:
        """Return the set of the statuses that the requests with these ids have."""
        with self.database.transaction() as session:
            return set(session.scalars(sa.select(Request.status).where(Request.id.in_(ids))))

    def unsent(self) -> int:
        """Return the number of queued messages: mails and letters that have still to be sent."""
        with self.database.transaction() as session:
            return session.scalar(sa.select(sa.func.count()).where(Message.state == MessageState.QUEUED)) or 0

    def told(self, id: UUID) -> list[str]:
        """Return the template names of all messages about the request with this id, sorted by name."""
        with self.database.transaction() as session:
            return sorted(session.scalars(sa.select(Message.template).where(Message.request_id == id)))

    def at_registrar(self, query: str) -> list[tuple[Any, ...]]:
        """Execute an SQL query on the registrar's database and return its rows."""
        with psycopg.connect(plain_url(self.registrar_url)) as connection:
            return connection.execute(query).fetchall()

    def unannounced(self) -> int:
        """Return how many number blocks have not yet been written to the registrar."""
        with self.database.transaction() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(BlockAnnouncement)) or 0

    def wait_for_completion(self, ids: list[UUID]) -> None:
        """Wait until all requests with these ids are completed, then until all messages are sent.

        Fails if either takes more than 60 seconds.
        """
        wait_until(lambda: self.statuses(ids) == {Status.COMPLETED}, seconds=60, what=f"{len(ids)} completed requests")
        wait_until(lambda: self.unsent() == 0, seconds=60, what="the last mail")

    def assert_everything_once(self, ids: list[UUID]) -> None:
        """Assert that each order was provisioned once, and that exactly three different mails were sent about it.

        These are the receipt and the mail about completion to the manager, and the one about completion to the contact.
        Copies with the same Message-ID count as one mail: if a worker is killed after the server has accepted a mail
        and before that is recorded, the mail is sent again, and mail systems drop the second copy (see
        docs/decisions/0002).
        """
        self.assert_provisioned_once(ids)
        mails = {(recipient, mail["Message-ID"]) for recipient, mail in self.sink.received}
        assert len({id for _, id in mails}) == len(mails)
        recipients = sorted(recipient for recipient, _ in mails)
        assert recipients == sorted([self.manager.email, self.manager.email, "hanna.palmer@example.com"] * len(ids))
        with self.database.transaction() as session:
            messages = Counter(map(tuple, session.execute(sa.select(Message.request_id, Message.template))))
        expected = Counter({(id, "order_receipt"): 1 for id in ids})
        assert messages == expected + Counter(
            (id, told) for id in ids for told in ("order_completed", "order_completed_contact")
        )

    def assert_provisioned_once(self, ids: list[UUID]) -> None:
        """Assert that each order has one account, contract, trunk and number block, and their rows at the registrar.

        There must be no others.
        """
        with self.database.transaction() as session:
            accounts = session.scalars(sa.select(Account.id).where(Account.main_id == self.main.id)).all()
            contracts = session.scalars(sa.select(Contract.request_id)).all()
            trunks = session.scalars(sa.select(SipTrunk)).all()
            blocks = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id.is_not(None))).all()
        assert len(accounts) == len(ids)
        assert sorted(map(str, contracts)) == sorted(map(str, ids))
        assert sorted(str(trunk.request_id) for trunk in trunks) == sorted(map(str, ids))
        assert sorted(str(block.trunk_id) for block in blocks) == sorted(str(trunk.id) for trunk in trunks)
        subscribers = self.at_registrar("SELECT username FROM subscriber")
        aliases = self.at_registrar("SELECT alias_username FROM dbaliases")
        assert sorted(row[0] for row in subscribers) == sorted(trunk.sip_user for trunk in trunks)
        assert sorted(row[0] for row in aliases) == sorted(number for block in blocks for number in block.numbers)

    def _start(self, command: list[str], name: str, extra: dict[str, str]) -> BaseProcess:
        log = self.directory / f"{name}.log"
        log.touch()
        process = forked_programs.start(command, self.environment | extra, log)
        self.programs.append(process)
        return process


@pytest.fixture
def database(database: Database, worker_database: Database) -> Database:
    """Provide the portal's database, connected as the workers' role; it is emptied after the test."""
    return worker_database


@pytest.fixture
def plant(
    database: Database, postgres: Any, registrar_url: str, smtp_sink: MailSink, tmp_path: Path
) -> Iterator[Plant]:
    """Provide the system's real servers, with a new Redis among them, but no workers: each test starts those it needs.

    After the test, all programs that it has started are killed, and Redis is stopped.
    """
    redis = EmbeddedRedis(tmp_path / "redis")
    redis.start()
    environment = os.environ | {
        "DATABASE_URL": postgres.url("standorte", DatabaseRole.WORKER),
        "FRONT_DATABASE_URL": postgres.url("standorte", DatabaseRole.FRONT),
        "REGISTRAR_URL": postgres.url("registrar", DatabaseRole.WORKER),
        "REDIS_URL": redis.url(0),
        "SMTP_URL": smtp_sink.url,
        "SECRET_KEY": SECRET,
        "LETTERS_DIR": str(tmp_path / "letters"),
        "LEASE_SECONDS": "2",
        "LOG_FORMAT": "json",
        **UNLIMITED,
    }
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session, count=40)
        prove_contact(session, main)
    found = Plant(database, registrar_url, smtp_sink, redis, environment, tmp_path, main, manager)
    yield found
    for process in list(found.engines):
        found.kill_engine(process)
    for program in list(found.programs):
        found.kill(program)
    redis.stop()


def _code_in(text: str) -> str:
    found = re.search(r"[A-Z0-9]{5} [A-Z0-9]{5}", text)
    assert found is not None
    return found[0]
