"""The baselines of the benchmarks: a chain of four empty Celery tasks, and a Flask endpoint that inserts a row."""

from __future__ import annotations

import os
import threading

import psycopg
import redis
from celery import Celery, chain
from flask import Flask, Response, request

from workers.gateways.registrar import plain_url

app = Celery("bare", broker=os.environ.get("REDIS_URL"))
# As favourable as can be: no results, and some of the short tasks fetched ahead.
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=8, task_default_queue="bare")
DONE = "bare-chains-done"
_local = threading.local()


@app.task(name="bare.empty")
def empty() -> None:
    """Do nothing: the first, second and third task of a chain of four empty Celery tasks, the baseline."""


@app.task(name="bare.last")
def last() -> None:
    """Count a finished chain of four empty tasks in Redis (key `DONE`): its fourth and last task."""
    if not hasattr(_local, "redis"):
        _local.redis = redis.Redis.from_url(os.environ["REDIS_URL"])
    _local.redis.incr(DONE)


def send_chains(broker: str, count: int, queue: str) -> None:
    """Send `count` chains of four tasks; the first task of each goes to `queue`, the others to the queue `bare`."""
    with app.connection_for_write(broker) as link:
        for _ in range(count):
            chain(empty.si().set(queue=queue), empty.si(), empty.si(), last.si()).apply_async(connection=link)


def create_app() -> Flask:
    """Return a Flask application whose POST /rows inserts the body into one row, commits and answers 202."""
    front = Flask("bare")

    @front.post("/rows")
    def insert() -> tuple[Response, int]:
        if not hasattr(_local, "connection"):
            _local.connection = psycopg.connect(plain_url(os.environ["DATABASE_URL"]))
        _local.connection.execute("INSERT INTO bare_rows (body) VALUES (%s)", (request.get_data(as_text=True),))
        _local.connection.commit()
        return Response("{}", mimetype="application/json"), 202

    return front
