"""The worker and beat as separate processes, as an operator runs them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from celery import Celery

import celeryconfig
from models.db.session import Database
from models.jobs.jobs import last_run
from models.links.links import submit_link
from models.values import utc_now
from models.vault import Vault
from tasks.settings import SettingsError
from tests.factories import a_link, make_main
from tests.fakes import wait_until
from tests.workers.conftest import Children
from workers import programs
from workers.settings import WorkerSettings
from workers.stack.ports import accepts_connections, free_port

pytestmark = pytest.mark.usefixtures("database_settings")


def test_an_idle_system_is_silent_and_an_error_is_not(children: Children, database: Database, redis_url: str) -> None:
    def swept() -> object:
        with database.transaction() as session:
            return last_run(session, "sweep")

    children.start(programs.worker(1))
    children.start(programs.beat(Path("schedule")))
    wait_until(swept, what="the first sweep")
    first = swept()
    wait_until(lambda: "ready" in children.said(), what="the worker's word that it is ready")
    before = children.said()
    wait_until(lambda: swept() != first, what="the next sweep")
    with Celery(broker=redis_url, set_as_current=False) as sender:
        sender.send_task("requests.advance", args=["nothing it expects"], queue=celeryconfig.task_default_queue)
    wait_until(lambda: "TypeError" in children.said(), what="the error's traceback")
    after = children.said().removeprefix(before)
    assert "sweep" not in before + after
    assert "requests.advance" in after.splitlines()[0] and "error" in after.splitlines()[0]


def test_a_worker_shows_what_it_counted_on_a_port_of_its_own(
    children: Children, database: Database, redis_url: str, tmp_path: Path
) -> None:
    port = free_port()
    with database.transaction() as session:
        main, manager = make_main(session)
        submit_link(session, Vault("a key"), manager, main, a_link("1000001"), utc_now())
    children.start(
        programs.console("worker", "--concurrency", "1"),
        METRICS_PORT=str(port),
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "counters"),
    )

    def shown() -> str:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
        return answer.raise_for_status().text

    wait_until(lambda: accepts_connections(port), what="the port")
    with Celery(broker=redis_url, set_as_current=False) as sender:
        sender.send_task("requests.advance", queue=celeryconfig.task_default_queue)
    wait_until(lambda: 'standorte_requests_ended_total{kind="link",status="rejected"} 1.0' in shown(), what="the count")


def test_a_port_for_counters_that_nobody_keeps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", "9101")
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with pytest.raises(SettingsError, match=r"^METRICS_PORT needs PROMETHEUS_MULTIPROC_DIR"):
        WorkerSettings()
