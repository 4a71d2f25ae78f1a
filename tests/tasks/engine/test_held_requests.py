"""Tests that a held request names the carrier as the party that has to act, and the day until which the carrier acts.

The request's page, the API, the receipt and a mail show it.
"""

from __future__ import annotations

from datetime import timedelta

from models.calendar_days import end_of_day
from models.states import Actor, Reason, Status
from tasks.wording.next_steps import expectation, next_action
from tests.factories import an_order
from tests.tasks.conftest import Pipeline


def held_mails(pipeline: Pipeline) -> list[str]:
    pipeline.send()
    return [" ".join(mail.text.split()) for mail in pipeline.mailer.sent if "Wir brauchen noch Zeit" in mail.subject]


def test_a_held_order_names_the_day_by_which_the_carrier_acts(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(block_size=100))
    pipeline.advance()
    request, now = pipeline.request(id), pipeline.clock.now
    assert (request.status, request.reason) == (Status.HELD, Reason.NO_NUMBERS_AVAILABLE)
    action = next_action(request, "de", now)
    assert action is not None and action.actor is Actor.CARRIER
    assert action.until == end_of_day(now + timedelta(days=5))
    assert expectation(request, "de", now) is not None
    [told] = held_mails(pipeline)
    assert "Wer handelt: wir, bis zum 7. März 2026. Sie müssen nichts tun." in told
    [receipt] = [mail.text for mail in pipeline.mailer.sent if "erhalten" in mail.subject]
    receipt = " ".join(receipt.split())
    assert "Wir handeln bis zum 7. März 2026; Sie müssen nichts tun." in receipt
    assert "Minute" not in receipt
    # A day that has passed is no promise any more.
    pipeline.clock.advance(timedelta(days=9))
    pipeline.advance()
    action = next_action(pipeline.request(id), "de", pipeline.clock.now)
    assert action is not None and action.until == end_of_day(pipeline.clock.now)


def test_one_mail_for_each_reason_however_often_it_is_tried(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(block_size=100))
    for _ in range(3):
        pipeline.advance()
        pipeline.clock.advance(timedelta(minutes=16))
    assert pipeline.request(id).status is Status.HELD
    assert len(held_mails(pipeline)) == 1
