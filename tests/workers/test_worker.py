"""Tests of worker and beat as separate processes, as operators run them.

They write log lines and counters, replace killed processes, and end in time when they are asked to stop.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import sqlalchemy as sa
from celery import Celery

from models.db.session import Database
from models.db.work_queue import WorkKind
from models.jobs.jobs import Job, JobRun, Outcome, last_run
from models.links.links import submit_link
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import Status
from models.values import utc_now
from models.vault import Vault
from tasks.settings import SettingsError
from tests.chaos.skewed_program import skewed
from tests.factories import a_link, make_main
from tests.fakes import wait_until
from tests.plain_http import call
from tests.workers.conftest import Children
from workers import programs
from workers.settings import WorkerSettings
from workers.stack.ports import accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.usefixtures("database_settings")


def test_an_idle_system_is_silent_and_an_error_is_not(children: Children, database: Database, redis_url: str) -> None:
    def swept() -> object:
        with database.transaction() as session:
            return last_run(session, "sweep")

    children.start(programs.worker(1))
    children.start(programs.beat(Path("schedule")))
    wait_until(swept, what="the first sweep")
    first = swept()
    wait_until(lambda: children.said().count("ready") == len(WorkKind), what="the word that all kinds are ready")
    before = children.said()
    wait_until(lambda: swept() != first, what="the next sweep")
    with Celery(broker=redis_url, set_as_current=False) as sender:
        sender.send_task(WorkKind.VERIFY, args=["nothing it expects"], queue=WorkKind.VERIFY)
    wait_until(lambda: "TypeError" in children.said(), what="the error's traceback")
    after = children.said().removeprefix(before)
    assert not [line for line in (before + after).splitlines() if "sweep" in line and "ready" not in line]
    assert "requests.verify" in after.splitlines()[0] and "error" in after.splitlines()[0]


def test_a_worker_shows_what_it_counted_on_a_port_of_its_own(
    children: Children, database: Database, redis_url: str, tmp_path: Path
) -> None:
    port = free_port()
    with database.transaction() as session:
        main, manager = make_main(session)
        submit_link(session, Vault("a key"), manager, main, a_link("1000001"), utc_now())
    # With an interpreter of its own: the library looks for the counters' directory when it is imported.
    children.start_as_operators(
        programs.console("worker", "--concurrency", "1"),
        METRICS_PORT=str(port),
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "counters"),
    )

    def shown() -> str:
        answer = call("GET", f"http://127.0.0.1:{port}/metrics", timeout=5)
        return answer.raise_for_status().text

    wait_until(lambda: accepts_connections(port), what="the port")
    with Celery(broker=redis_url, set_as_current=False) as sender:
        sender.send_task(WorkKind.VERIFY, queue=WorkKind.VERIFY)
    wait_until(lambda: 'standorte_requests_ended_total{kind="link",status="rejected"} 1.0' in shown(), what="the count")


@pytest.mark.parametrize("off", [-120, 120])
def test_a_worker_whose_clock_is_wrong_works_as_any_other_and_shows_how_far_it_is_off(
    children: Children, database: Database, redis_url: str, tmp_path: Path, off: int
) -> None:
    port = free_port()
    with database.transaction() as session:
        main, manager = make_main(session)
        link = submit_link(session, Vault("a key"), manager, main, a_link("1000001"), database.now())
    children.start(
        skewed(programs.worker(1), off), METRICS_PORT=str(port), PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "counters")
    )
    wait_until(lambda: accepts_connections(port), what="the port")
    shown = call("GET", f"http://127.0.0.1:{port}/metrics", timeout=20).raise_for_status().text
    [figure] = [line for line in shown.splitlines() if line.startswith("standorte_clock_offset_seconds")]
    assert float(figure.split()[1]) == pytest.approx(-off, abs=5)
    with Celery(broker=redis_url, set_as_current=False) as sender:
        sender.send_task(WorkKind.VERIFY, queue=WorkKind.VERIFY)

    def entries() -> list[tuple[str, float]]:
        with database.transaction() as session:
            told = sa.select(TimelineEntry.code, TimelineEntry.at).where(TimelineEntry.request_id == link.id)
            now = database.now()
            return [(code, (now - at).total_seconds()) for code, at in session.execute(told.order_by(TimelineEntry.id))]

    wait_until(lambda: len(entries()) > 1, what="the end of the request")
    assert all(0 <= age < 60 for _, age in entries())


def test_a_port_for_counters_that_nobody_keeps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", "9101")
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with pytest.raises(SettingsError, match=r"^METRICS_PORT needs PROMETHEUS_MULTIPROC_DIR"):
        WorkerSettings()


def test_a_worker_does_the_kinds_of_work_it_is_asked_for_and_replaces_what_was_killed(
    children: Children, database: Database, redis_url: str
) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        link = submit_link(session, Vault("a key"), manager, main, a_link("1000001"), utc_now())
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    launcher = children.start(programs.console("worker", "--queues", "requests.verify,requests.sweep"))
    wait_until(lambda: children.said().count("ready.") == 2, what="both kinds to be ready")
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(WorkKind.VERIFY, "a message that nobody can read")
    wait_until(lambda: "worker.ended" in children.said(), what="the end of the worker that could not read it")
    wait_until(lambda: children.said().count("ready.") == 3, what="its successor")
    for worker in psutil.Process(launcher.pid).children():
        worker.kill()
    with Celery(broker=redis_url, set_as_current=False) as sender, redis.Redis.from_url(redis_url) as client:
        sender.send_task(WorkKind.MESSAGES, queue=WorkKind.MESSAGES)

        def rejected() -> bool:
            # As beat does: a message may have been on its way to a worker that was killed.
            if not client.exists(WorkKind.SWEEP):
                sender.send_task(WorkKind.SWEEP, queue=WorkKind.SWEEP)
            with database.transaction() as session:
                return session.get_one(Request, link.id).status is Status.REJECTED

        wait_until(rejected, what="the end of the request")
        assert client.llen(WorkKind.MESSAGES) == 1
    assert children.said().count("worker.ended") == 3


def test_an_unknown_kind_of_work_is_refused_with_the_known_ones(children: Children) -> None:
    launcher = children.start(programs.console("worker", "--queues", "requests"))
    launcher.join(30)
    assert launcher.exitcode == 2
    assert all(kind in children.said().replace("\n", " ") for kind in WorkKind)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_is_asked_to_stop_leaves_no_process(children: Children, stop: signal.Signals) -> None:
    launcher = children.start(programs.worker(1))
    wait_until(lambda: children.said().count("ready.") == len(WorkKind), what="all kinds to be ready")
    processes = psutil.Process(launcher.pid).children(recursive=True)
    assert len(processes) > 2 * len(WorkKind)
    # As a terminal that closes, or systemd: to all at once.
    assert launcher.pid is not None
    os.killpg(launcher.pid, stop)
    launcher.join(30)
    assert launcher.exitcode == 0
    _, left = psutil.wait_procs(processes, timeout=10)
    assert left == []


def test_a_long_job_ends_when_its_worker_is_asked_to_stop(
    children: Children, database: Database, redis_url: str, postgres: EmbeddedPostgres
) -> None:
    launcher = children.start(programs.worker(1, [WorkKind.JOBS]))
    with psycopg.connect(postgres.url("registrar", driver=""), autocommit=False) as other:
        other.execute("LOCK TABLE own_numbers")
        with Celery(broker=redis_url, set_as_current=False) as sender:
            sender.send_task(WorkKind.JOBS, queue=WorkKind.JOBS)
        wait_until(lambda: _claimed(database, "registrar"), what="the job's begin")
        assert launcher.pid is not None
        os.kill(launcher.pid, signal.SIGTERM)
        wait_until(lambda: "Warm shutdown" in children.said(), what="the request to stop")
    launcher.join(30)
    assert launcher.exitcode == 0
    with database.transaction() as session:
        assert session.scalar(sa.select(JobRun.outcome).where(JobRun.name == "registrar")) is Outcome.LOST
        assert session.get_one(Job, "registrar").lease is None


def test_a_worker_that_hangs_is_killed_in_its_time(
    children: Children, database: Database, redis_url: str, postgres: EmbeddedPostgres
) -> None:
    launcher = children.start(programs.worker(1, [WorkKind.JOBS]), STOP_SECONDS="1")
    with psycopg.connect(postgres.url("registrar", driver=""), autocommit=False) as other:
        other.execute("LOCK TABLE own_numbers")
        with Celery(broker=redis_url, set_as_current=False) as sender:
            sender.send_task(WorkKind.JOBS, queue=WorkKind.JOBS)
        wait_until(lambda: _claimed(database, "registrar"), what="the job's begin")
        assert launcher.pid is not None
        processes = psutil.Process(launcher.pid).children(recursive=True)
        os.kill(launcher.pid, signal.SIGTERM)
        launcher.join(30)
        assert launcher.exitcode == 0
    _, left = psutil.wait_procs(processes, timeout=10)
    assert left == []
    assert "worker.killed" in children.said()


def _claimed(database: Database, job: str) -> bool:
    with database.transaction() as session:
        return session.scalar(sa.select(Job.lease).where(Job.name == job)) is not None


def test_a_database_that_is_away_is_a_line_in_the_log_and_no_traceback(
    children: Children, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    children.start(programs.worker(1, [WorkKind.SWEEP]))
    with Celery(broker=redis_url, set_as_current=False) as sender:
        sender.send_task(WorkKind.SWEEP, queue=WorkKind.SWEEP)
    wait_until(lambda: "database.unavailable" in children.said(), what="the line")
    assert "Traceback" not in children.said()
