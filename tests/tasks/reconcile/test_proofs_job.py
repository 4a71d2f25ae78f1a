"""Tests of the scheduled job `proofs`: it reports missed reminders and deadlines, and ends link codes."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.users import User
from models.proofs.link_codes import create_link_code
from models.proofs.proofs import AddressProof, Consent, EmailProof, LinkCode
from models.requests.requests import Request
from models.states import ProofMethod, Reason
from tests.factories import a_link, an_order, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import DAY, changing, finds


def asleep(pipeline: Pipeline, id: uuid.UUID) -> None:
    """Make the request due in a year, long after its proof expires: a fault that the job `proofs` has to find."""
    with changing(pipeline) as session:
        session.get_one(Request, id).due_at = pipeline.clock.now + 365 * DAY


def new_place(pipeline: Pipeline) -> uuid.UUID:
    """Submit an order whose e-mail address and connection address have not been proved; return its id."""
    with changing(pipeline) as session:
        for table in (EmailProof, AddressProof):
            session.execute(sa.delete(table))
    return pipeline.order(an_order())


def test_an_overdue_reminder_is_given(pipeline: Pipeline) -> None:
    id = new_place(pipeline)
    pipeline.advance()
    assert len(pipeline.mailer.but_receipts) == 1
    asleep(pipeline, id)
    pipeline.clock.advance(7 * DAY)
    [finding] = finds(pipeline, "proofs", "proof_overdue")
    assert finding.facts["what"] == ["email"]
    pipeline.advance()
    first, again = (mail.subject for mail in pipeline.mailer.but_receipts)
    assert again == f"Erinnerung: {first}"
    assert "email_reminded" in pipeline.codes(id)
    finds(pipeline, "proofs")


def test_an_overdue_end_comes(pipeline: Pipeline) -> None:
    id = new_place(pipeline)
    pipeline.advance()
    asleep(pipeline, id)
    pipeline.clock.advance(15 * DAY)
    [finding] = finds(pipeline, "proofs", "proof_overdue")
    assert finding.facts["what"] == ["address", "email"]
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.PROOF_EXPIRED


def test_a_question_for_consent_that_is_overdue_is_asked_again(pipeline: Pipeline) -> None:
    with changing(pipeline) as session:
        account = make_account(session, administrator=make_user(session))
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    asleep(pipeline, id)
    pipeline.clock.advance(7 * DAY)
    [finding] = finds(pipeline, "proofs", "proof_overdue")
    assert finding.facts["what"] == ["consent"]
    pipeline.advance()
    assert "consent_reminded" in pipeline.codes(id)
    with changing(pipeline) as session:
        assert session.get_one(Consent, id).reminders == 1


def test_a_proof_that_the_order_does_not_need_is_not_overdue(pipeline: Pipeline) -> None:
    with changing(pipeline) as session:
        session.execute(sa.delete(AddressProof))
        # Somebody else was asked for this address once and never answered.
        manager = session.get_one(User, pipeline.manager.user_id)
        long_ago = {"asked_at": pipeline.clock.now - 30 * DAY, "expires_at": pipeline.clock.now - 16 * DAY}
        session.add(EmailProof(main_id=pipeline.main.id, address=manager.email, **long_ago))
    contact = type(an_order().contact)("Max", pipeline.manager.email, None)
    id = pipeline.order(an_order(contact=contact))
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.ADDRESS_NOT_PROVED
    finds(pipeline, "proofs")


def test_link_codes_end_and_it_is_counted_who_waits_for_whom(pipeline: Pipeline) -> None:
    new_place(pipeline)
    pipeline.advance()
    with changing(pipeline) as session:
        create_link_code(session, pipeline.manager, session.get_one(Account, pipeline.main.id), pipeline.clock.now)
    assert pipeline.run("proofs").counts == {
        "link_codes_ended": 0,
        "offers_asked_again": 0,
        "waiting_for_contact": 1,
        "looked_at": 1,
    }
    pipeline.clock.advance(8 * DAY)
    assert pipeline.run("proofs", dry=True).counts["link_codes_ended"] == 1
    assert pipeline.run("proofs").counts["link_codes_ended"] == 1
    assert pipeline.run("proofs").counts["link_codes_ended"] == 0
    with changing(pipeline) as session:
        assert session.scalars(sa.select(LinkCode.ended_at)).one() == pipeline.clock.now
