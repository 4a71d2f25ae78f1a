"""Tests of the endpoints for operators: /healthz, /readyz and /metrics.

They report outages of the database, an older schema, and the last runs of the scheduled jobs. A call that a proxy has
forwarded learns no details.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.db import session as sessions
from models.migrations import head_revision
from models.vault import Vault
from models.version import VERSION
from tasks.ports import GatewayUnavailable, Ports
from tasks.reconcile.job_run import Run, ScheduledJob, run_job
from tasks.runtime import Runtime
from tests.fakes import FakeClock, FakeMailer, FakePrinter, FakeRegistrar
from tests.web.conftest import ORDER, Front, FrontOf
from web.resources import resources

Start = Callable[[Callable[[Run], None]], None]


@pytest.fixture
def start(front: Front, clock: FakeClock) -> Start:
    """Provide a function that runs the scheduled job `registrar` with other work than usual.

    It takes this work as a function, which is called with the running job (`Run`).
    """
    registrar = FakeRegistrar()
    ports = Ports(registrar, FakeMailer(), FakePrinter(), registrar, registrar)
    runtime = Runtime(front.database, ports, Vault("a key"), clock, "sip.example", "http://portal.example", "example")

    def run(work: Callable[[Run], None]) -> None:
        run_job(runtime, ScheduledJob("registrar", timedelta(hours=1), work), by_hand=True)

    return run


def finds(*kinds: str) -> Callable[[Run], None]:
    def work(run: Run) -> None:
        with run.transaction():
            for kind in kinds:
                run.find(kind, "t000000000001", repaired=True)

    return work


def away(run: Run) -> None:
    raise GatewayUnavailable("down")


def test_jobs_show_what_they_found_last_and_when_they_last_came_to_an_end(
    front: Front, start: Start, clock: FakeClock
) -> None:
    before = front.client.get("/metrics").text
    assert "standorte_findings{" not in before
    start(finds("missing_there", "missing_there", "unknown_there"))
    clock.advance(timedelta(minutes=10))
    shown = front.client.get("/metrics").text
    assert 'standorte_findings{job="registrar",kind="missing_there"} 2.0' in shown
    assert 'standorte_findings{job="registrar",kind="unknown_there"} 1.0' in shown
    assert 'standorte_job_age_seconds{job="registrar"} 600.0' in shown

    start(away)
    clock.advance(timedelta(minutes=10))
    failed = front.client.get("/metrics").text
    assert 'standorte_job_age_seconds{job="registrar"} 1200.0' in failed
    assert 'standorte_findings{job="registrar",kind="missing_there"} 2.0' in failed

    start(finds())
    mended = front.client.get("/metrics").text
    assert 'standorte_job_age_seconds{job="registrar"} 0.0' in mended
    assert "standorte_findings{" not in mended


def test_operators_see_how_it_is(front: Front) -> None:
    front.post("/orders", ORDER)
    assert front.client.get("/healthz").status_code == 200
    ready = front.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.get_json()["version"] == VERSION
    checks = ready.get_json()["checks"]
    assert (checks["database"], checks["migrations"]) == ("ok", "ok")
    assert checks["broker"] != "ok"
    assert checks["beat"] == "last ran never"
    metrics = front.client.get("/metrics").text
    assert 'standorte_requests{status="acknowledged",step="verify"} 1.0' in metrics
    assert "standorte_oldest_due_seconds 0.0" in metrics


def test_a_proxy_hears_only_how_it_is(front: Front) -> None:
    answer = front.client.get("/readyz", headers={"X-Forwarded-For": "192.0.2.1"})
    assert (answer.status_code, answer.get_json()) == (200, {"status": "degraded"})


@pytest.fixture
def schema(superuser: sa.Engine) -> Iterator[Callable[[str], None]]:
    """Provide a function that takes a revision, and makes the database claim that its schema has this revision.

    The true revision is restored after the test.
    """

    def say(revision: str) -> None:
        with superuser.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})

    yield say
    say(head_revision())


def test_a_version_goes_on_with_a_newer_schema_and_not_with_an_older_one(
    front: Front, schema: Callable[[str], None]
) -> None:
    schema("9999")
    assert front.client.get("/readyz").get_json()["checks"]["migrations"] == "ok"
    schema("0001")
    ready = front.client.get("/readyz")
    assert (ready.status_code, ready.get_json()["checks"]["migrations"]) == (503, "at 0001")


def test_a_monitor_that_keeps_asking_leaves_no_lines_in_the_log(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert front.client.get(path).status_code == 200
    assert caplog.text == ""
    front.get("/requests")
    assert "/api/v1/requests" in caplog.text


@pytest.fixture
def _standby(front: Front) -> Iterator[None]:
    """During the test, make the database refuse every write, as a server does that has become a standby."""

    def allow(writes: str) -> None:
        with front.database.engine.connect() as connection:
            owner = connection.execution_options(isolation_level="AUTOCOMMIT")
            owner.execute(sa.text("SET default_transaction_read_only = off"))
            owner.execute(sa.text(f"ALTER DATABASE standorte {writes}"))
        front.database.close()

    allow("SET default_transaction_read_only = on")
    yield
    allow("RESET default_transaction_read_only")


@pytest.mark.usefixtures("_standby")
def test_a_database_that_has_become_read_only_is_an_outage(front_of: FrontOf, front: Front) -> None:
    # A process that has no connections yet, as after a fail-over.
    client = front_of()
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["status"]) == (503, "unready")
    assert ready.get_json()["checks"]["database"] == "read-only"
    answer = replace(front, client=client).post("/orders", ORDER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["type"] == "/problems/unavailable"
    assert client.get("/healthz").status_code == 200


def test_while_the_database_does_not_answer_one_thread_is_left(
    front_of: FrontOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_STUCK", 0.2)
    client = front_of(web_threads=4)
    with client.application.app_context():
        database = resources().database
    with database.transaction(), database.transaction(), database.transaction():
        refused = client.get("/readyz")
        assert refused.status_code == 503
        assert refused.json is not None and refused.json["checks"]["database"] == "TimeoutError"
        call = client.get("/api/v1/products", headers={"Authorization": "Bearer unknown"})
        assert (call.status_code, "Retry-After" in call.headers) == (503, True)
        assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
