"""For those who run it: /healthz, /readyz, /metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import prometheus_client
import redis
from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.exc import SQLAlchemyError

from models import migrations
from models.jobs import jobs
from models.jobs.jobs import JobRun
from models.views import lists
from tasks.hints import PATIENCE
from web.resources import Resources, resources

operations = Blueprint("operations", __name__)

BEAT_IS_LATE = timedelta(seconds=60)


@operations.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


@operations.get("/readyz")
def readyz() -> Response:
    """Whether this front can take requests, and how the rest is.

    503 if the database is away or not migrated. Without broker or beat it still takes requests (the rows wait),
    so those make it `degraded`, not unready.
    """
    checks = {**_database_checks(resources()), "broker": _broker_check(resources().settings.redis_url)}
    necessary = checks["database"] == "ok" and checks["migrations"] == "ok"
    degraded = any(answer != "ok" for answer in checks.values())
    status = "ready" if not degraded else "degraded" if necessary else "unready"
    body = json.dumps({"status": status, "checks": checks}) + "\n"
    return Response(body, 200 if necessary else 503, mimetype="application/json")


def _database_checks(found: Resources) -> dict[str, str]:
    try:
        with found.database.transaction() as session:
            revision = migrations.current_revision(session.connection())
            if revision != migrations.head_revision():
                return {"database": "ok", "migrations": f"at {revision}", "beat": "unknown"}
            swept = jobs.last_run(session, "sweep")
    except SQLAlchemyError as error:
        return {"database": type(error).__name__, "migrations": "unknown", "beat": "unknown"}
    late = swept is None or found.clock() - swept > BEAT_IS_LATE
    last = "never" if swept is None else swept.isoformat()
    return {"database": "ok", "migrations": "ok", "beat": f"last ran {last}" if late else "ok"}


def _broker_check(url: str) -> str:
    # Asked once: redis-py would wait out several of these timeouts.
    once = Retry(NoBackoff(), 0)
    client = redis.Redis.from_url(url, socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE, retry=once)
    try:
        client.ping()
    except redis.RedisError as error:
        return type(error).__name__
    finally:
        client.close()
    return "ok"


class DatabaseCollector(Collector):
    """What the rows say, read when somebody asks."""

    def __init__(self, found: Resources) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Requests by status and step, age of the oldest due row, mails by state, what the jobs found."""
        now = self._found.clock()
        with self._found.database.transaction() as session:
            requests = lists.request_counts(session)
            oldest = lists.oldest_due(session, now)
            mails = lists.message_counts(session)
            runs = jobs.last_successes(session)
        by_state = GaugeMetricFamily("standorte_requests", "Requests by status and step", labels=["status", "step"])
        for status, step, count in requests:
            by_state.add_metric([status, step], count)
        yield by_state
        age = (now - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily("standorte_oldest_due_seconds", "Age of the oldest due request", value=age)
        letters = GaugeMetricFamily("standorte_messages", "Mails by state", labels=["state"])
        for state, count in mails:
            letters.add_metric([state], count)
        yield letters
        yield from _jobs(runs, now)


def _jobs(runs: Mapping[str, JobRun], now: datetime) -> Iterator[Metric]:
    """What each scheduled job found when it last ran to its end, and how long ago that is."""
    found = GaugeMetricFamily("standorte_findings", "Findings of a job's last whole run", labels=["job", "kind"])
    ages = GaugeMetricFamily("standorte_job_age_seconds", "Since a job last ran to its end", labels=["job"])
    for name, run in runs.items():
        assert run.ended_at is not None
        ages.add_metric([name], (now - run.ended_at).total_seconds())
        for kind, count in run.found.items():
            found.add_metric([name, kind], count)
    yield found
    yield ages


@operations.get("/metrics")
def metrics() -> Response:
    """For Prometheus: what the rows say, and what the processes of this machine counted."""
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(resources()))
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    text = prometheus_client.generate_latest(registry)
    return Response(text, mimetype=prometheus_client.CONTENT_TYPE_LATEST)
