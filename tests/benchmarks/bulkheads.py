"""Measures how long single orders and links take while an outside system is slow or silent, or during mass work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from models.accounts.accounts import Account
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.links.links import submit_link
from models.messages.outbox import Recipient, queue_message
from models.requests.requests import Request
from models.states import Status, StepName
from models.values import utc_now
from models.vault import Vault
from tasks.hints import hint
from tests.benchmarks import reconciliation
from tests.benchmarks.system import System, customers_of, vacuum
from tests.factories import a_link, an_order, make_account, make_bulk, make_user, prepare, submit_order
from tests.fakes import wait_until
from tests.named_functions import named
from tests.proxy import Proxy, proxy_to
from workers import programs
from workers.gateways.registrar import ensure_schema
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

PAUSE = 0.3
"""Seconds between two requests."""
PATIENCE = 60.0
"""Seconds after which a request is given up; it is recorded as having taken this long."""
SLOW = 4.0
"""Seconds that the slow mail server takes for each mail."""
MAILS = 500


@dataclass(slots=True)
class Felt:
    """How long requests took from accepted to completed during one trouble, in seconds, in the order of sending.

    `orders` are the times of single orders, `links` those of link requests.
    """

    orders: list[float] = field(default_factory=list)
    links: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Size:
    """How much the benchmark measures: `requests` is the number of orders and of link requests during each trouble.

    The mass work beside them is a run of the scheduled job `registrar` over `trunks` trunks, and a bulk file of `rows`
    orders.
    """

    requests: int
    trunks: int
    rows: int


Troubled = tuple[System, Callable[[], object]]
"""The system with the trouble, and a function that is called before each measured order and link request."""
Trouble = Callable[[System, Size], AbstractContextManager[Troubled]]
TROUBLES: dict[str, Trouble] = {}
"""All troubles by their names in the table of figures."""
SILENT_REGISTRAR = "a silent registrar database, 100 orders waiting; links alone"


_trouble = partial(named, TROUBLES)


def measure(system: System, size: Size) -> dict[str, Felt]:
    """Measure single orders and link requests on an idle system and during each trouble, such as a silent mail server.

    Return the measured times by the name of the trouble (`TROUBLES`). The idle system is measured first ("idle") and
    again at the end ("idle, once more").
    """
    system = replace(system, database=Database(system.postgres.url("standorte"), on_due=hint))
    felt: dict[str, Felt] = {}
    with _working(system):
        felt["idle"] = _feel(system, size.requests)
    for name, trouble in TROUBLES.items():
        with trouble(system, size) as (troubled, beside):
            felt[name] = _feel(troubled, size.requests, beside, orders=name != SILENT_REGISTRAR)
    with _working(system):
        felt["idle, once more"] = _feel(system, size.requests)
    return felt


def _feel(system: System, requests: int, beside: Callable[[], object] = lambda: None, *, orders: bool = True) -> Felt:
    felt = Felt()
    for place in range(requests):
        beside()
        time.sleep(PAUSE)
        if orders:
            felt.orders.append(_seconds(system, partial(_order, system, place)))
        felt.links.append(_seconds(system, partial(_link, system)))
    return felt


def _seconds(system: System, submit: Callable[[], UUID]) -> float:
    began = time.perf_counter()
    id = submit()
    while time.perf_counter() - began < PATIENCE:
        with system.database.transaction() as session:
            if session.scalar(sa.select(Request.status).where(Request.id == id)) is Status.COMPLETED:
                break
        time.sleep(0.005)
    return time.perf_counter() - began


def _order(system: System, place: int, **changes: object) -> UUID:
    # Not the last one's, whose file is placed and whose account is locked.
    customer = system.customers[place % (len(system.customers) - 1)]
    with system.database.transaction() as session:
        return submit_order(session, customer.manager, customer.main, an_order(**changes), utc_now()).id


def _link(system: System) -> UUID:
    vault, customer = Vault(system.environment["SECRET_KEY"]), system.customers[0]
    with system.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        link = a_link(account, email=owner.email)
        return submit_link(session, vault, customer.manager, customer.main, link, utc_now()).id


@contextmanager
def _working(system: System, **environment: str) -> Iterator[System]:
    """Run beat and a worker, with the additional variables `environment`, for the time of a `with` block.

    Empties the Celery queues first. Yield the system, with these variables, once two link requests are completed.
    """
    system.flush()
    troubled = replace(system, environment=system.environment | environment)
    with troubled.running(programs.beat(system.directory / "schedule")), troubled.worker(2):
        for _ in range(2):
            assert _seconds(troubled, partial(_link, troubled)) < PATIENCE
        yield troubled


@_trouble("a mail server that takes four seconds a mail, 500 mails waiting")
@contextmanager
def _slow_mails(system: System, _size: Size) -> Iterator[Troubled]:
    port = free_port()
    with (
        system.running([sys.executable, "-m", "tests.benchmarks.sink", str(port), str(SLOW)]),
        _working(system, SMTP_URL=f"smtp://{LOOPBACK}:{port}") as troubled,
    ):
        wait_until(lambda: accepts_connections(port), what="the slow mail server")
        _queue_mails(system)
        yield troubled, lambda: None
    _drop_mails(system)


@_trouble("a silent mail server, 500 mails waiting")
@contextmanager
def _silent_mails(system: System, _size: Size) -> Iterator[Troubled]:
    with (
        _silent(int(system.environment["SMTP_URL"].rpartition(":")[2])) as proxy,
        _working(system, SMTP_URL=f"smtp://{LOOPBACK}:{proxy.port}") as troubled,
    ):
        _queue_mails(system)
        yield troubled, lambda: None
    _drop_mails(system)


@_trouble(SILENT_REGISTRAR)
@contextmanager
def _silent_registrar(system: System, _size: Size) -> Iterator[Troubled]:
    with _silent(f"{system.postgres.socket_dir}/.s.PGSQL.5432") as proxy:
        url = make_url(system.environment["REGISTRAR_URL"]).set(host=LOOPBACK, port=proxy.port, query={})
        with _working(system, REGISTRAR_URL=url.render_as_string(hide_password=False)) as troubled:
            for place in range(100):
                _order(system, place)
            yield troubled, lambda: None


@_trouble("the registrar job over many trunks, leftovers beside it")
@contextmanager
def _job(system: System, size: Size) -> Iterator[Troubled]:
    with ExitStack() as stack:
        ours = stack.enter_context(system.fresh("ours", prepare))
        theirs = stack.enter_context(system.fresh("theirs", ensure_schema))
        reconciliation.fill(ours, theirs, size.trunks, Vault(system.environment["SECRET_KEY"]))
        for url in (ours, theirs):
            vacuum(url)
        database = Database(ours, on_due=hint)
        stack.callback(database.close)
        with database.transaction() as session:
            for table in ("accounts", "contracts", "sip_trunks"):
                # Behind those that were written with their ids.
                session.execute(sa.text(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH {size.trunks + 1}"))
        site = replace(system, database=database, customers=customers_of(database, first="60000000"))
        troubled = stack.enter_context(_working(site, DATABASE_URL=ours, REGISTRAR_URL=theirs))

        def run_again() -> None:
            with database.transaction() as session:
                session.execute(sa.text("UPDATE jobs SET due_at = now() WHERE lease IS NULL"))
            hint([WorkKind.JOBS])

        yield troubled, run_again


@_trouble("a file of many orders of somebody else")
@contextmanager
def _bulk(system: System, size: Size) -> Iterator[Troubled]:
    with _working(system) as troubled:
        customer = system.customers[-1]
        with system.database.transaction() as session:
            bulk = make_bulk(session, customer.manager, customer.main, [an_order()] * size.rows)
            bulk.send(utc_now())
        yield troubled, lambda: None
        wait_until(system.idle_but_alone, seconds=3600, what="the last order of the file")


@_trouble("one customer's account is locked, and its orders trickle in")
@contextmanager
def _locked_row(system: System, _size: Size) -> Iterator[Troubled]:
    with _working(system) as troubled, system.database.transaction() as session:
        locked = len(system.customers) - 1
        id = system.customers[locked].main.id
        session.execute(sa.select(Account).where(Account.id == id).with_for_update())

        def order() -> None:
            # As the front would, whose reference to the account waits for the lock's end.
            with system.database.transaction() as beside:
                beside.execute(sa.text("SET LOCAL session_replication_role = replica"))
                customer = system.customers[locked]
                submit_order(beside, customer.manager, customer.main, an_order(), utc_now())

        yield troubled, order


@_trouble("a request whose step breaks each time it is tried")
@contextmanager
def _poison(system: System, _size: Size) -> Iterator[Troubled]:
    with _working(system) as troubled:
        id = _order(system, 0)
        assert _seconds(troubled, lambda: id) < PATIENCE

        def try_again() -> None:
            with system.database.transaction() as session:
                poison = session.get_one(Request, id)
                assert poison.trunk is not None
                poison.trunk.secret = b"nobody can read this"
                poison.status, poison.step, poison.reason = Status.IN_PROGRESS, StepName.PROVISION, None
                poison.ended_at = None
                poison.make_due(utc_now())

        yield troubled, try_again


@contextmanager
def _silent(server: int | str) -> Iterator[Proxy]:
    with proxy_to(server) as proxy:
        proxy.silence()
        yield proxy


def _queue_mails(system: System) -> None:
    to = Recipient("Kim Beispiel", "kim@example.com", "de")
    with system.database.transaction() as session:
        for _ in range(MAILS):
            facts = {"customer_number": "1000000", "account_name": "Ost", "path": "/"}
            facts |= {"main_customer_number": "1000001", "main_account_name": "Zentrale"}
            queue_message(session, None, "detach_completed", to, facts, utc_now(), occasion=uuid4().hex)


def _drop_mails(system: System) -> None:
    with system.database.transaction() as session:
        session.execute(sa.text("DELETE FROM messages WHERE state = 'queued'"))
