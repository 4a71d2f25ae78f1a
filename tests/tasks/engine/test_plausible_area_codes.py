"""Tests of area codes that only probably fit an address: staff decide once, for all customers, whether they do."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.errors import InvalidField
from models.orders.orders import OrderDraft
from models.people.users import principal_of
from models.proofs.proofs import AddressProof
from models.requests.promises import promised_until
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.staff.place_questions import answer_place_question
from models.states import AccountState, Actor, Reason, Status
from models.telephony.place_answers import open_questions
from tasks.wording.timeline import sentence
from tests.factories import an_order, fill_pool, make_user
from tests.tasks.conftest import Pipeline


def dachau() -> OrderDraft:
    """Return an order from a town near München, with the area code of München."""
    place = replace(an_order().location, street="Münchner Str. 1", postal_code="85221", city="Dachau")
    return an_order(location=place, area_code="089")


def answer(pipeline: Pipeline, *, fits: bool) -> int:
    """Answer as staff the only open question: whether the address lies in the area of the area code (`fits`).

    Return how many orders waited for the answer.
    """
    with pipeline.runtime.database.transaction() as session:
        staff = principal_of(session, make_user(session, is_staff=True))
        [question] = open_questions(session, 10)
        assert (question.postal_code, question.town, question.area_code) == ("85221", "Dachau", "089")
        return len(answer_place_question(session, staff, question.id, pipeline.clock.now, fits=fits, seen=0))


def prove(pipeline: Pipeline, id: UUID) -> None:
    """Record all connection addresses as proved, and make the order `id` due now."""
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.update(AddressProof).values(proved_at=pipeline.clock.now, method="letter"))
        session.get_one(Request, id).make_due(pipeline.clock.now)


@pytest.mark.parametrize("early", [True, False])
def test_a_plausible_area_code_is_confirmed_once_for_everybody(pipeline: Pipeline, early: bool) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, area_code="089")
    id = pipeline.order(dachau())
    pipeline.advance()
    # The proofs, which take days, are asked for meanwhile.
    assert (pipeline.request(id).status, pipeline.request(id).waiting_for) == (Status.PENDING, Actor.CONTACT)
    if early:
        assert answer(pipeline, fits=True) == 1
        prove(pipeline, id)
    else:
        prove(pipeline, id)
        pipeline.advance()
        request = pipeline.request(id)
        assert (request.status, request.reason) == (Status.HELD, Reason.AREA_CODE_UNCONFIRMED)
        assert request.waiting_until == promised_until(Reason.AREA_CODE_UNCONFIRMED, pipeline.clock.now)
        assert request.due_at is not None
        assert answer(pipeline, fits=True) == 1
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED and "area_code_confirmed" in pipeline.codes(id)
    again = pipeline.order(dachau())
    pipeline.advance()
    assert pipeline.request(again).status is Status.COMPLETED


def test_an_area_code_that_staff_refuse_ends_the_order_with_those_that_fit(pipeline: Pipeline) -> None:
    id = pipeline.order(dachau())
    pipeline.advance()
    assert answer(pipeline, fits=False) == 1
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.AREA_CODE_MISMATCH)
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, request.account_id).state is AccountState.CLOSED
        last = session.scalars(sa.select(TimelineEntry).order_by(TimelineEntry.id.desc())).first()
        assert last is not None and "08131 (Dachau)" in sentence(last, "de")
    assert any("08131 (Dachau)" in mail.text for mail in pipeline.mailer.sent)
    with pytest.raises(InvalidField) as refused:
        pipeline.order(dachau())
    assert refused.value.field == "numbers.area_code" and "089" not in str(refused.value.allowed)
