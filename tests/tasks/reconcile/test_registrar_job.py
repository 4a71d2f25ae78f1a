"""Tests of the scheduled job `registrar`: it finds differences between the portal's trunks and the registrar's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from models.jobs.jobs import Outcome
from models.states import StepName
from models.telephony.number_pool import stock_pool, withdraw_from_pool
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, Subscriber
from tests.due_work import sync_registrar
from tests.factories import an_order
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import MINUTE, changing, finds


def trunk(pipeline: Pipeline) -> SipTrunk:
    """Complete an order, and return its trunk."""
    pipeline.order(an_order())
    pipeline.advance()
    with changing(pipeline) as session:
        return session.scalars(sa.select(SipTrunk).order_by(SipTrunk.id.desc()).limit(1)).one()


def test_a_registrar_that_agrees_has_nothing_to_say(pipeline: Pipeline) -> None:
    trunk(pipeline)
    trunk(pipeline)
    finds(pipeline, "registrar")
    assert pipeline.run("registrar").counts == {"compared": 2, "blocks": 20}


def test_a_trunk_whose_order_is_being_provisioned_is_no_finding(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayUnavailable("down")]
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).step is StepName.PROVISION
    finds(pipeline, "registrar")


def test_a_lost_trunk_is_written_again_by_the_claimed_path(pipeline: Pipeline) -> None:
    lost = trunk(pipeline)
    record = pipeline.registrar.trunks.pop(lost.sip_user)
    [finding] = finds(pipeline, "registrar", "missing_there")
    assert (finding.subject, finding.repaired) == (lost.sip_user, True)
    assert pipeline.registrar.trunks == {}
    # On its way: no finding, and not due twice.
    finds(pipeline, "registrar")
    pipeline.advance()
    assert pipeline.registrar.trunks == {lost.sip_user: record}
    finds(pipeline, "registrar")


def test_what_the_registrar_does_not_take_is_tried_again_and_then_said(pipeline: Pipeline) -> None:
    lost = trunk(pipeline)
    del pipeline.registrar.trunks[lost.sip_user]
    finds(pipeline, "registrar", "missing_there")
    pipeline.registrar.failures = [GatewayRefused("belongs_to_somebody_else")] * 3
    for _ in range(3):
        pipeline.advance()
        pipeline.clock.advance(MINUTE)
    [finding] = finds(pipeline, "registrar", "not_accepted")
    assert not finding.repaired
    pipeline.advance()
    finds(pipeline, "registrar")
    with changing(pipeline) as session:
        found = session.get_one(SipTrunk, lost.id)
        assert (found.due_at, found.attempts) == (None, 0)


def test_a_trunk_stays_in_the_registrar_while_it_is_suspended_and_says_so(pipeline: Pipeline) -> None:
    suspended, other = trunk(pipeline), trunk(pipeline)
    there = pipeline.registrar.trunks
    with changing(pipeline) as session:
        session.get_one(SipTrunk, suspended.id).suspend(SuspendedBy.CUSTOMER, pipeline.clock.now)
    pipeline.advance()
    assert {user: record.suspended for user, record in there.items()} == {
        suspended.sip_user: True,
        other.sip_user: False,
    }
    finds(pipeline, "registrar")
    # Somebody has lifted it there, or suspended another one there.
    for record in list(there.values()):
        there[record.sip_user] = replace(record, suspended=not record.suspended)
    for finding in finds(pipeline, "registrar", "differs_there", "differs_there"):
        assert finding.facts["what"] == ["suspended"]
    pipeline.advance()
    with changing(pipeline) as session:
        session.get_one(SipTrunk, suspended.id).resume(SuspendedBy.CUSTOMER, pipeline.clock.now)
    pipeline.advance()
    assert not any(record.suspended for record in there.values())
    finds(pipeline, "registrar")


def test_a_registrar_that_is_away_keeps_a_closed_trunk_due(pipeline: Pipeline) -> None:
    closed = trunk(pipeline)
    with changing(pipeline) as session:
        found = session.get_one(SipTrunk, closed.id)
        found.state = TrunkState.CLOSED
        found.make_due(pipeline.clock.now)
    pipeline.registrar.away = GatewayUnavailable("down")
    pipeline.advance()
    assert set(pipeline.registrar.trunks) == {closed.sip_user}
    run = pipeline.run("registrar")
    assert (run.outcome, run.error) == (Outcome.FAILED, "GatewayUnavailable('down')")
    pipeline.registrar.away = None
    pipeline.clock.advance(MINUTE)
    pipeline.advance()
    assert pipeline.registrar.trunks == {}


def test_a_trunk_that_changes_while_it_is_written_is_written_again(pipeline: Pipeline) -> None:
    changed = trunk(pipeline)
    real = pipeline.registrar.put_trunks

    def meanwhile(records: list[object]) -> list[GatewayError | None]:
        pipeline.registrar.put_trunks = real  # type: ignore[method-assign]
        answers = real(records)  # type: ignore[arg-type]
        with changing(pipeline) as session:
            found = session.get_one(SipTrunk, changed.id)
            found.channels = 8
            found.make_due(pipeline.clock.now)
        return answers

    pipeline.registrar.put_trunks = meanwhile  # type: ignore[method-assign, assignment]
    with changing(pipeline) as session:
        found = session.get_one(SipTrunk, changed.id)
        found.channels = 6
        found.make_due(pipeline.clock.now)
    pipeline.advance()
    assert pipeline.registrar.trunks[changed.sip_user].channels == 6
    pipeline.advance()
    assert pipeline.registrar.trunks[changed.sip_user].channels == 8
    finds(pipeline, "registrar")


def test_a_secret_that_nobody_can_read_stops_no_other_trunk(pipeline: Pipeline) -> None:
    unreadable, lost = trunk(pipeline), trunk(pipeline)
    del pipeline.registrar.trunks[lost.sip_user]
    with changing(pipeline) as session:
        session.get_one(SipTrunk, unreadable.id).secret = b"sealed with another key"
    found = {finding.kind: finding for finding in finds(pipeline, "registrar", "secret_unreadable", "missing_there")}
    assert not found["secret_unreadable"].repaired
    with changing(pipeline) as session:
        session.get_one(SipTrunk, unreadable.id).make_due(pipeline.clock.now)
    pipeline.advance()
    assert set(pipeline.registrar.trunks) == {unreadable.sip_user, lost.sip_user}


def test_so_many_strangers_are_more_likely_our_mistake(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.reconcile.merge_compare.MOST_REMOVED", 3)
    monkeypatch.setattr("tasks.reconcile.merge_compare.PAGE", 2)
    for place in range(5):
        stranger = Subscriber(f"stranger{place}", "sip.example", None, (), (("provision_key", "ours"),))
        pipeline.registrar.strangers[stranger.address] = stranger
    [refused] = finds(pipeline, "registrar", "too_many_unknown")
    assert (refused.repaired, refused.facts) == (False, {"count": 5})
    assert len(pipeline.registrar.strangers) == 5
    for _ in range(2):
        pipeline.registrar.strangers.popitem()
    found = finds(pipeline, "registrar", *["unknown_there"] * 3)
    assert all(finding.repaired for finding in found)
    assert not pipeline.registrar.strangers


def test_a_block_that_is_withdrawn_leaves_the_registrar_and_comes_back_with_the_pool(pipeline: Pipeline) -> None:
    trunk(pipeline)
    these = ("030", "20000010", 10, 1)
    with changing(pipeline) as session:
        assert withdraw_from_pool(session, *these)[0] == 1
    [finding] = finds(pipeline, "registrar", "block_unknown_there")
    assert (finding.subject, finding.repaired) == ("+493020000010", True)
    assert 493020000010 not in pipeline.registrar.blocks and 493020000000 in pipeline.registrar.blocks
    finds(pipeline, "registrar")
    with changing(pipeline) as session:
        assert stock_pool(session, *these, pipeline.clock()) == 1
    sync_registrar(pipeline.runtime)
    assert 493020000010 in pipeline.registrar.blocks
    finds(pipeline, "registrar")
