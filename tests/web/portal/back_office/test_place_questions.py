"""Tests of the pages on which staff decide, for all customers, whether a town belongs to an area code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.people.audit_log import AuditEvent
from models.people.rights import Principal
from models.requests.requests import Request
from models.staff.place_questions import answer_place_question, find_question
from models.states import Reason, Status
from models.telephony.place_answers import ask, question_id
from tests.audit_entries import entries_of_deeds
from tests.factories import NOW, an_order, submit_order
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.back_office.desk import NOBODYS, PLACES, Desk, of, staff

DACHAU = ("85221", "Dachau", "089")


@pytest.fixture
def desk(front: Front) -> Desk:
    """Provide a browser in which a member of staff is signed in."""
    return Desk(front.client.application.test_client(), staff(front, "Bo Backoffice").email)


def held(front: Front) -> tuple[UUID, UUID]:
    """Place an order that is held until staff say whether Dachau has the area code of München.

    Return the ids of the order and of the question.
    """
    place = replace(an_order().location, street="Münchner Str. 1", postal_code="85221", city="DACHAU")
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        order = submit_order(session, front.manager, main, an_order(location=place, area_code="089"), NOW)
        order.hold(Reason.AREA_CODE_UNCONFIRMED, NOW, NOW + timedelta(hours=1))
        ask(session, *DACHAU, NOW)
        question = question_id(session, *DACHAU)
        assert question is not None
        return order.id, question


def changed(front: Front, id: UUID) -> Request:
    with front.database.transaction() as session:
        return session.get_one(Request, id)


def test_a_question_about_an_area_code_is_a_look_at_the_orders_that_wait_for_it(front: Front, desk: Desk) -> None:
    order, question = held(front)
    desk.page(PLACES)
    with front.database.transaction() as session:
        assert entries_of_deeds(session) == []
    for _ in range(2):
        desk.page(f"{PLACES}/{question}")
    with front.database.transaction() as session:
        [look] = entries_of_deeds(session)
        assert (look.deed, look.account_id, look.by_staff) == (AuditEvent.REQUEST_SEEN, front.main.id, True)
        assert look.facts["request"] == str(order)


def test_a_question_leads_from_the_list_to_its_answer(front: Front, desk: Desk) -> None:
    assert "Nichts zu bestätigen" in desk.page(PLACES)
    order, question = held(front)
    todo = desk.page("/backoffice")
    assert "Vorwahl zu bestätigen" in todo
    request_page = desk.page(of(order))
    assert f'href="{PLACES}/{question}"' in request_page and "Erneut versuchen" not in request_page
    page = desk.page(f"{PLACES}/{question}")
    for said in ("Dachau, 85221: 089 (München)?", "08131 (Dachau)", "Münchner Str. 1", front.main.name):
        assert said in page, said
    wrong = desk.press(f"{PLACES}/{question}", page)
    assert wrong.status_code == 422 and "Wählen Sie ja oder nein." in wrong.text
    assert_valid(wrong.text)
    done = desk.press(f"{PLACES}/{question}", page, answer="yes")
    assert "1 laufende Bestellung geht weiter." in done.text and "Bo Backoffice" in done.text
    assert "Nichts zu bestätigen" in done.text
    request = changed(front, order)
    assert (request.status, request.due_at) == (Status.HELD, NOW)
    # Until a worker has looked at it, it waits for nobody.
    released = desk.page(of(order))
    assert "Wir prüfen, was eingegangen ist." in released and "In Arbeit" in released
    assert f"{PLACES}/{question}" not in released and "Sagen Sie, ob" not in released
    # The answer can be given anew.
    again = desk.page(f"{PLACES}/{question}")
    assert "Entschieden von Bo Backoffice" in again and "Die Antwort war ja." in again
    assert "1 laufende Bestellung wird abgelehnt." in desk.press(f"{PLACES}/{question}", again, answer="no").text
    assert desk.page(f"{PLACES}/{NOBODYS}", 404)


def test_the_slower_of_two_reads_who_has_answered_meanwhile(front: Front, desk: Desk) -> None:
    order, question = held(front)
    slow = desk.page(f"{PLACES}/{question}")
    desk.press(f"{PLACES}/{question}", slow, answer="yes")
    late = desk.press(f"{PLACES}/{question}", slow, answer="no")
    assert late.status_code == 409 and "Bo Backoffice hat das inzwischen beantwortet." in late.text
    assert "Die Antwort war ja." in late.text and changed(front, order).status == Status.HELD
    assert_valid(late.text)
    assert "wird abgelehnt" in desk.press(f"{PLACES}/{question}", late.text, answer="no").text


def say_yes(session: Session, person: Principal, id: UUID) -> list[Request]:
    return answer_place_question(session, person, id, NOW, fits=True, seen=0)


@pytest.mark.parametrize("verb", [find_question, say_yes])
def test_only_staff_answer_and_only_what_was_asked(front: Front, verb: Callable[..., object]) -> None:
    _, question = held(front)
    bo = staff(front, "Bo Backoffice")
    of_staff = Principal(bo.id, bo.email, bo.name, "de", is_staff=True)
    with front.database.transaction() as session:
        with pytest.raises(Forbidden):
            verb(session, front.manager, question)
        with pytest.raises(NotFound):
            verb(session, of_staff, NOBODYS)
        verb(session, of_staff, question)
