"""Tests of hints (Celery messages that work is due) on a real Redis: at most one waits for each kind of work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from celery import Celery

from models.db.work_queue import WorkKind
from tasks.hints import hint, send_hint, sending_app
from workers.beat import HintScheduler


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    """Empty Redis, and provide a Celery app on it that is the current app of this process."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with sending_app("tests", redis_url) as app:
        yield app


def waiting(redis_url: str) -> dict[WorkKind, int]:
    """Return how many messages wait in Redis, by kind of work; kinds without any are left out."""
    with redis.Redis.from_url(redis_url) as client:
        lengths = {kind: client.llen(kind) for kind in WorkKind}
    return {kind: int(length) for kind, length in lengths.items() if length}


@pytest.mark.usefixtures("app")
def test_a_message_that_waits_stops_none_of_another_kind(redis_url: str) -> None:
    for kind in (WorkKind.JOBS, WorkKind.SWEEP, WorkKind.MESSAGES, WorkKind.MESSAGES):
        assert send_hint(kind)
    assert hint([WorkKind.VERIFY, WorkKind.MESSAGES])
    assert waiting(redis_url) == dict.fromkeys((WorkKind.JOBS, WorkKind.SWEEP, WorkKind.MESSAGES, WorkKind.VERIFY), 1)


def scheduler_of(app: Celery, directory: Path) -> HintScheduler:
    """Return the scheduler of Celery beat, which keeps its schedule in a file in the directory."""
    return HintScheduler(app=app, schedule_filename=str(directory / "schedule"))


def test_no_queue_grows_while_no_worker_runs(app: Celery, redis_url: str, tmp_path: Path) -> None:
    with closing(scheduler_of(app, tmp_path)) as scheduler:
        for _ in range(3):
            for entry in scheduler.schedule.values():
                if entry.task in set(WorkKind):
                    scheduler.apply_entry(entry)
        assert waiting(redis_url) == {WorkKind.SWEEP: 1, WorkKind.JOBS: 1}
        with redis.Redis.from_url(redis_url) as client:
            client.delete(WorkKind.SWEEP)
        for entry in scheduler.schedule.values():
            if entry.task in set(WorkKind):
                scheduler.apply_entry(entry)
        assert waiting(redis_url) == {WorkKind.SWEEP: 1, WorkKind.JOBS: 1}


def test_workers_read_json_and_nothing_else(app: Celery) -> None:
    consumer = Celery(broker=app.conf.broker_url, config_source="celeryconfig", set_as_current=False)
    assert (consumer.conf.accept_content, consumer.conf.task_serializer) == (["json"], "json")
    send_hint(WorkKind.SWEEP)
    with redis.Redis.from_url(app.conf.broker_url) as client:
        [message] = client.lrange(WorkKind.SWEEP, 0, -1)
    assert json.loads(message)["content-type"] == "application/json"


@pytest.mark.parametrize("off", [timedelta(minutes=-2), timedelta(minutes=2)])
def test_beat_asks_every_two_seconds_whatever_is_done_to_the_clock(app: Celery, off: timedelta, tmp_path: Path) -> None:
    with time_machine.travel(off), closing(scheduler_of(app, tmp_path)) as scheduler:
        assert 0 < scheduler.tick() <= 2
        # As when the clock is set right.
        with time_machine.travel(-off):
            assert 0 < scheduler.tick() <= 2


@pytest.mark.parametrize("off", [timedelta(minutes=-2), timedelta(minutes=2)])
def test_beat_asks_soon_whatever_clock_the_last_one_had(app: Celery, off: timedelta, tmp_path: Path) -> None:
    with time_machine.travel(off), closing(scheduler_of(app, tmp_path)) as scheduler:
        scheduler.tick()
    with closing(scheduler_of(app, tmp_path)) as scheduler:
        assert scheduler.tick() <= 2
