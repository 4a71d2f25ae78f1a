"""Prometheus metrics of the HTTP responses of pages and API: their count by class of status, and their duration."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

ANSWERS = Counter("standorte_http_answers", "Answers of pages and JSON API, by class of status", ["status"])
SECONDS = Histogram(
    "standorte_http_seconds",
    "From the request to the answer of pages and JSON API",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


def count_request(endpoint: str | None, status: int, took: float) -> None:
    """Count a response with this HTTP status that took `took` seconds.

    `endpoint` is Flask's name of the view, None if no view matched. Static files and the endpoints for operators are
    not counted.
    """
    if endpoint == "static" or (endpoint or "").startswith("health."):
        return
    ANSWERS.labels(f"{status // 100}xx").inc()
    SECONDS.observe(took)
