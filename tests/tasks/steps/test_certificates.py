"""Tests that a request for numbers waits for a certificate of need if the trunk would have more than a hundred.

The wait ends when staff accept the uploaded certificate, or when its time is over. Nothing is charged before.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import Month, berlin_day, end_of_day, first_moment
from models.changes.cancellations import submit_cancellation
from models.contracts.terms import months_later
from models.errors import Forbidden, NotAwaited
from models.proofs.certificates import MOST_NUMBERS
from models.proofs.document_refusals import Refusal
from models.proofs.document_review import decide_document, upload_certificate, upload_document
from models.proofs.documents import ProofDocument
from models.proofs.proof_status import ProofKind, ProofState, proof_statuses
from models.requests.requests import Request
from models.states import Actor, Reason, RefusalReason, Status
from models.telephony.numbers import BLOCK_SIZES, NumberBlock
from models.telephony.trunks import SipTrunk
from models.views.account_costs import costs_of_account
from tasks.wording.formats import last_day_text
from tests.factories import an_order, fill_pool, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import finds
from tests.tasks.steps.asking_numbers import (
    answer,
    ask,
    block_of,
    near_munich,
    numbers_there,
    take_back,
    trunk_id,
)
from tests.tasks.steps.test_change import go_to, in_days

__all__ = ["trunk_id"]
DAY = timedelta(days=1)
MISSING, REVIEW = (Actor.REQUESTER, Reason.NEED_NOT_PROVED), (Actor.CARRIER, Reason.CERTIFICATE_IN_REVIEW)


@pytest.fixture
def asked(pipeline: Pipeline, trunk_id: int) -> UUID:
    """Request 100 numbers for the trunk, which has 10, and let the workers run; return the request's id."""
    with pipeline.owner.transaction() as session:
        fill_pool(session, size=100, count=4, first="40000000")
    id = ask(pipeline, trunk_id, size=100)
    go_to(pipeline, pipeline.clock.now)
    return id


def hand_in(pipeline: Pipeline, id: UUID) -> None:
    """Hand in a document as certificate of need, and let the workers run."""
    with pipeline.runtime.database.transaction() as session:
        request, now = session.get_one(Request, id), pipeline.clock.now
        upload_certificate(session, pipeline.manager, request, "Plan.pdf", "application/pdf", b"%PDF-", now)
    go_to(pipeline, pipeline.clock.now)


def decide(pipeline: Pipeline, id: UUID, refusal: Refusal | None = None) -> None:
    """Decide as staff on the request's document, and let the workers run.

    The document is refused for the reason `refusal`; it is accepted if that is None.
    """
    with pipeline.runtime.database.transaction() as session:
        staff = make_user(session, is_staff=True)
        decide_document(session, staff, session.get_one(Request, id), refusal=refusal, now=pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)


def waits(pipeline: Pipeline, id: UUID) -> tuple[Actor | None, Reason | None]:
    """Return who has to act on the request, and why it waits. Fails if it has reserved numbers."""
    request = pipeline.request(id)
    assert request.reserved_block_id is None
    return request.waiting_for, request.reason


def states(pipeline: Pipeline, id: UUID) -> list[ProofState]:
    """Return the states of the request's certificates, as its page shows them."""
    with pipeline.runtime.database.transaction() as session:
        asked = proof_statuses(session, [session.get_one(Request, id)], pipeline.clock.now)[id]
    assert {one.kind for one in asked} <= {ProofKind.CERTIFICATE}
    return [one.state for one in asked]


def mails(pipeline: Pipeline, words: str) -> list[str]:
    """Return the texts of the sent mails whose subject has these words."""
    return [" ".join(mail.text.split()) for mail in pipeline.mailer.sent if words in mail.subject]


def test_more_than_a_hundred_numbers_wait_for_a_certificate_that_staff_accept(
    pipeline: Pipeline, trunk_id: int, asked: UUID
) -> None:
    until = end_of_day(pipeline.clock.now + 14 * DAY)
    assert waits(pipeline, asked) == MISSING and pipeline.request(asked).waiting_until == until
    assert states(pipeline, asked) == [ProofState.OPEN]
    [receipt] = mails(pipeline, "Bestellung von Rufnummern")
    assert "hat der SIP-Trunk 110" in receipt and "Bedarfsnachweis" in receipt and "bis zum" in receipt
    hand_in(pipeline, asked)
    assert waits(pipeline, asked) == REVIEW
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(ProofDocument.numbers)).one() == 110
        stranger = make_user(session)
        with pytest.raises(Forbidden):
            decide_document(session, stranger, session.get_one(Request, asked), refusal=None, now=pipeline.clock.now)
    assert numbers_there(pipeline) == 10
    decide(pipeline, asked)
    assert pipeline.request(asked).status is Status.COMPLETED and numbers_there(pipeline) == 110
    assert pipeline.codes(asked) == [
        "numbers_received", "pending", "certificate_received", "pending", "certificate_released", "numbers_reserved",
        "numbers_added", "completed", "confirmed",
    ]  # fmt: skip
    assert states(pipeline, asked) == [ProofState.PROVED]
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(SipTrunk, trunk_id).certified_numbers == 110


