"""Tests of the proofs for which an order waits: of the contact's e-mail address and of the connection address.

People are asked by mail and letter, and reminded twice; without an answer in time the order ends. What is proved once
is not asked again by the same main account.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import end_of_day
from models.errors import Forbidden, NotAwaited, TooEarly
from models.orders.orders import Contact, Location, cancel_and_release
from models.people.users import User
from models.proofs.document_refusals import Refusal
from models.proofs.document_review import decide_document, upload_document
from models.proofs.proofs import AddressProof, EmailProof
from models.requests.requests import Request
from models.states import AccountState, Actor, AddressMethod, Reason, Status
from tasks.ports import GatewayUnavailable
from tests.factories import an_order, make_main, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.proving import DAY, STRANGER, again, code_in, confirm, enter, fresh, mails_to, waits


def test_an_order_waits_for_the_contact_and_the_letter_and_then_goes_through(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    until = end_of_day(pipeline.clock.now + 14 * DAY)
    assert waits(pipeline, id) == (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED, until)
    [mail] = mails_to(pipeline, STRANGER.email)
    [letter] = pipeline.printer.printed
    assert letter.recipient == ("Filiale Mitte", "Nele Neu", "Torstr. 1", "10119 Berlin")
    assert f"/email/{id}/" in mail
    assert confirm(pipeline, id, code_in(mail).lower().replace(" ", "-"))
    pipeline.advance()
    assert waits(pipeline, id) == (Actor.CONTACT, Reason.ADDRESS_NOT_PROVED, until)
    assert enter(pipeline, id, code_in(letter.text))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id)[:5] == ["order_received", "email_asked", "letter_sent", "pending", "pending"]
    assert len(pipeline.printer.printed) == 1 and len(mails_to(pipeline, STRANGER.email)) == 2


def test_what_is_proved_once_is_not_asked_for_again_by_the_same_main_account(pipeline: Pipeline) -> None:
    first, second = pipeline.order(fresh()), pipeline.order(fresh())
    pipeline.advance()
    # Both wait for the same answers: one mail, one letter.
    [mail], [letter] = mails_to(pipeline, STRANGER.email), pipeline.printer.printed
    confirm(pipeline, second, code_in(mail))
    enter(pipeline, first, code_in(letter.text))
    same_street = Location("Noch eine", "Torstraße 1", "10119", "Berlin")
    third = pipeline.order(fresh(location=same_street))
    pipeline.advance()
    assert {pipeline.request(id).status for id in (first, second, third)} == {Status.COMPLETED}
    with pipeline.runtime.database.transaction() as session:
        stranger, pipeline.manager = make_main(session)
    elsewhere = pipeline.order(fresh(), stranger)
    pipeline.advance()
    assert pipeline.request(elsewhere).status is Status.PENDING
    assert len(pipeline.printer.printed) == 2


def test_the_requesters_own_confirmed_address_needs_no_mail(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        session.get_one(User, pipeline.manager.user_id).email_confirmed_at = pipeline.clock.now
    id = pipeline.order(an_order(contact=Contact("Ich", pipeline.manager.email, None)))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_who_does_not_answer_is_reminded_twice_and_then_it_is_over(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    seen = []
    for _ in range(15):
        pipeline.advance()
        seen.append(len(mails_to(pipeline, STRANGER.email)))
        pipeline.clock.advance(DAY)
    assert seen == [1] * 7 + [2] * 5 + [3] * 3
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.PROOF_EXPIRED)
    codes = {code_in(text) for text in mails_to(pipeline, STRANGER.email)}
    assert len(codes) == 1
    with pytest.raises(NotAwaited):
        confirm(pipeline, id, codes.pop())
    [told] = mails_to(pipeline, pipeline.manager.email)
    assert "Frist ist abgelaufen" in told
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, request.account_id).state is AccountState.CLOSED


def test_a_code_is_wrong_from_its_expiry_on_even_if_no_worker_has_ended_the_order_yet(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    [mail], [letter] = mails_to(pipeline, STRANGER.email), pipeline.printer.printed
    end = end_of_day(pipeline.clock.now + 14 * DAY)
    pipeline.clock.advance(end - pipeline.clock.now)
    assert not confirm(pipeline, id, code_in(mail)) and not enter(pipeline, id, code_in(letter.text))
    pipeline.clock.advance(-timedelta(seconds=1))
    assert confirm(pipeline, id, code_in(mail)) and enter(pipeline, id, code_in(letter.text))


def test_after_a_long_standstill_one_reminder_comes_and_not_two(pipeline: Pipeline) -> None:
    pipeline.order(fresh())
    pipeline.advance()
    pipeline.clock.advance(13 * DAY)
    pipeline.advance()
    pipeline.advance()
    assert len(mails_to(pipeline, STRANGER.email)) == 2


def test_an_order_that_comes_after_the_end_of_another_asks_from_the_start(pipeline: Pipeline) -> None:
    pipeline.order(fresh())
    pipeline.advance()
    pipeline.clock.advance(15 * DAY)
    pipeline.advance()
    id = pipeline.order(fresh())
    pipeline.advance()
    assert pipeline.request(id).status is Status.PENDING
    first, second = (code_in(letter.text) for letter in pipeline.printer.printed)
    assert first != second
    assert not enter(pipeline, id, first) and enter(pipeline, id, second)


def test_a_new_letter_comes_after_three_days_and_voids_the_old(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    with pytest.raises(TooEarly) as early:
        again(pipeline, id, "letter")
    assert early.value.again_at == pipeline.clock.now + 3 * DAY
    pipeline.clock.advance(3 * DAY)
    again(pipeline, id, "letter")
    pipeline.advance()
    old, new = (code_in(letter.text) for letter in pipeline.printer.printed)
    assert not enter(pipeline, id, old) and enter(pipeline, id, new)
    with pytest.raises(NotAwaited):
        again(pipeline, id, "letter")


def test_wrong_tries_void_no_code_not_even_one_that_an_earlier_version_voided(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    code = code_in(mails_to(pipeline, STRANGER.email)[0])
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.update(EmailProof).values(wrong_tries=5))
    assert not any(confirm(pipeline, id, "WRONG WRONG") for _ in range(20))
    assert confirm(pipeline, id, code)


def test_nobody_is_asked_without_end(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    for _ in range(4):
        pipeline.clock.advance(timedelta(minutes=10))
        again(pipeline, id, "email")
    pipeline.clock.advance(timedelta(minutes=10))
    with pytest.raises(NotAwaited):
        again(pipeline, id, "email")


def upload(pipeline: Pipeline, id: UUID) -> None:
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        upload_document(
            session, pipeline.manager, request, "HRB 1.pdf", "application/pdf", b"%PDF-", pipeline.clock.now
        )


def decide_on(pipeline: Pipeline, id: UUID, *, release: bool) -> None:
    with pipeline.runtime.database.transaction() as session:
        staff, refusal = make_user(session, is_staff=True), None if release else Refusal()
        decide_document(session, staff, session.get_one(Request, id), refusal=refusal, now=pipeline.clock.now)


def test_a_document_that_the_back_office_releases_proves_the_address(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh(contact=an_order().contact))
    pipeline.advance()
    upload(pipeline, id)
    pipeline.advance()
    assert waits(pipeline, id)[:2] == (Actor.CARRIER, Reason.DOCUMENT_IN_REVIEW)
    with pipeline.runtime.database.transaction() as session, pytest.raises(Forbidden):
        decide_document(session, make_user(session), session.get_one(Request, id), refusal=None, now=pipeline.clock.now)
    decide_on(pipeline, id, release=True)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        proof = session.scalars(sa.select(AddressProof).where(AddressProof.method == AddressMethod.DOCUMENT)).one()
        assert proof.proved_by is not None


def test_while_we_look_at_a_document_the_customers_time_does_not_run(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh(contact=an_order().contact))
    pipeline.advance()
    pipeline.clock.advance(13 * DAY)
    upload(pipeline, id)
    for _ in range(20):
        pipeline.clock.advance(DAY)
        pipeline.advance()
        assert pipeline.request(id).reason is Reason.DOCUMENT_IN_REVIEW
    decide_on(pipeline, id, release=False)
    pipeline.advance()
    assert waits(pipeline, id)[1] is Reason.ADDRESS_NOT_PROVED
    assert "document_refused" in pipeline.codes(id)


def test_a_cancelled_order_can_no_longer_be_proved_into_being(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    with pytest.raises(NotAwaited):
        confirm(pipeline, id, code_in(mails_to(pipeline, STRANGER.email)[0]))
    with pytest.raises(NotAwaited):
        enter(pipeline, id, code_in(pipeline.printer.printed[0].text))
    pipeline.advance()
    assert pipeline.request(id).status is Status.CANCELLED
    assert pipeline.registrar.writes == []


def test_a_mail_server_that_is_away_holds_up_the_mails_and_nothing_else(pipeline: Pipeline) -> None:
    address = an_order().contact.email
    pipeline.mailer.failures = {
        address: [GatewayUnavailable("away")] * 3,
        pipeline.manager.email: [GatewayUnavailable("away")] * 3,
    }
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.mailer.but_receipts == []
    for _ in range(8):
        pipeline.clock.advance(timedelta(minutes=1))
        pipeline.advance()
    assert len(pipeline.mailer.but_receipts) == 2


def test_who_joins_late_has_time_to_answer(pipeline: Pipeline) -> None:
    first = pipeline.order(fresh())
    pipeline.advance()
    pipeline.clock.advance(13 * DAY)
    second = pipeline.order(fresh())
    pipeline.advance()
    pipeline.clock.advance(2 * DAY)
    pipeline.advance()
    assert {pipeline.request(id).status for id in (first, second)} == {Status.PENDING}
    assert len(pipeline.printer.printed) == 2


def test_after_a_cancelled_order_the_next_one_asks_for_itself(pipeline: Pipeline) -> None:
    first = pipeline.order(fresh())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, first), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    pipeline.clock.advance(3 * DAY)
    second = pipeline.order(fresh())
    pipeline.advance()
    number = pipeline.request(second).customer_number
    assert number in mails_to(pipeline, STRANGER.email)[-1] and number in pipeline.printer.printed[-1].text
    assert len(pipeline.printer.printed) == 2


def test_how_often_is_counted_from_the_last_fresh_question(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    for _ in range(4):
        pipeline.clock.advance(3 * DAY)
        again(pipeline, id, "letter")
        pipeline.advance()
    pipeline.clock.advance(15 * DAY)
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.PROOF_EXPIRED
    late = pipeline.order(fresh())
    pipeline.advance()
    pipeline.clock.advance(3 * DAY)
    again(pipeline, late, "letter")
    pipeline.advance()
    assert len(pipeline.printer.printed) == 7
