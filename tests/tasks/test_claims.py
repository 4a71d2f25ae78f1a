"""Tests of claims on due rows, by which one worker at a time works on a row.

A claim is extended while the work continues, and given back for rows whose result could not be recorded. While an
external system is down, rows that need it are not claimed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models.jobs.outages import LONGEST, ONE_TRY, SHORTEST, ExternalSystem, Outage
from models.requests.requests import Request
from models.values import utc_now
from tasks.claims import Claim, claimed
from tasks.note_outages import note_answers
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, NotSent
from tasks.runtime import Runtime
from tests.factories import an_order
from tests.fakes import wait_until
from tests.tasks.conftest import Pipeline

AWAY = GatewayUnavailable("down")


def nobody() -> None:
    """Do nothing. It is passed as `more_due`, which is called if more rows may be due."""


def by_the_real_clock(pipeline: Pipeline, lease: timedelta) -> Runtime:
    """Return a runtime with the machine's clock, whose claims on rows expire after `lease`."""
    return replace(pipeline.runtime, clock=utc_now, lease=lease)


def lock(session: sa.orm.Session, id: UUID) -> Request:
    """Return the request with this id, locked until the end of the session's transaction."""
    return session.get_one(Request, id, with_for_update=True)


def test_a_lease_lasts_as_long_as_the_work(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    runtime = by_the_real_clock(pipeline, timedelta(seconds=0.6))
    with claimed(runtime, Request, nobody, limit=10) as claim:
        first_end = pipeline.request(id).due_at
        assert first_end is not None
        wait_until(lambda: utc_now() > first_end + runtime.lease, what="the time at which the lease would have ended")
        assert claim.is_safe
        with claimed(runtime, Request, nobody, limit=10) as another:
            assert another.ids == []


def test_no_work_begins_under_a_lease_that_could_not_be_kept(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    runtime = by_the_real_clock(pipeline, timedelta(seconds=0.6))
    with claimed(runtime, Request, nobody, limit=10) as claim:
        assert claim.is_safe
        with runtime.database.transaction() as session:
            # The row is locked, as by a transaction that hangs; the lease cannot be moved.
            lock(session, id)
            wait_until(lambda: not claim.is_safe, what="the moment after which no work may begin")


def test_what_could_not_be_recorded_is_given_back(pipeline: Pipeline) -> None:
    given, kept = pipeline.order(an_order()), pipeline.order(an_order())
    with claimed(pipeline.runtime, Request, nobody, limit=10) as claim:
        claim.give_back([given])
    row = pipeline.request(given)
    assert (row.lease, row.due_at) == (None, pipeline.clock.now + timedelta(seconds=1))
    assert pipeline.request(kept).lease == claim.lease


def test_a_locked_row_is_given_back_when_it_is_free(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        with claimed(pipeline.runtime, Request, nobody, limit=10) as claim:
            lock(session, id)
            claim.give_back([id])
        assert pipeline.request(id).lease == claim.lease
    wait_until(lambda: pipeline.request(id).lease is None, what="the row to be given back")


def test_a_row_that_another_worker_has_claimed_since_is_left_to_it(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    with claimed(pipeline.runtime, Request, nobody, limit=10) as late:
        pipeline.clock.advance(pipeline.runtime.lease)
        with claimed(pipeline.runtime, Request, nobody, limit=10) as claim:
            late.give_back([id])
    assert pipeline.request(id).lease == claim.lease


def test_while_a_system_is_away_nobody_claims_for_it(pipeline: Pipeline) -> None:
    for _ in range(3):
        pipeline.order(an_order())
    answered(pipeline, ExternalSystem.REGISTRAR, [None, AWAY])
    assert claims(pipeline, ExternalSystem.REGISTRAR) == 0
    assert claims(pipeline, ExternalSystem.MAIL) == 3
    pipeline.clock.advance(pipeline.runtime.lease)
    # One process tries with one row; the others wait until it has said how it went, or has died.
    assert claims(pipeline, ExternalSystem.REGISTRAR) == 1
    assert claims(pipeline, ExternalSystem.REGISTRAR) == 0
    pipeline.clock.advance(ONE_TRY)
    assert claims(pipeline, ExternalSystem.REGISTRAR) == 1
    answered(pipeline, ExternalSystem.REGISTRAR, [GatewayRefused("an answer is an answer")])
    pipeline.clock.advance(pipeline.runtime.lease)
    assert claims(pipeline, ExternalSystem.REGISTRAR) == 3


def answered(pipeline: Pipeline, system: ExternalSystem, answers: list[GatewayError | None], before: int = -1) -> None:
    """Record the answers of an external system to a worker, each an error or None for success.

    `before` is how many failures of the system were known when the worker began; -1: as many as now.
    """
    if before < 0:
        before = failures(pipeline, system)
    note_answers(Claim(pipeline.runtime, Request, [], uuid4(), 0.0, timedelta(0), failures=before), system, answers)


def failures(pipeline: Pipeline, system: ExternalSystem) -> int:
    """Return how many failures in a row are recorded for the external system."""
    with pipeline.runtime.database.transaction() as session:
        outage = session.get(Outage, system)
        return 0 if outage is None else outage.failures


def test_processes_that_fail_at_the_same_time_are_one_failure(pipeline: Pipeline) -> None:
    for _ in range(4):
        answered(pipeline, ExternalSystem.REGISTRAR, [AWAY], before=0)
    assert failures(pipeline, ExternalSystem.REGISTRAR) == 1
    pipeline.order(an_order())
    pipeline.clock.advance(SHORTEST)
    with claimed(pipeline.runtime, Request, nobody, limit=1, system=ExternalSystem.REGISTRAR) as claim:
        note_answers(claim, ExternalSystem.REGISTRAR, [AWAY])
    assert failures(pipeline, ExternalSystem.REGISTRAR) == 2


def test_what_never_left_this_machine_ends_no_pause(pipeline: Pipeline) -> None:
    answered(pipeline, ExternalSystem.MAIL, [AWAY])
    answered(pipeline, ExternalSystem.MAIL, [NotSent("header_not_possible")])
    assert failures(pipeline, ExternalSystem.MAIL) == 1
    answered(pipeline, ExternalSystem.MAIL, [NotSent("header_not_possible"), None])
    assert failures(pipeline, ExternalSystem.MAIL) == 0


def claims(pipeline: Pipeline, system: ExternalSystem) -> int:
    """Claim up to ten requests as work that needs the external system; return how many were claimed."""
    with claimed(pipeline.runtime, Request, nobody, limit=10, system=system) as claim:
        return len(claim.ids)


def test_the_pauses_grow_and_have_a_longest(pipeline: Pipeline) -> None:
    pauses = []
    for _ in range(8):
        answered(pipeline, ExternalSystem.MAIL, [AWAY])
        with pipeline.runtime.database.transaction() as session:
            pauses.append(session.get_one(Outage, ExternalSystem.MAIL).try_again_at - pipeline.clock.now)
    assert pauses[:3] == [SHORTEST, 2 * SHORTEST, 4 * SHORTEST]
    assert pauses == sorted(pauses) and pauses[-1] == LONGEST


def test_a_database_that_restarts_costs_no_lease(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    engine = pipeline.runtime.database.engine
    with claimed(pipeline.runtime, Request, nobody, limit=10) as claim, engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
        with suppress(sa.exc.OperationalError):
            connection.execute(sa.text(others))
        connection.invalidate()
        claim.give_back([id])
    wait_until(lambda: pipeline.request(id).lease is None, what="the row to be given back")


def die_with(pipeline: Pipeline, times: int) -> None:
    """Claim due requests and do nothing with them, as a worker that dies; do so `times` times.

    After each time the clock moves on until the claim has expired.
    """
    for _ in range(times):
        with claimed(pipeline.runtime, Request, nobody, limit=10):
            pass
        pipeline.clock.advance(pipeline.runtime.lease)


def test_a_row_whose_workers_died_again_and_again_takes_no_other_row_with_it(pipeline: Pipeline) -> None:
    deadly = {pipeline.order(an_order()) for _ in range(2)}
    die_with(pipeline, 3)
    harmless = pipeline.order(an_order())
    with claimed(pipeline.runtime, Request, nobody, limit=10) as claim:
        assert claim.ids == [harmless]
    for _ in range(2):
        with claimed(pipeline.runtime, Request, nobody, limit=10) as claim:
            [alone] = claim.ids
            deadly.remove(alone)


def test_a_row_whose_workers_died_has_its_turn_however_many_others_are_due(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = pipeline.order(an_order())
    die_with(pipeline, 3)
    others = {pipeline.order(an_order()) for _ in range(4)}
    with claimed(pipeline.runtime, Request, nobody, limit=2) as claim:
        assert set(claim.ids) < others
    monkeypatch.setattr("tasks.claims.DEADLY_EVERY", 0)
    with claimed(pipeline.runtime, Request, nobody, limit=2) as claim:
        assert claim.ids == [deadly]
    with claimed(pipeline.runtime, Request, nobody, limit=2) as claim:
        assert set(claim.ids) < others


def test_a_full_claim_says_so_and_no_other(pipeline: Pipeline) -> None:
    told: list[str] = []
    for _ in range(3):
        pipeline.order(an_order())
    with claimed(pipeline.runtime, Request, lambda: told.append("more"), limit=2) as claim:
        assert (len(claim.ids), told) == (2, ["more"])
    with claimed(pipeline.runtime, Request, lambda: told.append("more"), limit=2) as claim:
        assert (len(claim.ids), told) == (1, ["more"])


def test_a_try_that_came_to_no_call_lets_another_follow_soon(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    answered(pipeline, ExternalSystem.REGISTRAR, [AWAY])
    pipeline.clock.advance(SHORTEST)
    with claimed(pipeline.runtime, Request, nobody, limit=10, system=ExternalSystem.REGISTRAR) as claim:
        assert len(claim.ids) == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Outage, ExternalSystem.REGISTRAR).try_again_at == pipeline.clock.now + SHORTEST
