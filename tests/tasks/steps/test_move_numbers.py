"""Tests of the numbers that a move needs: reserved, missing in the pool, not certain, or refused by the registrar."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.changes.moves import MoveDraft, quote_move
from models.messages.outbox import Message
from models.orders.number_release import release_numbers
from models.orders.restocking import restock
from models.people.users import principal_of
from models.requests.moved_blocks import replacements_of
from models.requests.requests import Request
from models.same_address import Place
from models.staff.place_questions import answer_place_question, find_question, open_question_of
from models.states import Reason, Status
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import QUARANTINE, SET_ASIDE
from models.telephony.numbers import NumberBlock
from models.telephony.place_answers import ask as ask_staff
from models.telephony.place_answers import open_questions
from models.views.back_office import Matter, MatterFilter, matter_counts, page_of, request_details
from tests.factories import make_staff
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.moving import (
    BERLIN,
    MUNICH,
    account_id,
    ask,
    asked_and_proved,
    blocks_of,
    forward,
    give,
    pairs,
    prove,
    set_available,
)
from tests.tasks.steps.test_change import go_to, in_days

__all__ = ["account_id"]


def test_a_pool_without_numbers_holds_the_move_until_it_is_filled(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        far = pipeline.clock.now + timedelta(days=900)
        session.execute(sa.update(NumberBlock).where(NumberBlock.area_code == "089").values(available_from=far))
    id = asked_and_proved(pipeline, account_id)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.NO_NUMBERS_AVAILABLE)
    assert (request.area_code, request.block_size) == ("089", 10)
    with pipeline.owner.transaction() as session:
        assert restock(session, "089", "50000000", 10, 1, pipeline.clock.now).retried == [id]
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_size_that_is_missing_keeps_no_other_size_waiting(pipeline: Pipeline, account_id: int) -> None:
    give(pipeline, account_id, 100, "70000000")
    give(pipeline, account_id, 10, "71000000")
    id = asked_and_proved(pipeline, account_id)
    assert pipeline.request(id).reason is Reason.NO_NUMBERS_AVAILABLE
    assert pipeline.request(id).block_size == 100
    with pipeline.runtime.database.transaction() as session:
        reserved = [
            (goes.size, comes is not None) for goes, comes in replacements_of(session, session.get_one(Request, id))
        ]
    assert reserved == [(10, True), (100, False), (10, True)]


def test_numbers_that_come_before_the_proof_are_reserved_at_once(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        munich = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089")
        set_available(session, munich, pipeline.clock.now + timedelta(days=900))
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).reason is Reason.ADDRESS_NOT_PROVED
    with pipeline.owner.transaction() as session:
        assert restock(session, "089", "50000000", 10, 1, pipeline.clock.now).retried == [id]
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.PENDING, Reason.ADDRESS_NOT_PROVED)
    [(_, reserved)] = pairs(pipeline, id)
    assert reserved.first_number == 498950000000
    assert pipeline.codes(id).count("letter_sent") == 1
    with pipeline.owner.transaction() as session:
        assert restock(session, "089", "50000010", 10, 1, pipeline.clock.now).retried == []


def test_the_office_hears_of_missing_numbers_before_the_proof(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        munich = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089")
        set_available(session, munich, pipeline.clock.now + timedelta(days=900))
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    pipeline.clock.advance(timedelta(minutes=2))
    pipeline.runtime = replace(pipeline.runtime, office_email="office@example.com")
    told = [pipeline.run("office").counts["requests"] for _ in range(2)]
    assert told == [1, 0]
    with pipeline.runtime.database.transaction() as session:
        [mail] = session.scalars(sa.select(Message).where(Message.template == "office_digest"))
        [line] = mail.facts["lines"]
        assert line["cause"].endswith("(089, 10)")
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now)
    pipeline.clock.advance(timedelta(minutes=2))
    # Now held for the same reason: the office has heard of it.
    assert pipeline.request(id).status is Status.HELD
    assert pipeline.run("office").counts["requests"] == 0


def test_what_staff_have_to_confirm_is_held_and_answered(pipeline: Pipeline, account_id: int) -> None:
    # A town beside Berlin whose postal code has an Ortsnetz of its own.
    place = Place("Hauptstr. 1", "16540", "Hohen Neuendorf")
    id = asked_and_proved(pipeline, account_id, place)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.AREA_CODE_UNCONFIRMED)
    with pipeline.owner.transaction() as session:
        staff = principal_of(session, make_staff(session))
    with pipeline.runtime.database.transaction() as session:
        questions = open_questions(session, 5)
        assert open_question_of(session, session.get_one(Request, id)) in [question.id for question in questions]
        for question in questions:
            waiting = answer_place_question(session, staff, question.id, pipeline.clock.now, fits=False, seen=0)
            assert [one.id for one in waiting] == [id]
        assert questions
    with pipeline.runtime.database.transaction() as session:
        assert open_question_of(session, session.get_one(Request, id)) is None
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.AREA_CODE_MISMATCH)
    said = " ".join(pipeline.mailer.sent[-1].text.split())
    assert "ein neu beauftragter Umzug ersetzt die Rufnummern, die nicht bleiben können" in said
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        assert account.postal_code == "10179"
        quote = quote_move(session, pipeline.manager, account, MoveDraft(place, None, None, "de"), pipeline.clock.now)
        assert (len(quote.goes), quote.stays) == (1, [])


def test_an_open_question_about_numbers_that_go_is_not_one_of_the_move(pipeline: Pipeline, account_id: int) -> None:
    id = asked_and_proved(pipeline, account_id, day=in_days(pipeline, 10))
    with pipeline.owner.transaction() as session:
        # Asked by an order there that has chosen the area code of the numbers that go.
        ask_staff(session, MUNICH.postal_code, MUNICH.city, "030", pipeline.clock.now)
        session.flush()
        [question] = open_questions(session, 5)
        assert open_question_of(session, session.get_one(Request, id)) is None
        staff = principal_of(session, make_staff(session))
        assert find_question(session, staff, question.id).orders == []


def test_a_block_given_back_meanwhile_is_not_replaced(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 10)
    id = asked_and_proved(pipeline, account_id, day=day)
    [(old, reserved)] = pairs(pipeline, id)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        release_numbers(session, pipeline.manager, account, old.id, pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED
    assert blocks_of(pipeline, account_id) == [] and pairs(pipeline, id) == []
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(NumberBlock, reserved.id).available_from == pipeline.clock.now


def test_a_new_number_that_the_registrar_knows_as_somebodys_is_set_aside_and_replaced(
    pipeline: Pipeline, account_id: int
) -> None:
    [old] = blocks_of(pipeline, account_id)
    forward(pipeline, account_id, old.first_number + 3, old.first_number + 5, "+4915123456789")
    day = in_days(pipeline, 10)
    id = asked_and_proved(pipeline, account_id, day=day)
    [(_, reserved)] = pairs(pipeline, id)
    pipeline.registrar.taken = {reserved.numbers[4]}
    go_to(pipeline, first_moment(day))
    go_to(pipeline, first_moment(day) + timedelta(seconds=30))
    assert pipeline.request(id).status is Status.COMPLETED
    [new] = blocks_of(pipeline, account_id)
    assert new.id != reserved.id and new.area_code == "089"
    [record] = pipeline.registrar.trunks.values()
    assert (record.postal_code, set(record.numbers)) == ("80331", set(new.numbers))
    assert [one.numbers for one in record.forwardings] == [(new.first_number + 3, new.first_number + 5)]
    with pipeline.runtime.database.transaction() as session:
        aside = session.get_one(NumberBlock, reserved.id)
        assert (aside.account_id, aside.trunk_id, aside.available_from) == (None, None, SET_ASIDE)
        assert session.get_one(NumberBlock, old.id).available_from == first_moment(day) + QUARANTINE
        history = session.scalars(sa.select(NumberAssignment).where(NumberAssignment.until.is_(None))).all()
        assert [one.block_id for one in history] == [new.id]
    assert new.display in pipeline.mailer.sent[-1].text.replace("\u2068", "").replace("\u2069", "")


def test_a_refused_number_that_stays_costs_no_number_of_the_pool(pipeline: Pipeline, account_id: int) -> None:
    [old] = blocks_of(pipeline, account_id)
    id = asked_and_proved(pipeline, account_id, BERLIN, in_days(pipeline, 10))
    pipeline.registrar.taken = {old.numbers[0]}
    go_to(pipeline, first_moment(in_days(pipeline, 10)))
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.GATEWAY_REFUSED)
    assert [block.id for block in blocks_of(pipeline, account_id)] == [old.id]


def test_without_another_block_the_refused_one_stays_until_staff_act(pipeline: Pipeline, account_id: int) -> None:
    id = asked_and_proved(pipeline, account_id, day=in_days(pipeline, 10))
    [(_, reserved)] = pairs(pipeline, id)
    with pipeline.owner.transaction() as session:
        free = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089", NumberBlock.id != reserved.id)
        set_available(session, free, pipeline.clock.now + timedelta(days=900))
    pipeline.registrar.taken = {reserved.numbers[0]}
    go_to(pipeline, first_moment(in_days(pipeline, 10)))
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    assert pipeline.request(id).reason is Reason.GATEWAY_REFUSED
    assert [block.id for block in blocks_of(pipeline, account_id)] == [reserved.id]
    with pipeline.owner.transaction() as session:
        restock(session, "089", "50000000", 10, 1, pipeline.clock.now)
    for _ in range(3):
        go_to(pipeline, pipeline.clock.now + timedelta(minutes=10))
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(NumberBlock, reserved.id).available_from == SET_ASIDE


def test_a_shortage_for_a_move_is_in_the_back_offices_list_before_the_proof(
    pipeline: Pipeline, account_id: int
) -> None:
    with pipeline.owner.transaction() as session:
        munich = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089")
        set_available(session, munich, pipeline.clock.now + timedelta(days=900))
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        [listed] = page_of(session, MatterFilter()).items
        assert (listed.request.id, listed.matter) == (id, Matter.NUMBERS)
        assert matter_counts(session).matters == {Matter.NUMBERS: 1}
        details = request_details(session, id, pipeline.clock.now)
        assert details is not None and details.matter is Matter.NUMBERS
    with pipeline.owner.transaction() as session:
        restock(session, "089", "50000000", 10, 1, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        assert page_of(session, MatterFilter()).items == []
