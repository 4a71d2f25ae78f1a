"""Endpoints for operators: /healthz, /readyz and /metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import prometheus_client
import sqlalchemy as sa
from flask import Blueprint, Response, abort
from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from models import migrations
from models.jobs import jobs
from models.jobs.jobs import JobRun
from models.jobs.outages import current_outages
from models.version import VERSION
from models.views import queue_counts
from tasks.attempt_counters import counters_fault
from tasks.hints import broker_fault
from tasks.metrics import clock_offset
from tasks.reconcile.schedule import JOBS
from web.proxied_requests import was_forwarded
from web.resources import Resources, resources

health = Blueprint("health", __name__)

BEAT_IS_LATE = timedelta(seconds=60)


@health.get("/healthz")
def healthz() -> Response:
    """Answer 200 as long as the process runs."""
    return Response("ok\n", mimetype="text/plain")


@health.get("/readyz")
def readyz() -> Response:
    """Answer with a JSON status (ready, degraded, unready), the version, and checks of the parts of the system.

    `database` and `migrations` are about the database, `broker` about Celery's broker, `beat` about the process that
    starts Celery's periodic tasks. If failed attempts are counted in a Redis other than the broker, it is checked as
    `wrong_tries`. The result of a check is "ok" or says what is wrong.

    Answers 503 (unready) if the database is unreachable, read-only or older than this version, else 200. Without the
    broker or beat, requests are still accepted and stored, so these failures only make the status `degraded`. If a
    proxy has forwarded the request, the answer is the status alone: the checks are for operators, not for the public.
    """
    checks = {**_database_checks(resources()), "broker": broker_fault() or "ok"}
    settings = resources().settings
    if settings.broker_url is not None and settings.redis_url is not None:
        checks["wrong_tries"] = counters_fault(settings.redis_url) or "ok"
    necessary = checks["database"] == "ok" and checks["migrations"] == "ok"
    degraded = any(answer != "ok" for answer in checks.values())
    status = "ready" if not degraded else "degraded" if necessary else "unready"
    found = {"status": status} if was_forwarded() else {"status": status, "version": VERSION, "checks": checks}
    return Response(json.dumps(found) + "\n", 200 if necessary else 503, mimetype="application/json")


def _database_checks(found: Resources) -> dict[str, str]:
    try:
        with found.database.transaction() as session:
            if session.scalar(sa.text("SHOW transaction_read_only")) == "on":
                return {"database": "read-only", "migrations": "unknown", "beat": "unknown"}
            revision = migrations.current_revision(session.connection())
            if not migrations.serves(revision):
                return {"database": "ok", "migrations": f"at {revision}", "beat": "unknown"}
            swept = jobs.last_run(session, "sweep")
    except SQLAlchemyError as error:
        return {"database": type(error).__name__, "migrations": "unknown", "beat": "unknown"}
    late = swept is None or found.clock() - swept > BEAT_IS_LATE
    last = "never" if swept is None else swept.isoformat()
    return {"database": "ok", "migrations": "ok", "beat": f"last ran {last}" if late else "ok"}


class DatabaseCollector(Collector):
    """A Prometheus collector that reads its metrics from the database at each scrape."""

    def __init__(self, found: Resources) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are read from the database, and whether the broker answers.

        They are: requests by status and step, messages by state; how long the oldest request, and the oldest row of
        each kind of work, has been waiting for a worker; the offset of this machine's clock; the age of the last sweep
        (the task that looks for due rows); the length of outages of external systems; free number blocks; and for each
        scheduled job its findings, the age of its last successful run and its interval.
        """
        now = self._found.clock()
        with self._found.database.transaction() as session:
            requests = queue_counts.request_counts(session)
            oldest = queue_counts.oldest_due(session, now)
            mails = queue_counts.message_counts(session)
            runs = jobs.last_successes(session)
            away = current_outages(session)
            waiting = queue_counts.oldest_of_work(session, now)
            pools = queue_counts.free_numbers(session)
            swept = jobs.last_run(session, "sweep")
        by_state = GaugeMetricFamily("standorte_requests", "Requests by status and step", labels=["status", "step"])
        for status, step, count in requests:
            by_state.add_metric([status, step], count)
        yield by_state
        yield clock_offset(self._found.database)
        age = (now - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily("standorte_oldest_due_seconds", "Age of the oldest due request", value=age)
        outages = GaugeMetricFamily("standorte_outage_seconds", "Since a system does not answer", labels=["system"])
        for outage in away:
            outages.add_metric([outage.system], (now - outage.since).total_seconds())
        yield outages
        letters = GaugeMetricFamily("standorte_messages", "Mails by state", labels=["state"])
        for state, count in mails:
            letters.add_metric([state], count)
        yield letters
        yield from _waiting(waiting, pools)
        if swept is not None:
            swept_ago = (now - swept).total_seconds()
            yield GaugeMetricFamily("standorte_sweep_age_seconds", "Since the last sweep", value=swept_ago)
        answers = broker_fault() is None
        yield GaugeMetricFamily("standorte_broker_up", "Whether the broker answers", value=int(answers))
        yield from _jobs(runs, now)


def _waiting(oldest: Iterable[tuple[str, float]], pools: Iterable[tuple[str, int, int]]) -> Iterator[Metric]:
    """Yield two metrics: waiting times by kind of work, and free number blocks by number pool.

    `oldest` has pairs of a kind of work and the seconds for which its oldest due row has been waiting. `pools` has the
    area code, the block size and the count of free blocks of each pool.
    """
    waits = GaugeMetricFamily("standorte_waiting_seconds", "Age of a kind of work's oldest due row", labels=["work"])
    for work, seconds in oldest:
        waits.add_metric([work], seconds)
    yield waits
    free = GaugeMetricFamily("standorte_free_blocks", "Free number blocks of a pool", labels=["area_code", "size"])
    for area_code, size, count in pools:
        free.add_metric([area_code, str(size)], count)
    yield free


def _jobs(runs: Mapping[str, JobRun], now: datetime) -> Iterator[Metric]:
    """Yield the metrics of scheduled jobs: findings by kind, seconds since the end of the last run, and the interval.

    `runs` has the last successful run of each job by the job's name; a job that never succeeded is not among them, and
    has only its interval. Findings are what that run found wrong.
    """
    found = GaugeMetricFamily("standorte_findings", "Findings of a job's last whole run", labels=["job", "kind"])
    ages = GaugeMetricFamily("standorte_job_age_seconds", "Since a job last ran to its end", labels=["job"])
    for name, run in runs.items():
        assert run.ended_at is not None
        ages.add_metric([name], (now - run.ended_at).total_seconds())
        for kind, count in run.found.items():
            found.add_metric([name, kind], count)
    intervals = GaugeMetricFamily("standorte_job_interval_seconds", "How often a job is due", labels=["job"])
    for job in JOBS.values():
        intervals.add_metric([job.name], job.every.total_seconds())
    yield found
    yield ages
    yield intervals


@health.get("/metrics")
def metrics() -> Response:
    """Return the metrics in Prometheus's text format: those of `DatabaseCollector`, and the processes' counters.

    The counters are summed over all processes that share PROMETHEUS_MULTIPROC_DIR; without that setting there are none.
    Aborts with 404 if a proxy has forwarded the request: the metrics are for the operator's monitoring, not for the
    public.
    """
    if was_forwarded():
        abort(404)
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(resources()))
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    text = prometheus_client.generate_latest(registry)
    return Response(text, mimetype=prometheus_client.CONTENT_TYPE_LATEST)
