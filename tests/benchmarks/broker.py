"""How many orders the front accepts beside a Redis in each bad state, against a Redis that works."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import redis

from models.db.work_queue import WorkKind
from tests.benchmarks import front
from tests.benchmarks.system import System

NORMAL = "that works"
_COMMANDS = {
    "that is a read-only replica": (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
    "that is full": (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
    "with a foreign key in the queue's place": (["SET", WorkKind.VERIFY, "foreign"], ["DEL", WorkKind.VERIFY]),
    "that lets nobody write": (["ACL", "SETUSER", "default", "-@write"], ["ACL", "SETUSER", "default", "+@write"]),
}


def measure(system: System, posts: int) -> dict[str, float]:
    """Return the orders accepted a second beside a Redis in each state; `NORMAL` is measured first and last."""
    first = _rate(system, posts)
    rates = {}
    for state, (cause, end) in _COMMANDS.items():
        with redis.Redis(port=system.redis.port) as client:
            client.execute_command(*cause)
            rates[state] = _rate(system, posts)
            client.execute_command(*end)
    with _frozen(system):
        rates["that is frozen"] = _rate(system, posts)
    system.redis.stop()
    rates["that is away"] = _rate(system, posts)
    system.redis.start()
    return {NORMAL: (first + _rate(system, posts)) / 2, **rates}


def _rate(system: System, posts: int) -> float:
    return front.ours(system, posts).per_second


@contextmanager
def _frozen(system: System) -> Iterator[None]:
    with redis.Redis(port=system.redis.port) as client:
        server = psutil.Process(int(client.info()["process_id"]))  # type: ignore[index, unused-ignore]
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)
