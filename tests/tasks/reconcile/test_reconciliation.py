"""The scheduled jobs: what each finds and has mended, that a dry run changes nothing, and that twice is once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.db.work_queue import WorkKind, claim_due
from models.jobs.findings import Finding
from models.jobs.jobs import JobRun, Outcome
from models.links.collective_invoices import (
    BilledElsewhere,
    CollectiveInvoice,
    CollectiveInvoiceItem,
    OtherPayer,
    put_on_invoice,
    take_off_invoice,
)
from models.messages.outbox import Message, MessageState
from models.people.users import Membership, User
from models.proofs.link_codes import create_link_code
from models.proofs.proofs import AddressProof, Consent, EmailProof, LinkCode
from models.requests.requests import Request
from models.states import AccountRole, AccountState, Kind, Origin, ProofMethod, Reason, Status, StepName
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from models.values import LOCALES
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, Subscriber
from tasks.wording.findings import finding_text
from tests.factories import a_link, an_order, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@contextmanager
def changing(pipeline: Pipeline) -> Iterator[Session]:
    """Open a transaction to change rows."""
    with pipeline.owner.transaction() as session:
        yield session


def finds(pipeline: Pipeline, job: str, *kinds: str) -> list[Finding]:
    """Assert that a job finds these kinds in a dry run, which changes nothing, and in a real run; return them."""
    dry = pipeline.run(job, dry=True)
    again = pipeline.run(job, dry=True)
    assert described(pipeline, again) == described(pipeline, dry)
    assert again.counts == dry.counts
    run = pipeline.run(job)
    assert run.outcome is Outcome.DONE
    assert described(pipeline, run) == described(pipeline, dry)
    assert (run.counts, run.found, run.unrepaired) == (dry.counts, dry.found, dry.unrepaired)
    found = pipeline.findings(run)
    assert sorted(finding.kind for finding in found) == sorted(kinds)
    for finding in found:
        assert all(finding_text(finding, locale) for locale in LOCALES)
        assert "@" not in str(finding.facts)
    return found


def described(pipeline: Pipeline, run: JobRun) -> list[tuple[str, str, bool]]:
    """A run's findings, to compare with another's."""
    return sorted((finding.kind, finding.subject, finding.repaired) for finding in pipeline.findings(run))


# requests


def test_nothing_stands_still_where_everything_works(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.clock.advance(timedelta(days=30))
    pipeline.told.clear()
    assert finds(pipeline, "requests") == []
    assert WorkKind.VERIFY not in pipeline.told


def test_what_nobody_picked_up_is_hinted_at(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    due_at = pipeline.request(id).due_at
    pipeline.clock.advance(4 * MINUTE)
    finds(pipeline, "requests")
    pipeline.clock.advance(2 * MINUTE)
    pipeline.told.clear()
    [finding] = finds(pipeline, "requests", "not_picked_up")
    assert (finding.subject, finding.repaired) == (str(id), True)
    assert pipeline.request(id).due_at == due_at
    assert WorkKind.VERIFY in pipeline.told
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    finds(pipeline, "requests")


def test_a_request_that_kills_its_workers_is_seen(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    for _ in range(pipeline.runtime.retry.patience + 1):
        with pipeline.runtime.database.transaction() as session:
            now = pipeline.clock.now
            claimed = claim_due(session, Request, now=now, lease=uuid4(), until=now + MINUTE, limit=1)
        assert claimed == [id]
        pipeline.clock.advance(MINUTE)
    with changing(pipeline) as session:
        session.get_one(Request, id).begin(pipeline.clock.now)
    found = finds(pipeline, "requests", "left_by_worker", "tried_often")
    [finding] = [one for one in found if one.kind == "tried_often"]
    assert (finding.subject, finding.repaired) == (str(id), False)
    assert "12 Versuchen" in finding_text(finding, "de")
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    finds(pipeline, "requests")


def test_what_a_worker_left_lying_is_taken_from_it(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    with changing(pipeline) as session:
        request = session.get_one(Request, id)
        request.lease, request.due_at = uuid.uuid4(), pipeline.clock.now + MINUTE
    finds(pipeline, "requests")
    pipeline.clock.advance(3 * MINUTE)
    [finding] = finds(pipeline, "requests", "left_by_worker")
    assert finding.repaired
    assert pipeline.request(id).lease is None
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_who_waits_past_the_deadline_is_woken_and_the_step_decides(pipeline: Pipeline) -> None:
    with changing(pipeline) as session:
        account = make_account(session, administrator=make_user(session))
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    asleep(pipeline, id)
    pipeline.clock.advance(13 * DAY)
    finds(pipeline, "requests")
    pipeline.clock.advance(2 * DAY)
    [finding] = finds(pipeline, "requests", "past_deadline")
    assert finding.repaired
    pipeline.advance()
    assert (pipeline.request(id).status, pipeline.request(id).reason) == (Status.REJECTED, Reason.PROOF_EXPIRED)
    finds(pipeline, "requests")


def test_what_is_held_for_long_is_for_the_back_office(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [ValueError("a bug")] * 2
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.HELD
    finds(pipeline, "requests")
    pipeline.clock.advance(DAY + MINUTE)
    for _ in range(2):
        [finding] = finds(pipeline, "requests", "held_long")
        assert not finding.repaired
    assert pipeline.request(id).due_at is None


def test_more_requests_than_a_page_are_all_seen(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.reconcile.request_batches.PAGE", 2)
    for _ in range(5):
        pipeline.order(an_order())
    pipeline.clock.advance(6 * MINUTE)
    assert len(finds(pipeline, "requests", *["not_picked_up"] * 5)) == 5


def test_what_a_worker_has_locked_at_this_moment_does_not_stand_still(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    pipeline.clock.advance(6 * MINUTE)
    with changing(pipeline) as session:
        session.get_one(Request, id, with_for_update=True)
        finds(pipeline, "requests")
    finds(pipeline, "requests", "not_picked_up")


# proofs


def asleep(pipeline: Pipeline, id: uuid.UUID) -> None:
    """Set a request's due time after its proof's expiry, which must never happen."""
    with changing(pipeline) as session:
        session.get_one(Request, id).due_at = pipeline.clock.now + 365 * DAY


def new_place(pipeline: Pipeline) -> uuid.UUID:
    """Submit an order whose e-mail address and connection address are not proved."""
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
    assert len(pipeline.mailer.but_receipts) == 2
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
    assert pipeline.run("proofs").counts == {"link_codes_ended": 0, "waiting_for_contact": 1, "looked_at": 1}
    pipeline.clock.advance(8 * DAY)
    assert pipeline.run("proofs", dry=True).counts["link_codes_ended"] == 1
    assert pipeline.run("proofs").counts["link_codes_ended"] == 1
    assert pipeline.run("proofs").counts["link_codes_ended"] == 0
    with changing(pipeline) as session:
        assert session.scalars(sa.select(LinkCode.ended_at)).one() == pipeline.clock.now


# mails


def test_a_late_mail_is_tried_again_at_once(pipeline: Pipeline) -> None:
    away: list[GatewayError] = [GatewayUnavailable("down") for _ in range(3)]
    pipeline.mailer.failures[pipeline.manager.email] = away
    pipeline.order(an_order())
    pipeline.advance()
    finds(pipeline, "mails")
    with changing(pipeline) as session:
        for message in session.scalars(sa.select(Message).where(Message.state == MessageState.QUEUED)):
            message.due_at = pipeline.clock.now + DAY
    pipeline.clock.advance(16 * MINUTE)
    pipeline.mailer.failures.clear()
    kinds = ["mail_late"] * len(waiting(pipeline))
    found = finds(pipeline, "mails", *kinds)
    late = {"order_completed", "order_completed_contact", "order_receipt"}
    assert {finding.facts["template"] for finding in found} == late
    assert all(finding.repaired for finding in found)
    # The first is the try whether the server is back; it is, and the others follow.
    pipeline.advance()
    assert pipeline.told[-1] is WorkKind.MESSAGES
    pipeline.advance()
    assert waiting(pipeline) == []
    assert len(pipeline.mailer.but_receipts) == 2
    finds(pipeline, "mails")


def waiting(pipeline: Pipeline) -> list[Message]:
    with changing(pipeline) as session:
        return list(session.scalars(sa.select(Message).where(Message.state == MessageState.QUEUED)))


def test_a_mail_that_was_tried_often_is_for_the_back_office(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    pipeline.mailer.failures[pipeline.manager.email] = [GatewayUnavailable("down")]
    pipeline.mailer.failures["hanna.palmer@example.com"] = [GatewayUnavailable("down")]
    pipeline.advance()
    with changing(pipeline) as session:
        session.execute(sa.update(Message).values(attempts=12))
    pipeline.clock.advance(16 * MINUTE)
    found = finds(pipeline, "mails", *["mail_late"] * 3)
    assert not any(finding.repaired for finding in found)


def test_a_mail_in_a_workers_hands_is_left_there(pipeline: Pipeline) -> None:
    pipeline.mailer.failures[pipeline.manager.email] = [GatewayUnavailable("down")]
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.clock.advance(16 * MINUTE)
    with changing(pipeline) as session:
        lease = {"lease": uuid.uuid4(), "due_at": pipeline.clock.now + MINUTE}
        session.execute(sa.update(Message).where(Message.state == MessageState.QUEUED).values(**lease))
    finds(pipeline, "mails")


def test_a_refused_mail_is_found_for_a_day(pipeline: Pipeline) -> None:
    pipeline.mailer.failures["hanna.palmer@example.com"] = [GatewayRefused("no such box")]
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.clock.advance(23 * timedelta(hours=1))
    [finding] = finds(pipeline, "mails", "mail_refused")
    assert not finding.repaired
    assert finding.facts["template"] == "order_completed_contact"
    pipeline.clock.advance(2 * timedelta(hours=1))
    finds(pipeline, "mails")


# registrar, with a registrar that is a dictionary; the real one is in tests/workers/test_registrar_reconciliation.py


def trunk(pipeline: Pipeline) -> SipTrunk:
    """Complete an order and return its trunk."""
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
        stranger = Subscriber(f"stranger{place}", "sip.example", ("a", "b", ""), (), ())
        pipeline.registrar.strangers[stranger.address] = stranger
    [refused] = finds(pipeline, "registrar", "too_many_unknown")
    assert (refused.repaired, refused.facts) == (False, {"count": 5})
    assert len(pipeline.registrar.strangers) == 5
    for _ in range(2):
        pipeline.registrar.strangers.popitem()
    found = finds(pipeline, "registrar", *["unknown_there"] * 3)
    assert all(finding.repaired for finding in found)
    assert not pipeline.registrar.strangers


# invoices


def billed(pipeline: Pipeline, number: str = "SR-1", main: Account | None = None, **facts: object) -> Account:
    """Create an account on a collective invoice."""
    with changing(pipeline) as session:
        payer = session.get_one(Account, (main or pipeline.main).id)
        account = make_account(session, administrator=make_user(session), **facts)
        put_on_invoice(session, number, payer, account, pipeline.clock.now)
    return account


def reread(pipeline: Pipeline, account: Account) -> Account:
    with changing(pipeline) as session:
        return session.get_one(Account, account.id)


def requests(pipeline: Pipeline) -> list[Request]:
    with changing(pipeline) as session:
        return list(session.scalars(sa.select(Request).order_by(Request.id)))


def leave(pipeline: Pipeline, account: Account, number: str = "SR-1") -> None:
    with changing(pipeline) as session:
        assert take_off_invoice(session, number, session.get_one(Account, account.id), pipeline.clock.now)


def test_who_is_billed_together_is_listed_and_everybody_is_told(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    [finding] = finds(pipeline, "invoices", "not_listed")
    assert (finding.subject, finding.repaired) == (account.customer_number, True)
    [request] = requests(pipeline)
    assert (request.kind, request.requested_by) == (Kind.LINK, None)
    assert request.asked_proof is ProofMethod.COLLECTIVE_INVOICE
    # On its way: no second request.
    finds(pipeline, "invoices")
    pipeline.advance()
    listed = reread(pipeline, account)
    assert (listed.main_id, listed.origin) == (pipeline.main.id, Origin.COLLECTIVE_INVOICE)
    codes = ["invoice_joined", "proved_collective_invoice", "attached", "completed", "confirmed", "confirmed"]
    assert pipeline.codes(request.id) == codes
    assert len(pipeline.mailer.but_receipts) == 2
    assert pipeline.manager.email in {mail.recipient_address for mail in pipeline.mailer.but_receipts}
    finds(pipeline, "invoices")
    assert len(requests(pipeline)) == 1


def test_who_leaves_the_invoice_leaves_the_main_account(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.run("invoices")
    pipeline.advance()
    leave(pipeline, account)
    finds(pipeline, "invoices", "still_listed")
    finds(pipeline, "invoices")
    pipeline.advance()
    left = reread(pipeline, account)
    assert (left.role, left.main_id) == (AccountRole.STANDALONE, None)
    [_, request] = requests(pipeline)
    assert (request.kind, request.status, request.requested_by) == (Kind.DETACH, Status.COMPLETED, None)
    assert pipeline.codes(request.id)[:2] == ["invoice_left", "detached"]
    finds(pipeline, "invoices")


def test_an_account_of_nobody_stays_until_somebody_can_sign_in(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.run("invoices")
    pipeline.advance()
    with changing(pipeline) as session:
        session.execute(sa.delete(Membership).where(Membership.account_id == account.id))
    leave(pipeline, account)
    for _ in range(2):
        [finding] = finds(pipeline, "invoices", "cannot_leave")
        assert (finding.facts["reason"], finding.repaired) == (Reason.NO_ADMINISTRATOR, False)
    with changing(pipeline) as session:
        join(session, make_user(session), session.get_one(Account, account.id))
    finds(pipeline, "invoices", "still_listed")
    pipeline.advance()
    assert reread(pipeline, account).main_id is None


def test_who_moves_to_another_invoice_leaves_first(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.run("invoices")
    pipeline.advance()
    leave(pipeline, account)
    with changing(pipeline) as session:
        other, _ = make_main(session)
        put_on_invoice(session, "SR-2", other, session.get_one(Account, account.id), pipeline.clock.now)
    finds(pipeline, "invoices", "still_listed")
    pipeline.advance()
    finds(pipeline, "invoices", "not_listed")
    pipeline.advance()
    assert reread(pipeline, account).main_id == other.id


def test_who_was_linked_by_hand_stays_linked_by_hand(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    with changing(pipeline) as session:
        attach(session, pipeline.main.id, account.id, Origin.LINK, pipeline.clock.now)
    finds(pipeline, "invoices")
    leave(pipeline, account)
    finds(pipeline, "invoices")
    assert reread(pipeline, account).origin is Origin.LINK
    assert requests(pipeline) == []


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        ("sub", Reason.ALREADY_ATTACHED),
        ("main", Reason.IS_MAIN_ACCOUNT),
        ("closed", Reason.ACCOUNT_CLOSED),
        ("payer", Reason.IS_SUB_ACCOUNT),
    ],
)
def test_who_cannot_be_listed_is_a_finding_and_no_request(pipeline: Pipeline, obstacle: str, reason: Reason) -> None:
    account = billed(pipeline)
    with changing(pipeline) as session:
        other, _ = make_main(session, subs=1)
        found = session.get_one(Account, account.id)
        if obstacle == "sub":
            attach(session, other.id, found.id, Origin.LINK, pipeline.clock.now)
        if obstacle == "main":
            attach(session, found.id, make_account(session).id, Origin.LINK, pipeline.clock.now)
        if obstacle == "closed":
            found.close()
        if obstacle == "payer":
            attach(session, other.id, pipeline.main.id, Origin.LINK, pipeline.clock.now)
    for _ in range(2):
        [finding] = finds(pipeline, "invoices", "cannot_be_listed")
        assert (finding.facts["reason"], finding.repaired) == (reason, False)
    assert requests(pipeline) == []


def test_a_link_that_somebody_has_asked_for_is_not_asked_for_again(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    finds(pipeline, "invoices")
    assert pipeline.run("invoices").counts["on_their_way"] == 1
    assert len(requests(pipeline)) == 1


def test_an_account_that_is_still_ordered_and_the_main_account_itself_are_let_be(pipeline: Pipeline) -> None:
    billed(pipeline, state=AccountState.ORDERED)
    with changing(pipeline) as session:
        main = session.get_one(Account, pipeline.main.id)
        put_on_invoice(session, "SR-1", main, main, pipeline.clock.now)
    finds(pipeline, "invoices")


def test_more_accounts_than_a_page_are_all_listed_and_all_leave(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.reconcile.invoices.PAGE", 2)
    accounts = [billed(pipeline) for _ in range(5)]
    finds(pipeline, "invoices", *["not_listed"] * 5)
    pipeline.advance()
    assert {reread(pipeline, account).main_id for account in accounts} == {pipeline.main.id}
    for account in accounts:
        leave(pipeline, account)
    finds(pipeline, "invoices", *["still_listed"] * 5)


def test_an_account_is_on_one_invoice_at_most(pipeline: Pipeline) -> None:
    account = billed(pipeline)
    now: datetime = pipeline.clock.now
    with changing(pipeline) as session:
        other, _ = make_main(session)
        main, found = session.get_one(Account, pipeline.main.id), session.get_one(Account, account.id)
        put_on_invoice(session, "SR-1", main, found, now)
        with pytest.raises(BilledElsewhere):
            put_on_invoice(session, "SR-2", other, found, now)
        with pytest.raises(OtherPayer):
            put_on_invoice(session, "SR-1", other, found, now)
        invoice = CollectiveInvoice(number="SR-3", main_id=main.id)
        session.add(invoice)
        session.flush()
        second = sa.insert(CollectiveInvoiceItem).values(invoice_id=invoice.id, account_id=account.id, since=now)
        with pytest.raises(sa.exc.IntegrityError, match="uq_collective_invoice_items_open"), session.begin_nested():
            session.execute(second)
    leave(pipeline, account)
    with changing(pipeline) as session:
        other = session.get_one(Account, other.id)
        put_on_invoice(session, "SR-2", other, session.get_one(Account, account.id), now)
