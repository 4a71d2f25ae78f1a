"""Measures what PostgreSQL reads for pages, API calls, jobs and claims, in a database with few orders and with many.

Each of these is called a question. The plans are those that were really executed, with their numbers: PostgreSQL's
module `auto_explain` sends each to the client. Pages in shared buffers are counted rather than seconds, because their
number depends on nothing else.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.db.work_queue import WorkKind, claim_due
from models.messages.outbox import Message
from models.requests.requests import Request
from models.values import utc_now
from tasks.celery_tasks import sweep
from tasks.logs import configure_logging
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.runtime import Runtime
from tests.benchmarks import front
from tests.benchmarks.overview import signed_in_at
from tests.benchmarks.system import Customer, System, customers_of, vacuum
from tests.due_work import process_due
from tests.factories import PASSWORD, UNLIMITED, an_order, make_staff, prepare, submit_order
from tests.factories import SECRET as SECRET
from tests.second_factor import enter_code
from tests.upgrade.filling import Filling
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings
from workers.gateways.registrar import plain_url
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings

FEW = 10_000
"""How many orders the small database has."""
_PLACED, _LARGE, _WAITING = 100, 60, 4
"""How many orders are placed and then copied, and how many of them are the first company's and wait for a person."""
_EXPLAIN = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid::regclass::text NOT LIKE 'pg_%%' AND NOT indisunique AND NOT indisexclusion AND indrelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
)
"""
_OWNERS = """
SELECT indexrelid::regclass::text, indrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = 'public'::regnamespace
"""
_SIZES = """
SELECT relname, reltuples::bigint, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY pg_total_relation_size(oid) DESC
"""


@dataclass
class Asked:
    """What PostgreSQL did for one question, such as a page of the portal.

    This is the number of statements, of pages of 8 KiB that were read, and of milliseconds. Of the tables that grow,
    `indexes` are the indexes that were used, and `whole` the tables that a statement read completely. `fails` is the
    error with which the question failed; empty if it was answered.
    """

    statements: int = 0
    pages: int = 0
    ms: float = 0.0
    indexes: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    fails: str = ""

    def add(self, told: str) -> None:
        """Add the plan of one statement. `told` is auto_explain's message: the duration and the plan as JSON."""
        took, _, plan = told.partition(" ms  plan:\n")
        self.statements += 1
        self.ms += float(took.removeprefix("duration: "))
        found = json.loads(plan)["Plan"]
        self.pages += found.get("Shared Hit Blocks", 0) + found.get("Shared Read Blocks", 0)
        self._read(found)

    def _read(self, node: Mapping[str, Any]) -> None:
        if node.get("Actual Loops", 1):
            if "Index Name" in node:
                self.indexes.add(node["Index Name"])
            if node["Node Type"] == "Seq Scan":
                self.whole.add(node["Relation Name"])
        for below in node.get("Plans", ()):
            self._read(below)


@dataclass(frozen=True)
class Table:
    """A table of the large database: its name, number of rows, and MiB of its rows (`data`) and of its indexes."""

    name: str
    rows: int
    data: float
    indexes: float


@dataclass(frozen=True)
class Growth:
    """What the benchmark has measured: what PostgreSQL did for each question, with few and with many orders.

    A question is a page, an API call, a job or a claim; `few` and `many` have the results by its name. `orders` is the
    number of orders in the larger case. `tables` are the tables that then have more than half as many rows.
    """

    few: dict[str, Asked]
    many: dict[str, Asked]
    orders: int
    tables: list[Table]


