"""Measures how many orders a second the front accepts while Redis is in one of several bad states or works."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psutil
import redis

from models.db.work_queue import WorkKind
from tests.benchmarks import front
from tests.benchmarks.system import System

State = Callable[[System], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Rates:
    """Orders accepted a second, one figure a round, while Redis is in one bad state (broken) and works (normal)."""

    broken: list[float]
    normal: list[float]
    """Beside a Redis that works, measured in turns with `broken`."""


def measure(system: System, posts: int, rounds: int) -> dict[str, Rates]:
    """Return the orders accepted a second by bad state of Redis, each beside the rate with a Redis that works.

    Both are measured alternately `rounds` times with `posts` orders each. A key describes a state: "that is full".
    """
    rates = {state: Rates([], []) for state in _STATES}
    for _ in range(rounds):
        for state, broken in _STATES.items():
            rates[state].normal.append(_rate(system, posts))
            with broken(system):
                rates[state].broken.append(_rate(system, posts))
    return rates


def _rate(system: System, posts: int) -> float:
    return front.ours(system, posts).per_second


def _commands(cause: list[str], end: list[str]) -> State:
    """Return a context manager that puts Redis into a bad state by the command `cause`, and ends it by `end`.

    Each command is its words, such as CONFIG, SET, maxmemory.
    """

    @contextmanager
    def state(system: System) -> Iterator[None]:
        with redis.Redis.from_url(system.redis.url()) as client:
            client.execute_command(*cause)
            try:
                yield
            finally:
                client.execute_command(*end)

    return state


@contextmanager
def _frozen(system: System) -> Iterator[None]:
    with redis.Redis.from_url(system.redis.url()) as client:
        server = psutil.Process(int(client.info()["process_id"]))  # type: ignore[index, unused-ignore]
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


@contextmanager
def _away(system: System) -> Iterator[None]:
    system.redis.stop()
    try:
        yield
    finally:
        system.redis.start()


_STATES: dict[str, State] = {
    "that is a read-only replica": _commands(["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
    "that is full": _commands(["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
    "with a foreign key in the queue's place": _commands(["SET", WorkKind.VERIFY, "foreign"], ["DEL", WorkKind.VERIFY]),
    "that lets nobody write": _commands(
        ["ACL", "SETUSER", "default", "-@write"], ["ACL", "SETUSER", "default", "+@write"]
    ),
    "that is frozen": _frozen,
    "that is away": _away,
}
