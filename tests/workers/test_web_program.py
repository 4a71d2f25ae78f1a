"""`standorte web` as a separate process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa

from models.db.session import Database
from tests.fakes import wait_until
from tests.workers.conftest import Children
from workers import programs
from workers.stack.ports import accepts_connections, free_port

pytestmark = pytest.mark.usefixtures("database_settings")

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%job_heartbeats%'"


def test_every_thread_has_a_connection_of_its_own_and_one_is_left(children: Children, database: Database) -> None:
    port = free_port()
    front = f"http://127.0.0.1:{port}"
    children.start(programs.console("web", "--port", str(port), "--processes", "1", "--threads", "16"))
    wait_until(lambda: accepts_connections(port), what="the front")
    with database.engine.connect() as looking, ThreadPoolExecutor(15) as pool:
        with database.engine.begin() as blocking:
            blocking.execute(sa.text("LOCK TABLE job_heartbeats"))
            asked = [pool.submit(httpx.get, f"{front}/readyz", timeout=30) for _ in range(15)]

            def all_wait() -> bool:
                found = looking.scalar(sa.text(WAITING))
                looking.rollback()
                return bool(found == 15)

            wait_until(all_wait, what="fifteen requests, each on its connection")
            assert httpx.get(f"{front}/readyz", timeout=30).status_code == 503
            assert httpx.get(f"{front}/healthz", timeout=30).status_code == 200
        assert [answer.result().status_code for answer in asked] == [200] * 15
