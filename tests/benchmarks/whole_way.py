"""Measures orders over HTTP until their last mail has left, against a plain application that sends the same mails."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.messages.outbox import Message
from models.requests.requests import Request
from models.vault import Vault
from tasks.hints import hint
from tasks.outbox.receipt_facts import RECEIPTS, Receipts
from tasks.outbox.render import all_facts
from tasks.outbox.what_was_ordered import placed_order
from tasks.settings import Carrier
from tests.benchmarks import front, plain
from tests.benchmarks.system import System
from tests.fakes import wait_until
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

PROCESSES = 2
_SECRET, _BASE_URL = "for-development-only: the key of the benchmarks", "https://portal.example"


@dataclass(frozen=True, slots=True)
class Rate:
    """Orders a second until their last mails have left, and the processor time of one order in milliseconds (`cpu`)."""

    per_second: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """The medians of all rounds for the portal (`ours`) and for the plain application (`plain`).

    `mails` is how many mails each order has.
    """

    ours: Rate
    plain: Rate
    mails: int
    """How many mails each order has."""


def measure(system: System, count: int, rounds: int) -> Result:
    """Measure the portal and the plain application alternately: `rounds` rounds with `count` orders each."""
    receipts, mails = _receipts(system)
    ours, others = [], []
    for _ in range(rounds):
        with _ours(system) as port:
            ours.append(_rate(system, port, count, _send_ours, system.idle))
        with _plain(system, receipts) as port:
            others.append(_rate(system, port, count, _send_plain, lambda: _all_confirmed(system.database)))
    return Result(_median(ours), _median(others), mails)


@contextmanager
def _ours(system: System) -> Iterator[int]:
    system.flush()
    port = free_port()
    web, beat = programs.web(LOOPBACK, port), programs.beat(system.directory / "schedule")
    with system.running(web), system.running(beat), system.worker(PROCESSES):
        wait_until(lambda: accepts_connections(port), what="the front")
        yield port


@contextmanager
def _plain(system: System, receipts: Path) -> Iterator[int]:
    system.flush()
    plain.PlainBase.metadata.drop_all(system.database.engine)
    plain.PlainBase.metadata.create_all(system.database.engine)
    with system.database.engine.begin() as connection:
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(sa.text(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {DatabaseRole.WORKER}"))
    port = free_port()
    web = [*programs.web(LOOPBACK, port)[:-1], "tests.benchmarks.plain:create_app()"]
    celery = [sys.executable, "-m", "celery", "--quiet", "--app", "tests.benchmarks.plain:app", "worker"]
    worker = [*celery, "--concurrency", str(PROCESSES), "--without-gossip", "--without-mingle"]
    facts = {plain.FACTS: str(receipts)}
    with system.running(web, **facts), system.running(worker, **facts):
        wait_until(lambda: accepts_connections(port), what="the plain front")
        yield port


def _send_ours(system: System, port: int, count: int) -> None:
    front.send_orders(system, port, count)


def _send_plain(_system: System, port: int, count: int) -> None:
    front.send(port, "/orders", lambda: {"Content-Type": "application/json"}, count)


def _rate(
    system: System,
    port: int,
    count: int,
    send: Callable[[System, int, int], None],
    is_over: Callable[[], bool],
) -> Rate:
    send(system, port, count // 10)  # warm
    wait_until(is_over, seconds=300, what="the first orders")
    began, used = time.perf_counter(), system.cpu_seconds()
    send(system, port, count)
    wait_until(is_over, seconds=900, what="the last order")
    seconds, cpu = time.perf_counter() - began, system.cpu_seconds() - used
    return Rate(count / seconds, cpu / count * 1000)


def _all_confirmed(database: Database) -> bool:
    time.sleep(0.01)
    with database.transaction() as session:
        return not session.scalar(sa.select(sa.exists().where(plain.PlainOrder.state != "confirmed")))


def _median(rates: Sequence[Rate]) -> Rate:
    return Rate(median(rate.per_second for rate in rates), median(rate.cpu for rate in rates))


def _receipts(system: System) -> tuple[Path, int]:
    """Complete one order, and save its mails as a pickled list of `Receipt`, for the plain application to send.

    Return the file and the number of mails.
    """
    [id] = system.accept(1)
    with system.worker(1):
        hint([WorkKind.VERIFY])
        wait_until(system.idle, seconds=60, what="the order whose mails are kept")
    with system.database.transaction() as session:
        messages = session.scalars(sa.select(Message).where(Message.request_id == id).order_by(Message.id))
        found = [_receipt(session, message) for message in messages]
    path = system.directory / "receipts"
    path.write_bytes(pickle.dumps(found))
    return path, len(found)


def _receipt(session: Session, message: Message) -> plain.Receipt:
    facts, printed = all_facts(message, Vault(_SECRET), _BASE_URL), None
    if message.template in RECEIPTS:
        facts |= Receipts(session, [message], _BASE_URL, Carrier()).details(message).facts
        printed = placed_order(session, session.get_one(Request, message.request_id), message.locale)
    return plain.Receipt(message.template, message.locale, facts, printed)
