"""Measures the processor time that row-level security costs: of orders and overviews, with it and without it.

Two systems take turns, each with one process and one connection. Processor time of the web application and of its
PostgreSQL backend is measured, because it depends less than elapsed time on what else the machine does.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from pydantic import SecretStr

from models.db.roles import DatabaseRole
from models.db.row_security import apply_row_security
from models.db.session import Database
from tests.benchmarks import front, overview
from tests.benchmarks.system import Customer, System, customers_of, vacuum
from tests.factories import UNLIMITED, prepare
from web.app import create_app
from web.resources import resources
from web.settings import WebSettings
from workers.gateways.registrar import plain_url

SUBS = 500
"""Sub-accounts of each main account."""
_WARM = 60
"""How many requests are made first and not counted, until statements are planned and caches filled."""
_AT_ONCE = 20
"""How many requests one round makes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of processor time of one request: with row-level security (`walled`), and without it (`bare`).

    Both are medians of the rounds.
    """

    walled: float
    bare: float


@dataclass(slots=True)
class _Side:
    """One of the two compared systems: the web application with row-level security, or the one without it.

    `client` is not signed in, `signed_in` is; `backend` is the process id of the PostgreSQL backend of its only
    connection.
    """

    client: FlaskClient
    signed_in: FlaskClient
    customers: list[Customer]
    backend: int = 0

    def order(self) -> None:
        customer = self.customers[uuid4().int % len(self.customers)]
        head = {"Authorization": f"Bearer {customer.token}", "Content-Type": "application/json"}
        answer = self.client.post("/api/v1/orders", data=front.BODY, headers=head | {"Idempotency-Key": uuid4().hex})
        assert answer.status_code == 202, answer.text

    def overview(self) -> None:
        assert self.signed_in.get("/standortverwaltung").status_code == 200

    def used(self) -> float:
        """Return the milliseconds of processor time that this process and the PostgreSQL backend have used so far."""
        ran = Path(f"/proc/{self.backend}/schedstat").read_text("ascii").split()[0]
        return time.process_time() * 1000 + int(ran) / 1e6


def measure(system: System, rounds: int) -> dict[str, Cost]:
    """Measure each kind of request `rounds` times with and without row-level security.

    Return the costs by the name of the kind, such as "an order". Each database has 20 companies with `SUBS`
    sub-accounts each.
    """
    with ExitStack() as stack:
        logging.disable(logging.INFO)
        stack.callback(logging.disable, logging.NOTSET)
        walled, bare = (stack.enter_context(_side(system, is_walled=on)) for on in (True, False))
        found = {
            "an order": _in_turns(walled, bare, _Side.order, rounds),
            "an overview": _in_turns(walled, bare, _Side.overview, rounds),
        }
    system.flush()
    return found


def _in_turns(walled: _Side, bare: _Side, request: Callable[[_Side], None], rounds: int) -> Cost:
    for side in (walled, bare):
        for _ in range(_WARM):
            request(side)
    times = [(_used(walled, request), _used(bare, request)) for _ in range(rounds)]
    return Cost(*(statistics.median(side) for side in zip(*times, strict=True)))


def _used(side: _Side, request: Callable[[_Side], None]) -> float:
    before = side.used()
    for _ in range(_AT_ONCE):
        request(side)
    return (side.used() - before) / _AT_ONCE


@contextmanager
def _side(system: System, *, is_walled: bool) -> Iterator[_Side]:
    name = f"wall_{is_walled}".lower()
    with ExitStack() as stack:
        url = stack.enter_context(system.fresh(name, prepare))
        owner = stack.enter_context(closing(Database(url)))
        apply_row_security(owner, on=is_walled)
        customers = customers_of(owner)
        with psycopg.connect(plain_url(url)) as connection:
            for place, one in enumerate(customers):
                connection.execute("UPDATE accounts SET role = 'main' WHERE id = %s", (one.main.id,))
                first = 5_000_000 + place * SUBS
                connection.execute(overview.SUBS, {"first": first, "count": SUBS, "main": one.main.id})
        vacuum(url)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for key, value in UNLIMITED.items():
            patch.setenv(key, value)
        if not is_walled:
            patch.setattr("web.app.current_caller", None)
        app = create_app(
            WebSettings(
                database_url=system.postgres.url(name, DatabaseRole.FRONT),
                redis_url=system.redis.url(0),
                secret_key=SecretStr(system.environment["SECRET_KEY"]),
            )
        )
        with app.app_context():
            database = stack.enter_context(closing(resources().database))
        side = _Side(app.test_client(), overview.signed_in_at(app, customers[0].manager), customers)

        @sa.event.listens_for(database.engine, "checkout")
        def note(connection: psycopg.Connection, *_: object) -> None:
            side.backend = connection.info.backend_pid

        yield side