def measure(system: System, orders: int) -> Growth:
    """Ask every question with `FEW` orders in the database, then again with about `orders`; return what was read.

    A question is a page of the portal, an API call, a scheduled job, a sweep or a claim. The connections of fronts and
    workers are the same both times.
    """
    with ExitStack() as stack:
        # A line for each mail and page would drown the table.
        configure_logging("json")
        logging.disable(logging.INFO)
        stack.callback(logging.disable, logging.NOTSET)
        url = stack.enter_context(system.fresh("growth", prepare))
        owner = stack.enter_context(closing(Database(url)))
        with owner.transaction() as session:
            staff = make_staff(session)
            staff_email = staff.email
        runtime = _runtime(system, stack)
        connection = stack.enter_context(psycopg.connect(plain_url(url), autocommit=True))
        filling = Filling(connection)
        with filling:
            # The companies are copied, too: none grows, there are more of them.
            customers = customers_of(owner, blocks=2000)
            _order(runtime, customers)
        _fill(connection, filling, FEW, more=True)
        [[number]] = connection.execute("SELECT max(customer_number) FROM accounts").fetchall()
        _explain_everything(connection)
        questions = _questions(system, stack, runtime, customers[0], staff_email, number)
        vacuum(url)
        few = _ask(questions)
        _fill(connection, filling, orders - FEW)
        # The orders that were a question: claims find as many the second time.
        _work_off(runtime)
        vacuum(url)
        many = _ask(questions)
        [[counted]] = connection.execute("SELECT count(*) FROM requests").fetchall()
        sizes = connection.execute(_SIZES).fetchall()
        owners: dict[str, str] = dict(connection.execute(_OWNERS).fetchall())
    system.flush()
    tables = [Table(name, rows, data / 2**20, indexes / 2**20) for name, rows, data, indexes in sizes]
    large = [table for table in tables if table.rows > counted / 2]
    names = {table.name for table in large}
    for asked in many.values():
        asked.whole &= names
        asked.indexes = {index for index in asked.indexes if owners.get(index) in names}
    return Growth(few, many, int(counted), large)


def _runtime(system: System, stack: ExitStack) -> Runtime:
    named: dict[str, Any] = {name.lower(): value for name, value in system.environment.items()}
    own = {"database_url": system.postgres.url("growth", DatabaseRole.WORKER), "secret_key": SECRET}
    runtime = build_runtime(WorkerSettings(**(named | own)), on_due=lambda _: None)
    stack.callback(close_runtime, runtime)
    return runtime


