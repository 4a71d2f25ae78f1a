"""Measures the sweep (the look for due work) with many requests due, and a worker's claim of a batch of them.

The sweep is compared with one when nothing is due, the claim with a bare SELECT.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa

from models.db.work_queue import WorkKind, claim_due, count_due
from models.requests.requests import Request
from models.values import utc_now
from tasks.celery_tasks import sweep
from tasks.runtime import Runtime
from tests.benchmarks.system import System, vacuum
from tests.factories import prepare
from workers.gateways.registrar import plain_url
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings

_ACCOUNT = """
WITH issued AS (INSERT INTO customer_numbers (number) VALUES ('1000000') RETURNING number)
INSERT INTO accounts
    (customer_number, role, state, name, street, postal_code, city, contact_name, contact_email, created_at)
SELECT
    number, 'main', 'active', 'Zentrale', 'Alter Markt 1', '10115', 'Berlin', 'Kim Beispiel', 'kim@example.com', now()
FROM issued
"""
_REQUESTS = """
INSERT INTO requests
    (kind, status, step, main_id, account_id, customer_number, locale, product_key, channels, area_code, block_size,
    option_keys, attempts, created_at, updated_at, due_at)
SELECT
    'order', 'acknowledged', 'verify', id, id, customer_number, 'de', 'trunk-10', 4, '030', 1,
    '{}', 0, at, at, at
FROM accounts, generate_series(1, %s) AS n, LATERAL (SELECT now() - n * interval '1 millisecond' AS at)
"""
_BARE = sa.text("SELECT id FROM requests WHERE due_at <= :now ORDER BY due_at LIMIT :batch FOR UPDATE SKIP LOCKED")


@dataclass(frozen=True, slots=True)
class Swept:
    """Median seconds of a sweep with requests due (`sweep`) and with none (`idle`), and of claiming a batch (`claim`).

    `bare` is the baseline of a claim: a SELECT that only locks as many rows.
    """

    sweep: float
    idle: float
    """Seconds of the sweep when nothing is due."""
    claim: float
    """Seconds until the claim of one batch is committed."""
    bare: float
    """Seconds of a SELECT that locks as many rows as a claim does, and does nothing else."""


def measure(system: System, due: int, rounds: int) -> Swept:
    """Time `rounds` sweeps (looks for due work) with `due` requests due, then claims of batches until no row is due.

    As many sweeps are timed with nothing due. Claims alternate with bare SELECTs that lock as many rows. Fails if a row
    is still due at the end.
    """
    with system.fresh("swept", prepare) as url:
        _fill(url, due)
        with _runtime(system, url) as runtime:
            idle, busy = _sweeps(runtime, rounds)
            bare, claim = _claims(runtime, due)
        system.flush()
    return Swept(*(statistics.median(times) for times in (busy, idle, claim, bare)))


def _fill(url: str, due: int) -> None:
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(_ACCOUNT)
        connection.execute(_REQUESTS, [due])
    vacuum(url)


@contextmanager
def _runtime(system: System, url: str) -> Iterator[Runtime]:
    named: dict[str, Any] = {name.lower(): value for name, value in system.environment.items()}
    runtime = build_runtime(WorkerSettings(**(named | {"database_url": url})))
    try:
        yield runtime
    finally:
        close_runtime(runtime)


def _sweeps(runtime: Runtime, rounds: int) -> tuple[list[float], list[float]]:
    # Its clock is a day behind: nothing is due yet.
    yesterday = replace(runtime, clock=lambda: utc_now() - timedelta(days=1))
    idle: list[float] = []
    busy: list[float] = []
    for _ in range(rounds):
        for at, times in ((yesterday, idle), (runtime, busy)):
            times.append(_seconds(partial(sweep, at)))
    return idle, busy


def _claims(runtime: Runtime, due: int) -> tuple[list[float], list[float]]:
    bare, ours = [], []
    for _ in range(-(-due // runtime.batch)):
        bare.append(_seconds(lambda: _lock(runtime)))
        ours.append(_seconds(lambda: _claim(runtime)))
    with runtime.database.transaction() as session:
        assert not count_due(session, Request, utc_now())
    return bare, ours


def _lock(runtime: Runtime) -> None:
    with runtime.database.transaction() as session:
        session.execute(_BARE, {"now": runtime.clock(), "batch": runtime.batch}).all()


def _claim(runtime: Runtime) -> None:
    now = runtime.clock()
    with runtime.database.transaction() as session:
        # Nothing of it comes back while we measure.
        claim_due(
            session,
            Request,
            now=now,
            lease=uuid.uuid4(),
            until=now + timedelta(days=1),
            limit=runtime.batch,
            which=Request.waits_for(WorkKind.VERIFY),
        )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