def test_what_was_certified_needs_no_further_certificate_when_its_document_is_gone(
    pipeline: Pipeline, trunk_id: int, asked: UUID
) -> None:
    hand_in(pipeline, asked)
    decide(pipeline, asked)
    with pipeline.owner.transaction() as session:
        session.execute(sa.delete(ProofDocument))
        session.execute(
            sa.update(NumberBlock).where(NumberBlock.size == 10, NumberBlock.trunk_id == trunk_id).values(trunk_id=None)
        )
    again, beyond = ask(pipeline, trunk_id), ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(again).status is Status.COMPLETED
    assert waits(pipeline, beyond) == MISSING


def test_what_is_asked_for_at_the_same_time_counts_in_the_order_in_which_it_was_asked_for(
    pipeline: Pipeline, trunk_id: int
) -> None:
    # The trunk has 10: with the tenth of these blocks of 10 it would have 110.
    ids = [ask(pipeline, trunk_id, day=in_days(pipeline, 40 - place)) for place in range(12)]
    go_to(pipeline, pipeline.clock.now)
    assert [pipeline.request(id).status for id in ids] == [Status.IN_PROGRESS] * 9 + [Status.PENDING] * 3
    # One less is asked for: the next one needs no certificate, and the others still do.
    take_back(pipeline, ids[0])
    assert pipeline.run("proofs").counts["needs_over"] == 1
    go_to(pipeline, pipeline.clock.now)
    assert [pipeline.request(id).status for id in ids[9:]] == [Status.IN_PROGRESS] + [Status.PENDING] * 2
    assert "needs_over" not in pipeline.run("proofs").counts
    go_to(pipeline, pipeline.clock.now + 15 * DAY)
    assert [pipeline.request(id).reason for id in ids[10:]] == [Reason.PROOF_EXPIRED] * 2
    # One that needs none any more has nothing to say about it.
    go_to(pipeline, first_moment(in_days(pipeline, 40)))
    assert pipeline.request(ids[9]).status is Status.COMPLETED and states(pipeline, ids[9]) == []


def test_one_certificate_is_for_all_that_is_asked_for_until_then(pipeline: Pipeline, trunk_id: int) -> None:
    ids = [ask(pipeline, trunk_id, day=in_days(pipeline, 5 + place)) for place in range(11)]
    go_to(pipeline, pipeline.clock.now)
    assert [waits(pipeline, id) for id in ids[9:]] == [MISSING] * 2
    hand_in(pipeline, ids[10])
    assert waits(pipeline, ids[9]) == MISSING
    decide(pipeline, ids[10])
    assert {pipeline.request(id).status for id in ids} == {Status.IN_PROGRESS}
    assert len({block_of(pipeline, id).id for id in ids}) == 11
    go_to(pipeline, first_moment(in_days(pipeline, 20)))
    assert numbers_there(pipeline) == 120


def test_a_certificate_for_the_first_does_not_cover_what_was_asked_for_later(pipeline: Pipeline, trunk_id: int) -> None:
    ids = [ask(pipeline, trunk_id, day=in_days(pipeline, 5 + place)) for place in range(11)]
    go_to(pipeline, pipeline.clock.now)
    hand_in(pipeline, ids[9])
    decide(pipeline, ids[9])
    assert pipeline.request(ids[9]).status is Status.IN_PROGRESS
    assert waits(pipeline, ids[10]) == MISSING


def test_an_imported_trunk_needs_none_for_what_it_has_and_one_for_more(pipeline: Pipeline, trunk_id: int) -> None:
    with pipeline.owner.transaction() as session:
        fill_pool(session, size=100, count=2, first="50000000")
        account_id = session.get_one(SipTrunk, trunk_id).account_id
        session.execute(
            sa.update(NumberBlock).where(NumberBlock.size == 100).values(account_id=account_id, trunk_id=trunk_id)
        )
    assert finds(pipeline, "requests") == finds(pipeline, "proofs") == []
    id = ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == MISSING
    hand_in(pipeline, id)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(ProofDocument.numbers)).one() == 220


