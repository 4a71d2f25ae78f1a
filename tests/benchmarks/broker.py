"""Measures how many orders a second the web application accepts while Redis works, and while it is in a bad state."""

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
    """How many orders per second were accepted in each round of the benchmark, with one bad state of Redis and without.

    `broken` has the rates of the rounds in this state, `normal` those of the rounds between them, with a Redis that
    works.
    """

    broken: list[float]
    normal: list[float]


def measure(system: System, posts: int, rounds: int) -> dict[str, Rates]:
    """Measure the orders accepted a second in each bad state of Redis, in turns with a Redis that works.

    Each state is measured in `rounds` rounds of `posts` orders. Return the rates by a description of the state, such as
    "that is full".
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
    """Return a function that gets the system and returns a context manager, which breaks Redis during its block.

    It executes the Redis command `cause` at the beginning and `end` at the end. A command is a list of its words, such
    as CONFIG, SET, maxmemory, 1.
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
