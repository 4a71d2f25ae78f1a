"""Measures orders through the real workers: how many a second, how long one takes, and how their memory grows."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis
from celery import current_app

from models.db.work_queue import WorkKind
from models.requests.requests import Request
from tasks.hints import hint
from tests.benchmarks import baselines
from tests.benchmarks.system import System
from tests.fakes import wait_until

SWEPT_EVERY = 1.0
"""Seconds between two sweeps: the same as in production, where beat asks for them."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Orders a second, all due at once: until all are `completed`, and until all their mails have left (`mailed`)."""

    completed: float
    mailed: float


def orders_per_second(system: System, processes: int, count: int) -> Rates:
    """Measure how fast a worker with `processes` processes completes `count` orders that are all due at once."""
    before = system.completed()
    with system.worker(processes):
        _run(system, count // 10)
        completed, mailed = _run(system, count)
    assert system.completed() - before == count + count // 10
    return Rates(count / completed, count / mailed)


def chains_per_second(system: System, processes: int, count: int) -> float:
    """Return how many chains of four empty Celery tasks a worker completes a second.

    `count` chains are queued at once; the worker has `processes` processes.
    """
    broker = system.redis.url(0)
    with redis.Redis.from_url(broker) as client, system.bare_worker(processes):
        done = partial(_number, client, baselines.DONE)
        warm = done() + count // 10
        baselines.send_chains(broker, count // 10, "bare")
        wait_until(lambda: done() == warm, seconds=120, what="the first chains")
        baselines.send_chains(broker, count, "filling")
        began = time.perf_counter()
        # All at once, as all orders are due at once.
        client.rename("filling", "bare")
        wait_until(lambda: done() == warm + count, seconds=600, what="the last chain")
        return count / (time.perf_counter() - began)


def _run(system: System, count: int) -> tuple[float, float]:
    """Accept `count` orders, and send the workers a Celery message that they are due.

    Return the seconds from this message until all are completed, and until every mail has left.
    """
    system.accept(count)
    began = swept = time.perf_counter()
    completed: float | None = None
    hint([WorkKind.VERIFY])
    while not system.idle():
        now = time.perf_counter()
        assert now - began < 600, "waited in vain for the last order"
        if completed is None and not system.has_due(Request):
            completed = now - began
        if now - swept > SWEPT_EVERY:
            swept = now
            hint([WorkKind.SWEEP])
        time.sleep(0.02)
    ended = time.perf_counter() - began
    return completed or ended, ended


def seconds_for_one(system: System, count: int) -> list[float]:
    """Process `count` orders one at a time on an idle system.

    Return the seconds of each, from before the order is accepted until its last mail has left.
    """
    found = []
    with system.worker(2):
        _run(system, 10)
        for _ in range(count):
            began = time.perf_counter()
            system.accept(1)
            hint([WorkKind.VERIFY])
            while not system.idle():
                time.sleep(0.001)
            found.append(time.perf_counter() - began)
    return found


def memory(system: System, tasks: int) -> list[float]:
    """Return the resident memory of the largest worker process, in MiB, after every tenth of `tasks` tasks.

    The worker takes `tasks` Celery messages and a quarter as many orders. Each order has four steps and four messages.
    """
    samples: list[float] = []
    with redis.Redis.from_url(system.redis.url(0)) as client, system.worker(2) as worker:
        for _ in range(10):
            system.accept(tasks // 40)
            for _ in range(tasks // 10):
                current_app.send_task(WorkKind.VERIFY)
            wait_until(
                lambda: client.llen(WorkKind.VERIFY) == 0 and system.idle(), seconds=600, what="a tenth of the tasks"
            )
            pools = _children(worker.pid)
            samples.append(max(_resident(child) for pool in pools for child in (pool, *_children(pool))))
    return samples


def _number(client: redis.Redis, key: str) -> int:
    value = client.get(key)
    return int(value) if isinstance(value, bytes) else 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _resident(pid: int) -> float:
    [kibibytes] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kibibytes) / 1024
