"""Prometheus metrics of the pipeline, served by a front on the same machine or on the worker's METRICS_PORT."""

from __future__ import annotations

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from models.db.session import Database

STEP_SECONDS = Histogram(
    "standorte_step_seconds",
    "From the moment a request came to a step, or was last tried, until the step was done",
    ["step"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
RETRIES = Counter("standorte_retries", "Attempts that will be repeated, by step", ["step"])
ENDED = Counter("standorte_requests_ended", "Requests that came to an end", ["kind", "status"])
MAILS = Counter(
    "standorte_mails", "Mails and letters that left, were refused, or will be tried again", ["template", "outcome"]
)
SWEPT = Counter("standorte_swept", "Requests, trunks and messages that a sweep found due and not claimed by any worker")


def clock_offset(database: Database) -> GaugeMetricFamily:
    """Return a metric with the difference in seconds between the clocks of the database server and of this machine.

    It is positive if this machine's clock is behind. Connects to the database if its time was not read before, and
    raises `SQLAlchemyError` if the database does not answer then.
    """
    what = "The database's clock minus this machine's"
    return GaugeMetricFamily("standorte_clock_offset_seconds", what, value=database.clock_offset)