def _order(runtime: Runtime, customers: list[Customer]) -> None:
    """Place `_PLACED` orders and process them; some of them wait until their contact's e-mail address is proved."""
    contact = an_order().contact
    with runtime.database.transaction() as session:
        for place in range(_PLACED):
            customer = customers[0 if place < _LARGE else 1 + place % (len(customers) - 1)]
            order = an_order()
            if place % (_PLACED // _WAITING) == 0:
                email = f"contact{place}@example.com"
                order = an_order(contact=type(contact)(contact.name, email, contact.phone))
            submit_order(session, customer.manager, customer.main, order, utc_now())
    _work_off(runtime)


def _work_off(runtime: Runtime) -> None:
    """Process all requests and messages that are due, and those that become due by that."""
    while True:
        process_due(runtime)
        with runtime.database.transaction() as session:
            soon = utc_now()
            due = (session.scalar(sa.select(sa.exists().where(table.due_at <= soon))) for table in (Request, Message))
            if not any(due):
                return


def _explain_everything(connection: psycopg.Connection) -> None:
    for name, value in _EXPLAIN.items():
        connection.execute(f"ALTER DATABASE growth SET {name} = '{value}'".encode())


def _fill(connection: psycopg.Connection, filling: Filling, orders: int, *, more: bool = False) -> None:
    """Add about `orders` orders, copies of those that `filling` has remembered. `more`: it will be called again.

    All indexes that are not unique are dropped before and created afterwards, which is quicker.
    """
    connection.execute("SET auto_explain.log_min_duration = -1")
    connection.execute("SET synchronous_commit = off")
    connection.execute("SET maintenance_work_mem = '1GB'")
    indexes = connection.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}".encode())
    filling.copy_times(orders // _PLACED, more=more)
    for _, definition in indexes:
        connection.execute(definition.encode())


class Refused(Exception):
    """Raised if the portal answers a page or an API call with an error; the message is the HTTP status."""


Question = Callable[[], object]


@dataclass(frozen=True)
class _Questions:
    """What is measured, by name: functions that call a page or the API, run a job, or claim rows.

    `engines` are the database engines over which they send their statements.
    """

    by_name: dict[str, Question]
    engines: list[sa.Engine]


def _ask(questions: _Questions) -> dict[str, Asked]:
    found = {}
    for name, question in questions.by_name.items():
        # Once before, so that caches of the program and the server are warm.
        for _ in range(2):
            with _listening(questions.engines) as asked:
                try:
                    question()
                except (DBAPIError, Refused) as error:
                    asked.fails = f"FAILS: {error}"
        found[name] = asked
    return found


@contextmanager
def _listening(engines: list[sa.Engine]) -> Iterator[Asked]:
    asked = Asked()

    def hear(told: psycopg.errors.Diagnostic) -> None:
        if (told.message_primary or "").startswith("duration: "):
            asked.add(told.message_primary or "")

    def begin(connection: psycopg.Connection, *_: object) -> None:
        connection.add_notice_handler(hear)

    def end(connection: psycopg.Connection | None, *_: object) -> None:
        if connection is not None:
            connection.remove_notice_handler(hear)

    for engine in engines:
        sa.event.listen(engine, "checkout", begin)
        sa.event.listen(engine, "checkin", end)
    try:
        yield asked
    finally:
        for engine in engines:
            sa.event.remove(engine, "checkout", begin)
            sa.event.remove(engine, "checkin", end)


def _questions(
    system: System, stack: ExitStack, runtime: Runtime, customer: Customer, staff: str, number: str
) -> _Questions:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for key, value in UNLIMITED.items():
        patch.setenv(key, value)
    app = create_app(
        WebSettings(
            database_url=system.postgres.url("growth", DatabaseRole.FRONT),
            redis_url=system.redis.url(0),
            secret_key=SecretStr(SECRET),
        )
    )
    with app.app_context():
        database = stack.enter_context(closing(resources().database))
    # Fronts first: then workers have an order to claim.
    by_name = _of_fronts(app, customer, staff, number) | _of_workers(runtime)
    # What connected before has no auto_explain.
    for engine in (runtime.database.engine, database.engine):
        engine.dispose()
    return _Questions(by_name, [runtime.database.engine, database.engine])


def _of_workers(runtime: Runtime) -> dict[str, Question]:
    def claim(table: type[Request] | type[Message], which: sa.ColumnElement[bool] | None = None) -> None:
        now = runtime.clock()
        with runtime.database.transaction() as session:
            claim_due(
                session, table, now=now, lease=uuid.uuid4(), until=now + runtime.lease, limit=runtime.batch, which=which
            )
            session.rollback()

    jobs = {
        f"job {name}": lambda name=name: run_job(runtime, JOBS[name], dry=True, by_hand=True)
        for name in ("requests", "mails", "office", "leftovers")
    }
    return {
        "claim of requests": lambda: claim(Request, Request.waits_for(WorkKind.VERIFY)),
        "claim of messages": lambda: claim(Message),
        "sweep": lambda: sweep(runtime),
        **jobs,
    }


def _of_fronts(app: Flask, customer: Customer, staff: str, searched: str) -> dict[str, Question]:
    """Return the questions of web pages and API. `searched` is the customer number of an account of another company."""
    token = {"Authorization": f"Bearer {customer.token}"}
    person, office = signed_in_at(app, customer.manager), _staff_at(app, staff)
    anybody = app.test_client()

    def see(client: FlaskClient, path: str, **head: str) -> Question:
        def look() -> None:
            answer = client.get(path, headers=head)
            if answer.status_code != 200:
                raise Refused(answer.status)

        return look

    listed = anybody.get("/api/v1/requests", headers=token).get_json()["items"]
    one, number = listed[0]["id"], customer.main.customer_number

    def order() -> None:
        head = {**token, "Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        assert anybody.post("/api/v1/orders", data=front.BODY, headers=head).status_code == 202

    return {
        "an order by the API": order,
        "list of requests by the API": see(anybody, "/api/v1/requests", **token),
        "overview": see(person, "/standortverwaltung"),
        "history": see(person, "/anfragen"),
        "a request's page": see(person, f"/anfragen/{one}"),
        "costs": see(person, "/standortverwaltung/kosten"),
        "back office: to do": see(office, "/backoffice"),
        "back office: search for a number": see(office, f"/backoffice/suche?suche={searched}"),
        "back office: search for a common word": see(office, "/backoffice/suche?suche=example"),
        "back office: a customer": see(office, f"/backoffice/kunden/{number}"),
        "back office: a request": see(office, f"/backoffice/anfragen/{one}"),
        "/metrics": see(anybody, "/metrics"),
        "/readyz": see(anybody, "/readyz"),
    }


def _staff_at(app: Flask, email: str) -> FlaskClient:
    client = app.test_client()
    token = re.search('name="csrf_token" value="([^"]+)"', client.get("/anmelden").text)
    assert token is not None
    form = {"csrf_token": token[1], "email": email, "password": PASSWORD}
    assert enter_code(client, client.post("/anmelden", data=form)).status_code == 302
    return client
