"""Tests of the page of scheduled jobs: it lists findings, starts a job, and permits a job to remove rows."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
import redis

from models.db.work_queue import WorkKind
from models.jobs.jobs import Job, claim_job
from models.people.users import User
from models.views.back_office import Matter
from tasks.ports import Subscriber
from tasks.reconcile.job_run import LEASE, run_job
from tasks.reconcile.schedule import JOBS
from tests.factories import NOW
from tests.fakes import FakeRegistrar
from tests.web.conftest import Back, Front, FrontOf
from tests.web.portal.back_office.desk import JOBS_PAGE, REMOVALS, Desk, SitDown, held, of, ordered
from web.portal.back_office import wording


def test_the_jobs_and_what_they_could_not_repair(
    front: Front, back: Back, desk: Desk, bo: User, sit_down: SitDown
) -> None:
    before = desk.page(JOBS_PAGE)
    assert before.count(">nie<") == len(JOBS)
    assert "Die letzten Läufe haben alles repariert" in before and "5 Minuten" in before
    id = held(front)
    stuck = ordered(front)
    back.clock.advance(timedelta(days=1, minutes=1))
    run_job(back.runtime, JOBS["requests"])
    page = sit_down(bo.email).page(JOBS_PAGE)
    open_ones = page.split("Nicht repariert</h2>")[1].split("Aufgaben</h2>")[0]
    assert "hängt seit 2. März 2026, 09:00 Uhr bei uns." in open_ones and f'href="{of(id)}"' in open_ones
    assert str(stuck) not in open_ones and f'href="{of(stuck)}"' in page
    assert "1 repariert, 1 nicht" in page and "3. März 2026, 09:01 Uhr" in page and "3. März 2026, 09:06 Uhr" in page


def test_more_findings_than_are_shown_are_counted(
    front: Front, back: Back, bo: User, sit_down: SitDown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.portal.back_office.requests_and_jobs.FINDINGS", 2)
    for _ in range(5):
        held(front)
    back.clock.advance(timedelta(days=1, minutes=1))
    run_job(back.runtime, JOBS["requests"])
    page = sit_down(bo.email).page(JOBS_PAGE)
    assert page.count("hängt seit") == 2 and "… und 3 weitere" in page


def due_at(front: Front, name: str) -> datetime | None:
    with front.database.transaction() as session:
        return session.get_one(Job, name).due_at


def test_a_job_is_made_due_by_a_press_and_taken_by_a_worker(front: Front, back: Back, desk: Desk) -> None:
    run_job(back.runtime, JOBS["mails"])
    assert run_job(back.runtime, JOBS["mails"]) is None
    page = desk.page(JOBS_PAGE)
    for _ in range(2):
        # The tests have no broker.
        assert "Die Worker sind gerade nicht erreichbar" in desk.press(f"{JOBS_PAGE}/mails", page).text
        assert due_at(front, "mails") == NOW
    assert "sobald ein Worker dazu kommt" in desk.page(JOBS_PAGE)
    assert run_job(back.runtime, JOBS["mails"]) is not None
    assert desk.press(f"{JOBS_PAGE}/nonsense", page).status_code == 404


def test_a_run_that_is_under_way_is_not_doubled(front: Front, desk: Desk) -> None:
    with front.database.transaction() as session:
        claim_job(session, "mails", now=NOW, lease=uuid.uuid4(), until=NOW + LEASE, by_hand=False)
    page = desk.page(JOBS_PAGE)
    assert "unterwegs, längstens bis 2. März 2026, 09:05 Uhr" in page
    pressed = desk.press(f"{JOBS_PAGE}/mails", page).text
    assert "Ein Lauf ist schon unterwegs, längstens bis 2. März 2026, 09:05 Uhr." in pressed
    assert due_at(front, "mails") == NOW + LEASE


def test_removing_what_looks_like_our_mistake_is_decided_after_a_look_and_for_one_run(back: Back, desk: Desk) -> None:
    registrar = back.runtime.ports.subscribers
    assert isinstance(registrar, FakeRegistrar)

    def appear(user: str) -> None:
        # As we write a trunk; our database has forgotten it.
        ours = Subscriber(user, "sip.example", ("a", "b", ""), (), (("provision_key", user),), frozenset({user}))
        registrar.strangers[user, "sip.example"] = ours

    appear("newer")
    assert REMOVALS not in desk.page(JOBS_PAGE)
    nothing = desk.client.get(REMOVALS, follow_redirects=True).text
    assert "wartet nichts mehr auf eine Entscheidung" in nothing
    run_job(back.runtime, JOBS["registrar"], by_hand=True)
    assert REMOVALS in desk.page(JOBS_PAGE)
    asked = desk.page(REMOVALS)
    assert "newer@sip.example" in asked and "nicht rückgängig" in asked
    assert len(registrar.strangers) == 1
    desk.press(REMOVALS, asked)
    run_job(back.runtime, JOBS["registrar"])
    assert registrar.strangers == {}
    # It was allowed once.
    appear("newest")
    run_job(back.runtime, JOBS["registrar"], by_hand=True)
    assert len(registrar.strangers) == 1


def test_a_worker_is_told_of_the_job(front_of: FrontOf, front: Front, bo: User, redis_url: str) -> None:
    desk = Desk(front_of(redis_url=redis_url), bo.email)
    with redis.Redis.from_url(redis_url) as broker:
        broker.delete(WorkKind.JOBS)
        page = desk.page(JOBS_PAGE)
        assert "Ein Worker beginnt jetzt damit." in desk.press(f"{JOBS_PAGE}/invoices", page).text
        [message] = broker.lrange(WorkKind.JOBS, 0, -1)
        broker.delete(WorkKind.JOBS)
    assert b"jobs.run" in message


def test_there_are_words_for_every_job_and_matter() -> None:
    assert set(wording.JOB_WORDS) == set(JOBS)
    assert set(wording.MATTERS) == set(Matter)
