"""Tests that the web application accepts requests while the broker, a Redis, hangs or refuses writes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from models.db.work_queue import WorkKind
from tasks.hints import BrokerPause
from tests.web.conftest import ORDER, Front, FrontOf
from workers.stack.redis import EmbeddedRedis


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Provide a running Redis of the test's own, as message broker; it is stopped after the test."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def front(front: Front, front_of: FrontOf, broker: EmbeddedRedis) -> Front:
    """Provide a client of a web application whose broker is the Redis of the fixture `broker`."""
    front.client = front_of(redis_url=broker.url(0))
    return front


def test_a_customer_gets_the_answer_though_the_broker_hangs(
    front: Front, broker: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(broker.url(0)) as client:
        pid = client.info()["process_id"]
        assert front.post("/orders", ORDER).status_code == 202
        assert client.llen(WorkKind.VERIFY) == 1
        assert front.client.get("/readyz").get_json()["checks"]["broker"] == "ok"
        client.delete(WorkKind.VERIFY)
    os.kill(pid, signal.SIGSTOP)
    assert front.post("/orders", ORDER).status_code == 202
    assert front.post("/orders", ORDER).status_code == 202
    # The first request waited for the timeout; the next one does not try.
    assert caplog.text.count("hint.lost") == 1
    assert front.client.get("/readyz").get_json()["checks"]["broker"] == "OperationalError"


@pytest.mark.parametrize(
    "command",
    ["REPLICAOF 127.0.0.1 1", "CONFIG SET maxmemory 1", "SET requests.verify foreign", "ACL SETUSER default -@write"],
    ids=["a read-only replica", "full", "a foreign key in the queue's place", "no right to write"],
)
def test_a_customer_gets_the_answer_though_the_broker_takes_nothing(
    front: Front, broker: EmbeddedRedis, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    with redis.Redis.from_url(broker.url(0)) as client:
        client.execute_command(*command.split())
    assert front.post("/orders", ORDER).status_code == 202
    assert "hint.lost" in caplog.text
    proof = {"method": "credentials", "email": "nobody@example.com", "password": "wrong"}
    assert front.post("/link-requests", {"customer_number": "9999999", "proof": proof}).status_code == 202
    ready = front.client.get("/readyz").get_json()
    assert (ready["status"], ready["checks"]["broker"] == "ok") == ("degraded", False)


def test_the_pauses_grow_and_one_caller_asks_for_all() -> None:
    now = 100.0
    pause = BrokerPause(lambda: now)
    assert pause.is_over() and pause.is_over()
    for _ in range(8):
        pause.found(away=True)
    lengths = []
    for _ in range(6):
        began = now
        while not pause.is_over():
            now += 1
        lengths.append(now - began)
        assert not pause.is_over()
        pause.found(away=True)
    assert lengths == [2, 2, 4, 8, 16, 30]
    now += 30
    assert pause.is_over()
    pause.found(away=False)
    assert pause.is_over() and pause.is_over()