def test_a_refused_certificate_can_be_replaced_by_another_and_fewer_numbers(
    pipeline: Pipeline, trunk_id: int, asked: UUID
) -> None:
    hand_in(pipeline, asked)
    decide(pipeline, asked, Refusal(RefusalReason.NO_NEED, "Nur zehn Plätze"))
    assert waits(pipeline, asked) == MISSING
    assert states(pipeline, asked) == [ProofState.DECLINED, ProofState.OPEN]
    [told] = mails(pipeline, "Bedarfsnachweis reicht nicht")
    assert "dass so viele Rufnummern gebraucht werden. Unser Hinweis: „Nur zehn Plätze“." in told
    assert "Weniger Rufnummern gehen auch" in told and "Bis zu 100 an diesem SIP-Trunk" in told
    hand_in(pipeline, asked)
    assert waits(pipeline, asked) == REVIEW
    take_back(pipeline, asked)
    fewer = ask(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(fewer).status is Status.COMPLETED
    assert states(pipeline, asked) == []
    with pytest.raises(NotAwaited):
        decide(pipeline, asked)


def test_without_a_document_the_request_lapses_after_two_reminders(pipeline: Pipeline, asked: UUID) -> None:
    until, reminded = pipeline.request(asked).waiting_until, []
    assert until is not None
    for _ in range(14):
        go_to(pipeline, pipeline.clock.now + DAY)
        reminded.append(len(mails(pipeline, "Bedarfsnachweis fehlt")))
    assert reminded == [0] * 7 + [1] * 5 + [2] * 2
    go_to(pipeline, until)
    request = pipeline.request(asked)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.PROOF_EXPIRED)
    assert states(pipeline, asked) == [ProofState.EXPIRED]
    assert len(mails(pipeline, "nicht abgeschlossen")) == 1
    with pytest.raises(NotAwaited):
        hand_in(pipeline, asked)


def test_while_we_look_at_it_the_customers_time_does_not_run(pipeline: Pipeline, asked: UUID) -> None:
    pipeline.clock.advance(13 * DAY)
    hand_in(pipeline, asked)
    for _ in range(20):
        go_to(pipeline, pipeline.clock.now + DAY)
        assert waits(pipeline, asked) == REVIEW
    decide(pipeline, asked, Refusal(RefusalReason.UNREADABLE))
    assert waits(pipeline, asked) == MISSING
    until = end_of_day(pipeline.clock.now + 7 * DAY)
    assert pipeline.request(asked).waiting_until == until
    [told] = mails(pipeline, "Bedarfsnachweis reicht nicht")
    assert f"Reichen Sie bis zum {last_day_text(until, 'de')} ein anderes Dokument ein." in told


def test_a_cancellation_does_not_wait_for_a_certificate(pipeline: Pipeline, trunk_id: int) -> None:
    with pipeline.owner.transaction() as session:
        fill_pool(session, size=100, count=1, first="40000000")
    last_day = months_later(berlin_day(pipeline.clock.now), 1)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        ends = submit_cancellation(session, pipeline.manager, account, last_day, "de", pipeline.clock.now).id
    go_to(pipeline, first_moment(last_day))
    asked = ask(pipeline, trunk_id, size=100)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, asked) == MISSING
    go_to(pipeline, first_moment(last_day + DAY))
    assert pipeline.request(ends).status is Status.COMPLETED
    go_to(pipeline, first_moment(last_day) + 15 * DAY)
    request = pipeline.request(asked)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.ACCOUNT_CLOSED)


def test_a_certificate_is_asked_for_while_the_back_office_answers_about_the_address(
    pipeline: Pipeline, trunk_id: int
) -> None:
    near_munich(pipeline, trunk_id)
    with pipeline.owner.transaction() as session:
        fill_pool(session, area_code="089", size=100, count=1, first="40000000")
    asked = ask(pipeline, trunk_id, size=100, area_code="089")
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, asked) == MISSING
    hand_in(pipeline, asked)
    decide(pipeline, asked)
    assert waits(pipeline, asked) == (None, Reason.AREA_CODE_UNCONFIRMED)
    assert answer(pipeline, fits=True) == [asked]
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(asked).status is Status.COMPLETED and numbers_there(pipeline) == 110


def test_nothing_is_charged_before_the_certificate(pipeline: Pipeline, trunk_id: int) -> None:
    day = in_days(pipeline, 3)
    with pipeline.owner.transaction() as session:
        fill_pool(session, size=100, count=1, first="40000000")
    id = ask(pipeline, trunk_id, size=100, day=day)
    go_to(pipeline, first_moment(day) + 2 * DAY)
    assert waits(pipeline, id) == MISSING
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        charges = costs_of_account(session, account, Month.of(berlin_day(pipeline.clock.now))).charges
        assert "block-100" not in [charge.line.price.product_key for charge in charges]
    hand_in(pipeline, id)
    decide(pipeline, id)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_certificate_is_for_numbers_and_an_address_proof_for_orders(pipeline: Pipeline, asked: UUID) -> None:
    file = ("x.pdf", "application/pdf", b"%PDF-", pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session, pytest.raises(NotAwaited):
        upload_document(session, pipeline.manager, session.get_one(Request, asked), *file)
    order = pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session, pytest.raises(NotAwaited):
        upload_certificate(session, pipeline.manager, session.get_one(Request, order), *file)


def test_no_order_needs_a_certificate() -> None:
    """Check that a new trunk, which gets one number block, never needs a certificate for its numbers."""
    assert max(BLOCK_SIZES) <= MOST_NUMBERS
