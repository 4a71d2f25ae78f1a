"""Tests of the database behind PgBouncer in transaction mode, where each transaction may get another connection."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from celery import Celery
from sqlalchemy.orm import Session

from models.db.caller import login_caller
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from tests.factories import an_order, fill_pool, make_main, prove_contact, submit_order
from tests.fakes import wait_until
from tests.workers.conftest import Children
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.usefixtures("database_settings")
ORDERS = 24


@pytest.fixture
def pooled(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[str]:
    """Run PgBouncer with three connections to PostgreSQL; yield the URL of the portal's database through PgBouncer.

    PgBouncer is stopped after the test. If it is not installed, the test is skipped; on CI (CI=true) it fails.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no pgbouncer on PATH")
        pytest.skip("no pgbouncer on PATH")
    port = free_port()
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={postgres.socket_dir} user={DatabaseRole.WORKER}\n"
        f"[pgbouncer]\nlisten_addr = {LOOPBACK}\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 500\n"
    )
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with settings.open() as content:
        server = subprocess.Popen(
            # Another user may not read files of the test.
            [program, "-q", "/dev/stdin"],
            stdin=content,
            stderr=subprocess.DEVNULL,
            user=nobody.pw_uid if nobody else None,
            group=nobody.pw_gid if nobody else None,
            extra_groups=[] if nobody else None,
        )
    try:
        wait_until(lambda: accepts_connections(port), what="PgBouncer")
        yield f"postgresql+psycopg://{DatabaseRole.WORKER}@{LOOPBACK}:{port}/standorte?pgbouncer=true"
    finally:
        server.terminate()
        server.wait(10)


def test_orders_go_through_whatever_connection_each_transaction_gets(
    pooled: str, children: Children, database: Database, redis_url: str
) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session, count=ORDERS)
        prove_contact(session, main)
    children.start(
        programs.worker(2, [WorkKind.VERIFY, WorkKind.PROVISION, WorkKind.MESSAGES, WorkKind.SWEEP]),
        DATABASE_URL=pooled,
    )
    with closing(Database(pooled, pool_size=8)) as behind:

        def order(_place: int) -> None:
            with behind.transaction() as session:
                submit_order(session, manager, main, an_order(), utc_now())

        with ThreadPoolExecutor(8) as customers:
            list(customers.map(order, range(ORDERS)))

        def ended() -> bool:
            with behind.transaction() as session:
                found = session.scalars(sa.select(Request.status)).all()
            return found.count(Status.COMPLETED) == ORDERS

        with Celery(broker=redis_url, set_as_current=False) as sender:

            def swept() -> bool:
                sender.send_task(WorkKind.SWEEP, queue=WorkKind.SWEEP)
                return ended()

            wait_until(swept, seconds=60, what="the last order")
    # Nobody takes the mails in this test.
    problems = [line for line in children.said().splitlines() if '"level": "error"' in line or "Traceback" in line]
    assert problems == [] and "database.unavailable" not in children.said()


def test_each_transaction_brings_its_limits_and_its_caller_and_leaves_none_behind(pooled: str) -> None:
    with (
        closing(Database(pooled, statement_limit=7, caller=lambda: login_caller(b"1"))) as front,
        closing(Database(pooled, statement_limit=None)) as other,
    ):
        for _ in range(8):
            with front.transaction() as one, front.transaction() as two, other.transaction() as third:
                assert [facts(session) for session in (one, two, third)] == [
                    ("7s", "login 31", "off"),
                    ("7s", "login 31", "off"),
                    ("0", "", "on"),
                ]


def facts(session: Session) -> tuple[str, str, str]:
    """Return settings of the transaction's connection: statement timeout, caller, and whether merge joins are planned.

    The caller is that of row-level security.
    """
    limit, caller, merges = session.execute(
        sa.text(
            "SELECT current_setting('statement_timeout'), coalesce(current_setting('standorte.caller', true), ''),"
            " current_setting('enable_mergejoin')"
        )
    ).one()
    return limit, caller, merges
