"""Tests of running scheduled jobs: only when they are due, never twice at once, and recorded with what they found.

If the worker of a run dies, another worker runs the job after the lease has ended.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from celeryconfig import beat_schedule
from models import retention
from models.db.work_queue import WorkKind
from models.jobs.findings import Finding
from models.jobs.jobs import Job, JobHeartbeat, JobRun, Outcome, ask_for_run, last_run, last_successes, latest_runs
from models.values import utc_now
from tasks import celery_tasks
from tasks.ports import GatewayUnavailable
from tasks.reconcile import job_run as jobs
from tasks.reconcile.job_run import LEASE, Run, ScheduledJob, run_job
from tasks.reconcile.schedule import JOBS
from tests.fakes import wait_until
from tests.tasks.conftest import Pipeline

HOUR = timedelta(hours=1)


def nothing(run: Run) -> None:
    run.counts["looked_at"] += 1


def a_trace(run: Run) -> JobHeartbeat:
    return JobHeartbeat(name="trace", ran_at=run.now, counts={})


def finds_one(run: Run) -> None:
    with run.transaction() as session:
        session.add(a_trace(run))
        run.find("held_long", "somebody", repaired=True, since=run.now.isoformat())


def job(work: Callable[[Run], None]) -> ScheduledJob:
    return ScheduledJob("test", HOUR, work)


def runs(pipeline: Pipeline) -> list[JobRun]:
    with pipeline.runtime.database.transaction() as session:
        return list(session.scalars(sa.select(JobRun).order_by(JobRun.id)))


def row(pipeline: Pipeline) -> Job:
    with pipeline.runtime.database.transaction() as session:
        return session.get_one(Job, "test")


def start(
    pipeline: Pipeline, work: Callable[[Run], None], *, dry: bool = False, by_hand: bool = False
) -> JobRun | None:
    return run_job(pipeline.runtime, job(work), dry=dry, by_hand=by_hand)


def left_a_trace(pipeline: Pipeline) -> bool:
    with pipeline.runtime.database.transaction() as session:
        return last_run(session, "trace") is not None


def test_a_job_runs_when_it_is_due_and_not_before(pipeline: Pipeline) -> None:
    began = pipeline.clock.now
    assert start(pipeline, nothing) is not None
    assert start(pipeline, nothing) is None
    assert row(pipeline).due_at == began + HOUR
    pipeline.clock.advance(HOUR)
    assert start(pipeline, nothing) is not None
    assert [(run.outcome, run.counts) for run in runs(pipeline)] == [(Outcome.DONE, {"looked_at": 1})] * 2
    assert pipeline.hints == []


def test_by_hand_it_runs_at_once_and_counts_as_a_run(pipeline: Pipeline) -> None:
    start(pipeline, nothing)
    now = pipeline.clock.advance(timedelta(minutes=10))
    assert start(pipeline, nothing, by_hand=True) is not None
    assert row(pipeline).due_at == now + HOUR


@pytest.mark.parametrize(("by_hand", "rests"), [(False, [0.3, 1.0]), (True, [])])
def test_a_scheduled_run_rests_as_long_as_it_worked_and_one_by_hand_does_not(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, by_hand: bool, rests: list[float]
) -> None:
    worked, rested = [time.monotonic()], list[float]()
    clock = SimpleNamespace(monotonic=lambda: sum(worked), sleep=rested.append)
    monkeypatch.setattr(jobs, "time", clock)

    def three_pieces(run: Run) -> None:
        for seconds in (0.3, 240, 0):
            with run.transaction():
                worked.append(seconds)

    start(pipeline, three_pieces, by_hand=by_hand)
    assert rested == pytest.approx(rests)


def test_of_two_at_the_same_time_one_works(pipeline: Pipeline) -> None:
    begun, may_end = Event(), Event()

    def slow(run: Run) -> None:
        begun.set()
        assert may_end.wait(20)
        finds_one(run)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(start, pipeline, slow)
        wait_until(begun.is_set, what="the first run")
        assert start(pipeline, finds_one) is None
        assert start(pipeline, finds_one, by_hand=True) is None
        may_end.set()
        assert first.result(20) is not None
    assert len(runs(pipeline)) == 1
    assert left_a_trace(pipeline)


def test_many_hints_at_once_are_one_run(pipeline: Pipeline) -> None:
    with ThreadPoolExecutor(8) as workers:
        found = list(workers.map(lambda _: start(pipeline, nothing), range(8)))
    assert sum(run is not None for run in found) == 1
    assert len(runs(pipeline)) == 1


def test_what_a_killed_worker_leaves_is_taken_over_after_its_lease(pipeline: Pipeline) -> None:
    class Killed(BaseException):
        pass

    def killed(run: Run) -> None:
        raise Killed

    with pytest.raises(Killed):
        start(pipeline, killed)
    assert start(pipeline, nothing) is None
    assert start(pipeline, nothing, by_hand=True) is None
    pipeline.clock.advance(LEASE)
    assert start(pipeline, nothing) is not None
    assert [run.outcome for run in runs(pipeline)] == [Outcome.LOST, Outcome.DONE]


def test_a_worker_that_is_asked_to_stop_gives_the_job_back_at_once(pipeline: Pipeline) -> None:
    asked = Event()
    runtime = replace(pipeline.runtime, stopping=asked.is_set)

    def endless(run: Run) -> None:
        while True:
            finds_one(run)
            asked.set()

    with pipeline.runtime.database.transaction() as session:
        assert ask_for_run(session, "test", pipeline.clock(), allow_removals=True) is None
    stopped = run_job(runtime, job(endless))
    assert stopped is not None
    assert left_a_trace(pipeline)
    assert (stopped.outcome, stopped.found, stopped.error) == (Outcome.LOST, {"held_long": 1}, None)
    left = row(pipeline)
    assert (left.lease, left.attempts, left.allow_removals) == (None, 0, True)
    assert start(pipeline, nothing) is not None
    assert [run.outcome for run in runs(pipeline)] == [Outcome.LOST, Outcome.DONE]


def test_who_was_slower_than_the_lease_writes_nothing_any_more(pipeline: Pipeline) -> None:
    def slow(run: Run) -> None:
        pipeline.clock.advance(LEASE)
        assert start(pipeline, nothing) is not None
        finds_one(run)

    late = start(pipeline, slow)
    assert late is not None
    assert not left_a_trace(pipeline)
    assert [run.outcome for run in runs(pipeline)] == [Outcome.LOST, Outcome.DONE]
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Finding)) == 0
    assert row(pipeline).lease is None


def test_every_transaction_makes_the_lease_last(pipeline: Pipeline) -> None:
    def long(run: Run) -> None:
        for _ in range(5):
            pipeline.clock.advance(LEASE * 0.9)
            with run.transaction():
                assert start(pipeline, nothing) is None

    assert start(pipeline, long) is not None
    assert [run.outcome for run in runs(pipeline)] == [Outcome.DONE]


def test_the_lease_lasts_also_while_a_run_does_something_else_than_transactions(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = replace(pipeline.runtime, clock=utc_now)
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=3))

    def end() -> datetime:
        due_at = row(pipeline).due_at
        assert due_at is not None
        return due_at

    def reads(run: Run) -> None:
        first = end()
        wait_until(lambda: end() > first, what="a longer lease")

    done = run_job(runtime, job(reads))
    assert done is not None and done.error is None
    assert (done.outcome, row(pipeline).lease) == (Outcome.DONE, None)


def test_a_transaction_that_outlasts_the_lease_leaves_the_job_claimed(pipeline: Pipeline) -> None:
    others = []

    def reads_long(run: Run) -> None:
        with run.transaction():
            pipeline.clock.advance(LEASE * 2)
        others.append(start(pipeline, nothing))

    assert start(pipeline, reads_long) is not None
    assert others == [None]
    assert [run.outcome for run in runs(pipeline)] == [Outcome.DONE]


def test_a_dry_run_records_what_it_would_do_and_does_nothing(pipeline: Pipeline) -> None:
    start(pipeline, nothing)
    due_at = row(pipeline).due_at
    pipeline.clock.advance(timedelta(minutes=1))
    run = start(pipeline, finds_one, dry=True, by_hand=True)
    assert run is not None
    assert not left_a_trace(pipeline)
    assert (run.dry_run, run.found) == (True, {"held_long": 1})
    assert [finding.kind for finding in pipeline.findings(run)] == ["held_long"]
    assert (row(pipeline).due_at, row(pipeline).lease) == (due_at, None)
    assert pipeline.hints == []
    with pipeline.runtime.database.transaction() as session:
        assert latest_runs(session)["test"].dry_run is False


def test_what_fails_is_recorded_and_tried_again_soon(pipeline: Pipeline) -> None:
    def away(run: Run) -> None:
        with run.transaction() as session:
            session.add(a_trace(run))
            run.find("held_long", "somebody", repaired=True)
            raise GatewayUnavailable("timed out")

    run = start(pipeline, away)
    assert run is not None
    assert (run.outcome, run.error) == (Outcome.FAILED, "GatewayUnavailable('timed out')")
    assert run.found == {}
    assert not left_a_trace(pipeline)
    due_at = row(pipeline).due_at
    assert due_at is not None and pipeline.clock.now < due_at < pipeline.clock.now + timedelta(seconds=5)
    pipeline.clock.advance(timedelta(seconds=5))
    assert start(pipeline, finds_one) is not None
    assert row(pipeline).attempts == 0
    with pipeline.runtime.database.transaction() as session:
        assert last_successes(session)["test"].found == {"held_long": 1}


def test_a_bug_is_recorded_without_what_the_database_says_of_people(pipeline: Pipeline) -> None:
    def broken(run: Run) -> None:
        with run.transaction() as session:
            session.execute(sa.text("SELECT CAST(:address AS integer)"), {"address": "kim@example.com"})

    run = start(pipeline, broken)
    assert run is not None
    assert run.outcome is Outcome.FAILED
    assert "kim" not in str(run.error)


def test_old_runs_are_forgotten_with_what_they_found(pipeline: Pipeline) -> None:
    first = start(pipeline, finds_one)
    assert first is not None
    pipeline.clock.advance(retention.JOB_RUNS + HOUR)
    start(pipeline, nothing)
    assert first.id not in [run.id for run in runs(pipeline)]
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Finding)) == 0
    assert left_a_trace(pipeline)


def test_of_very_many_findings_all_are_counted_and_some_recorded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_RECORDED", 5)

    def finds_many(run: Run) -> None:
        for _ in range(3):
            with run.transaction():
                for place in range(3):
                    run.find("held_long", str(place), repaired=False, since=run.now.isoformat())

    run = start(pipeline, finds_many)
    assert run is not None
    assert (run.found, run.unrepaired) == ({"held_long": 9}, 9)
    assert len(pipeline.findings(run)) == 5


def test_beat_asks_for_jobs_more_often_than_any_is_due() -> None:
    entries: list[dict[str, Any]] = [entry for entry in beat_schedule.values() if entry["task"] == WorkKind.JOBS]
    [asked] = [timedelta(seconds=entry["schedule"]) for entry in entries]
    assert all(asked < found.every for found in JOBS.values())


def test_the_task_runs_every_job_that_is_due(pipeline: Pipeline) -> None:
    celery_tasks.run_scheduled_jobs(pipeline.runtime)
    celery_tasks.run_scheduled_jobs(pipeline.runtime)
    assert sorted(run.name for run in runs(pipeline)) == sorted(JOBS)
    pipeline.clock.advance(JOBS["requests"].every)
    celery_tasks.run_scheduled_jobs(pipeline.runtime)
    assert Counter(run.name for run in runs(pipeline))["requests"] == 2


def test_a_job_may_take_longer_for_a_statement_than_others(pipeline: Pipeline) -> None:
    limits: list[str] = []

    def ask(run: Run) -> None:
        with run.transaction() as session:
            limits.append(str(session.scalar(sa.text("SHOW statement_timeout"))))

    start(pipeline, ask)
    assert limits == ["4min"]
