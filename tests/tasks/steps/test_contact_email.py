"""Tests of an order whose contact's e-mail address the mail server refuses.

The requester is told, and has to correct the address. A corrected address gets a new mail at once, and the old link
becomes invalid.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.company_limits import Limits
from models.calendar_days import end_of_day
from models.errors import InvalidField, LimitReached, NotAwaited
from models.messages.outbox import Message, MessageState
from models.orders.orders import Contact, cancel_and_release
from models.proofs.contact_email import MOST_CORRECTIONS, correct_contact, corrections_left
from models.proofs.proofs import EmailProof
from models.requests.requests import Request
from models.states import Actor, Reason, Status
from tasks.ports import GatewayRefused
from tests.factories import PLENTY, make_bulk, make_main
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.proving import DAY, STRANGER, again, code_in, confirm, enter, fresh, mails_to, waits

RIGHT = "nele.neu@example.com"


def correct(pipeline: Pipeline, id: UUID, address: str = RIGHT, usual: Limits = PLENTY) -> int:
    """Correct the contact's e-mail address of the order `id`; return how many orders got the new address.

    `usual` are the limits of companies without limits of their own.
    """
    with pipeline.runtime.database.transaction() as session:
        return correct_contact(
            session, pipeline.manager, session.get_one(Request, id), address, pipeline.clock.now, usual
        )


def left(pipeline: Pipeline, id: UUID) -> int:
    with pipeline.runtime.database.transaction() as session:
        return corrections_left(session, session.get_one(Request, id))


def refuse(pipeline: Pipeline, *addresses: str) -> None:
    """Make the mail server refuse the next mail to each of the addresses for good."""
    for address in addresses:
        pipeline.mailer.failures[address] = [GatewayRefused("550")]


def bounced(pipeline: Pipeline) -> UUID:
    """Place an order whose mail with a code to the contact is refused for good; return the order's id."""
    refuse(pipeline, STRANGER.email)
    id = pipeline.order(fresh())
    pipeline.advance()
    pipeline.advance()
    return id


def told(pipeline: Pipeline) -> list[str]:
    """Return the texts of the mails to the requester that report a refused address."""
    return [text for text in mails_to(pipeline, pipeline.manager.email) if "kam zurück" in text]


def test_a_refused_question_is_told_to_the_requester_who_has_to_act(pipeline: Pipeline) -> None:
    id = bounced(pipeline)
    until = end_of_day(pipeline.clock.now + 14 * DAY)
    assert waits(pipeline, id) == (Actor.REQUESTER, Reason.CONTACT_REFUSED, until)
    assert pipeline.codes(id)[-2:] == ["contact_refused", "pending"]
    [mail] = told(pipeline)
    for words in (STRANGER.name, STRANGER.email, "Filiale Mitte", f"/anfragen/{id}", "16. März 2026", "korrigieren"):
        assert words in mail
    # Nobody is reminded there, and without a correction the order ends with its day.
    for _ in range(15):
        pipeline.clock.advance(DAY)
        pipeline.advance()
    assert mails_to(pipeline, STRANGER.email) == [] and len(told(pipeline)) == 1
    assert pipeline.request(id).reason is Reason.PROOF_EXPIRED


def test_a_corrected_address_is_asked_at_once_and_the_old_link_is_void(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    [old] = mails_to(pipeline, STRANGER.email)
    pipeline.clock.advance(4 * DAY)
    assert correct(pipeline, id, f" {RIGHT.upper()} ") == 1
    pipeline.advance()
    [new] = mails_to(pipeline, RIGHT)
    assert waits(pipeline, id)[:2] == (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED)
    assert not confirm(pipeline, id, code_in(old))
    # The letter that is on its way stays valid.
    [letter] = pipeline.printer.printed
    assert confirm(pipeline, id, code_in(new)) and enter(pipeline, id, code_in(letter.text))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert "contact_corrected" in pipeline.codes(id)
    assert len(mails_to(pipeline, STRANGER.email)) == 1


def test_after_a_correction_the_contact_has_to_act_again(pipeline: Pipeline) -> None:
    id = bounced(pipeline)
    correct(pipeline, id)
    pipeline.advance()
    assert waits(pipeline, id)[:2] == (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED)
    assert len(mails_to(pipeline, RIGHT)) == 1


def test_an_address_that_is_corrected_to_and_fro_counts_each_time_it_is_mailed(pipeline: Pipeline) -> None:
    id, narrow = pipeline.order(fresh()), replace(PLENTY, contacts=2)
    pipeline.advance()
    assert correct(pipeline, id, RIGHT, narrow) == 1
    pipeline.advance()
    pipeline.clock.advance(timedelta(minutes=11))
    assert correct(pipeline, id, STRANGER.email, narrow) == 1
    pipeline.advance()
    pipeline.clock.advance(timedelta(minutes=11))
    with pytest.raises(LimitReached):
        correct(pipeline, id, RIGHT, narrow)
    assert correct(pipeline, id, RIGHT) == 1


def test_a_new_mail_to_the_same_address_is_another_question(pipeline: Pipeline) -> None:
    id = bounced(pipeline)
    pipeline.clock.advance(timedelta(minutes=10))
    again(pipeline, id, "email")
    pipeline.advance()
    assert waits(pipeline, id)[:2] == (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED)
    assert len(mails_to(pipeline, STRANGER.email)) == 1


def test_every_order_that_waits_for_the_address_is_told_and_corrected_and_no_other(pipeline: Pipeline) -> None:
    ours = [pipeline.order(fresh()) for _ in range(3)]
    with pipeline.runtime.database.transaction() as session:
        main, stranger = make_main(session)
    mine, pipeline.manager = pipeline.manager, stranger
    theirs = pipeline.order(fresh(), main)
    pipeline.manager = mine
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, ours[2]), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    refuse(pipeline, STRANGER.email)
    pipeline.advance()
    pipeline.advance()
    reasons = [pipeline.request(id).reason for id in (*ours, theirs)]
    refused, asked = Reason.CONTACT_REFUSED, Reason.EMAIL_NOT_CONFIRMED
    # Of the two questions, one for each main account, the first was refused.
    assert sorted(map(str, reasons)) in (
        sorted([refused, refused, Reason.CANCELLED_BY_REQUESTER, asked]),
        sorted([asked, asked, Reason.CANCELLED_BY_REQUESTER, refused]),
    )
    assert len(told(pipeline)) <= 1
    assert correct(pipeline, ours[0]) == 2
    pipeline.advance()
    assert len(mails_to(pipeline, RIGHT)) == 1
    with pipeline.runtime.database.transaction() as session:
        emails = {id: session.get_one(Request, id).account.contact_email for id in (*ours, theirs)}  # type: ignore[union-attr]
    assert [emails[id] for id in (*ours, theirs)] == [RIGHT, RIGHT, STRANGER.email, STRANGER.email]


def test_a_file_with_one_wrong_address_brings_one_mail(pipeline: Pipeline) -> None:
    refuse(pipeline, STRANGER.email)
    with pipeline.runtime.database.transaction() as session:
        rows = [fresh(contact=Contact(f"Person {number}", STRANGER.email, None)) for number in range(5)]
        make_bulk(session, pipeline.manager, pipeline.main, rows).send(pipeline.clock.now)
    for _ in range(5):
        pipeline.advance()
    [mail] = told(pipeline)
    assert "4 weitere Bestellungen" in mail


def test_a_correction_to_an_address_that_has_answered_needs_no_question(pipeline: Pipeline) -> None:
    # The pipeline's default contact is known.
    id = pipeline.order(fresh())
    pipeline.advance()
    correct(pipeline, id, "hanna.palmer@example.com")
    pipeline.advance()
    assert waits(pipeline, id)[:2] == (Actor.CONTACT, Reason.ADDRESS_NOT_PROVED)


def test_a_correction_to_an_address_that_has_let_the_time_pass_asks_from_the_start(pipeline: Pipeline) -> None:
    pipeline.order(fresh(contact=Contact("Nele Neu", RIGHT, None)))
    pipeline.advance()
    pipeline.clock.advance(20 * DAY)
    pipeline.advance()
    id = pipeline.order(fresh())
    pipeline.advance()
    correct(pipeline, id)
    pipeline.advance()
    assert waits(pipeline, id) == (
        Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED, end_of_day(pipeline.clock.now + 14 * DAY),
    )  # fmt: skip
    assert code_in(mails_to(pipeline, RIGHT)[-1]) != code_in(mails_to(pipeline, RIGHT)[0])


def test_nobody_can_mail_everybody_with_one_order(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    with pytest.raises(InvalidField, match="same_address"):
        correct(pipeline, id, STRANGER.email)
    for number in range(MOST_CORRECTIONS):
        assert left(pipeline, id) == MOST_CORRECTIONS - number
        correct(pipeline, id, f"person{number}@example.com")
        pipeline.advance()
    assert left(pipeline, id) == 0
    with pytest.raises(NotAwaited):
        correct(pipeline, id)


def test_only_an_order_that_waits_for_the_contact_can_be_corrected(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    with pytest.raises(NotAwaited):
        correct(pipeline, id)
    pipeline.advance()
    confirm(pipeline, id, code_in(mails_to(pipeline, STRANGER.email)[0]))
    pipeline.advance()
    assert left(pipeline, id) == 0
    with pytest.raises(NotAwaited):
        correct(pipeline, id)


def test_the_refusal_of_an_older_question_says_nothing_about_the_new_one(pipeline: Pipeline) -> None:
    id = pipeline.order(fresh())
    pipeline.advance()
    pipeline.clock.advance(timedelta(minutes=10))
    again(pipeline, id, "email")
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        # The first mail is in a worker's hands still.
        first = sa.select(Message).where(Message.template == "email_code").order_by(Message.id).limit(1)
        message = session.scalars(first).one()
        message.state, message.sent_at = MessageState.QUEUED, None
        message.make_due(pipeline.clock.now)
    refuse(pipeline, STRANGER.email)
    pipeline.advance()
    pipeline.advance()
    assert waits(pipeline, id)[:2] == (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(EmailProof.refused_at).where(EmailProof.address == STRANGER.email)).all() == [
            None
        ]
