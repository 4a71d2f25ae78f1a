"""Tests of proofs that wait for people: who is asked, how, until when, and what the answer changes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import promote
from models.calendar_days import end_of_day
from models.errors import Forbidden, NotAwaited, TooEarly
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.orders.orders import Contact, Location, OrderDraft, cancel_and_release
from models.people.rights import Role
from models.people.users import User, principal_of
from models.proofs.document_refusals import Refusal
from models.proofs.document_review import decide_document, upload_document
from models.proofs.link_codes import create_link_code
from models.proofs.order_codes import confirm_email, enter_letter_code
from models.proofs.ownership import Credentials, decide, prove_ownership
from models.proofs.proofs import AddressProof, Decision, EmailProof, LinkCode
from models.proofs.replacement_codes import ask_again
from models.requests.requests import Request
from models.staff.access import disable
from models.states import (
    AccountRole,
    AccountState,
    Actor,
    AddressMethod,
    Kind,
    ProofMethod,
    Reason,
    Status,
)
from models.views.request_lists import timelines
from tasks.ports import GatewayUnavailable
from tests.factories import PASSWORD, PLENTY, a_link, an_order, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline

DAY = timedelta(days=1)
ELSEWHERE = Location("Filiale Mitte", "Torstr. 1", "10119", "Berlin")
STRANGER = Contact("Nele Neu", "nele@example.com", None)


def fresh(**changes: object) -> OrderDraft:
    """Return an order for an address and a contact that were never proved; `changes` replace its fields."""
    return an_order(**{"location": ELSEWHERE, "contact": STRANGER, **changes})


def waits(pipeline: Pipeline, id: UUID) -> tuple[Actor | None, Reason | None, datetime | None]:
    """Return for whom, why and until when a request waits; each None if it does not wait."""
    request = pipeline.request(id)
    return request.waiting_for, request.reason, request.waiting_until


def code_in(text: str) -> str:
    """Return the code in the text of a mail or letter."""
    found = re.search(r"[A-Z0-9]{5} [A-Z0-9]{5}", text)
    assert found is not None
    return found[0]


def mails_to(pipeline: Pipeline, address: str) -> list[str]:
    """Return the texts of all mails to an address, except receipts."""
    return [mail.text for mail in pipeline.mailer.but_receipts if mail.recipient_address == address]


def confirm(pipeline: Pipeline, id: UUID, code: str) -> bool:
    """Confirm the e-mail address with a code. Return whether the code was accepted."""
    with pipeline.runtime.database.transaction() as session:
        return confirm_email(session, pipeline.runtime.vault, session.get_one(Request, id), code, pipeline.clock.now)


def enter(pipeline: Pipeline, id: UUID, code: str) -> bool:
    """Confirm the connection address with the letter's code. Return whether the code was accepted."""
    with pipeline.runtime.database.transaction() as session:
        return enter_letter_code(
            session, pipeline.runtime.vault, session.get_one(Request, id), code, pipeline.clock.now
        )


def again(pipeline: Pipeline, id: UUID, what: str) -> None:
    """Request a new code of the kind `what`: "email" or "letter"."""
    with pipeline.runtime.database.transaction() as session:
        ask_again(session, session.get_one(Request, id), what, pipeline.clock.now, PLENTY)


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


@pytest.fixture
def owned(pipeline: Pipeline) -> tuple[Account, User, User]:
    """Create an account of another company; return it and its two administrators. It also has a local member."""
    with pipeline.runtime.database.transaction() as session:
        one, two = make_user(session, name="Ina Inhaber"), make_user(session, name="Otto Owner", locale="en")
        account = make_account(session, administrator=one)
        join(session, two, account)
        local = make_user(session)
        join(session, local, account, Role.LOCAL_MEMBER)
        return account, one, two


def answer(pipeline: Pipeline, id: UUID, user: User, decision: Decision, typed: str | None) -> bool:
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        return decide(session, pipeline.runtime.vault, request, user, decision, typed, pipeline.clock.now)


def test_every_administrator_is_asked_and_the_first_answer_counts(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    assert waits(pipeline, id) == (
        Actor.OTHER_ACCOUNT,
        Reason.CONSENT_AWAITED,
        end_of_day(pipeline.clock.now + 14 * DAY),
    )
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {one.email, two.email}
    [to_one], [to_two] = mails_to(pipeline, one.email), mails_to(pipeline, two.email)
    # Each code is its owner's.
    assert not answer(pipeline, id, one, Decision.ACCEPTED, code_in(to_two))
    assert answer(pipeline, id, two, Decision.ACCEPTED, code_in(to_two))
    with pytest.raises(NotAwaited):
        answer(pipeline, id, one, Decision.DECLINED, code_in(to_one))
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.account_id) == (Status.COMPLETED, account.id)
    assert "proved_consent" in pipeline.codes(id)
    assert len(mails_to(pipeline, one.email)) == 2 and len(mails_to(pipeline, two.email)) == 2


def test_a_declined_link_ends_and_both_sides_are_told(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, two = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    assert answer(pipeline, id, one, Decision.DECLINED, None)
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.DECLINED_BY_OWNER)
    assert "abgelehnt" in mails_to(pipeline, pipeline.manager.email)[0]
    assert "abgelehnt" in mails_to(pipeline, one.email)[1]
    assert "declined" in mails_to(pipeline, two.email)[1]
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, account.id).role is AccountRole.STANDALONE


def test_who_administers_the_account_no_longer_has_no_say(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, _, _ = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        somebody = make_user(session)
    with pytest.raises(Forbidden):
        answer(pipeline, id, somebody, Decision.ACCEPTED, None)


def test_an_outsider_who_asks_for_consent_cannot_tell_an_account_from_none(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, _, _ = owned
    with pipeline.runtime.database.transaction() as session:
        taken, _ = make_main(session, subs=1)
    ids = [pipeline.link(a_link(of, method=ProofMethod.CONSENT)) for of in (account, "1000001", taken)]
    seen = []
    for _ in range(16):
        pipeline.advance()
        views = set()
        for id in ids:
            request = pipeline.request(id)
            with pipeline.runtime.database.transaction() as session:
                lines = tuple((line.at, line.code) for line in timelines(session, [id])[id])
            views.add((request.status, request.reason, request.waiting_until, request.account_id, lines))
        seen.append(views)
        pipeline.clock.advance(DAY)
    assert {len(views) for views in seen} == {1}
    assert pipeline.request(ids[0]).reason is Reason.PROOF_EXPIRED


def link_code(pipeline: Pipeline, account: Account, user: User) -> str:
    with pipeline.runtime.database.transaction() as session:
        code = create_link_code(
            session, principal_of(session, user), session.get_one(Account, account.id), pipeline.clock.now
        )
        return pipeline.runtime.vault.code(*code.words())


def test_a_link_code_works_once_and_for_its_account_only(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, _ = owned
    with pipeline.runtime.database.transaction() as session:
        other = make_account(session, administrator=one)
    code = link_code(pipeline, account, one)
    assert len(code) == 10
    wrong = pipeline.link(a_link(other, code=code))
    right = pipeline.link(a_link(account, code=f"{code[:5]} {code[5:].lower()}"))
    with pipeline.runtime.database.transaction() as session:
        elsewhere, manager = make_main(session)
    spent = pipeline.link(a_link(account, code=code), manager, elsewhere)
    pipeline.advance()
    assert pipeline.request(right).status is Status.COMPLETED
    assert {pipeline.request(id).reason for id in (wrong, spent)} == {Reason.OWNERSHIP_NOT_PROVEN}


@pytest.mark.parametrize("spoil", ["expired", "replaced"])
def test_a_link_code_does_not_last(pipeline: Pipeline, owned: tuple[Account, User, User], spoil: str) -> None:
    account, one, two = owned
    code = link_code(pipeline, account, one)
    match spoil:
        case "expired":
            pipeline.clock.advance(8 * DAY)
        case "replaced":
            assert link_code(pipeline, account, two) != code
    id = pipeline.link(a_link(account, code=code))
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.OWNERSHIP_NOT_PROVEN


def test_only_an_administrator_creates_link_codes(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, _, _ = owned
    with pipeline.runtime.database.transaction() as session:
        member = make_user(session)
        join(session, member, account, Role.LOCAL_MEMBER)
    with pytest.raises(Forbidden):
        link_code(pipeline, account, member)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(LinkCode)) == 0


@pytest.mark.parametrize("means", ["credentials", "link code"])
def test_a_link_that_waits_for_consent_takes_another_proof(
    pipeline: Pipeline, owned: tuple[Account, User, User], means: str
) -> None:
    account, one, _ = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    given = Credentials(one.email, PASSWORD) if means == "credentials" else link_code(pipeline, account, one)
    vault = pipeline.runtime.vault
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        assert not prove_ownership(session, vault, request, Credentials(one.email, "wrong"), pipeline.clock.now)
        assert prove_ownership(session, vault, request, given, pipeline.clock.now)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_consent_can_be_asked_for_again_after_a_day(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, _ = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    with pytest.raises(TooEarly):
        again(pipeline, id, "consent")
    pipeline.clock.advance(DAY)
    again(pipeline, id, "consent")
    pipeline.advance()
    old, new = map(code_in, mails_to(pipeline, one.email))
    assert old != new
    assert not answer(pipeline, id, one, Decision.ACCEPTED, old)
    assert answer(pipeline, id, one, Decision.ACCEPTED, new)


def test_a_detached_account_keeps_what_is_its_own_and_both_sides_are_told(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    link = pipeline.link(a_link(account, email=one.email))
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        attached = session.get_one(Account, account.id)
        address = (attached.street, attached.postal_code, attached.city)
        detach = submit_detach(session, pipeline.manager, attached, "de", pipeline.clock.now)
        assert detach.kind is Kind.DETACH
        id = detach.id
    pipeline.advance()
    assert pipeline.request(link).status is pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id)[:3] == ["detach_received", "detached", "completed"]
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {
        pipeline.manager.email,
        one.email,
        two.email,
    }
    with pipeline.runtime.database.transaction() as session:
        free = session.get_one(Account, account.id)
        assert (free.role, free.main_id, free.origin) == (AccountRole.STANDALONE, None, None)
        assert (free.street, free.postal_code, free.city) == address
    # It can be attached again, and by somebody else too.
    with pipeline.runtime.database.transaction() as session:
        elsewhere, manager = make_main(session)
    moved = pipeline.link(a_link(account, email=one.email), manager, elsewhere)
    pipeline.advance()
    assert pipeline.request(moved).status is Status.COMPLETED


def test_whichever_side_asks_for_a_detach_each_side_reads_what_is_true_for_it(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    with pipeline.runtime.database.transaction() as session:
        local = make_user(session)
        join(session, local, account, Role.LOCATION_MANAGER)
        colleague = make_user(session)
        join(session, colleague, pipeline.main, Role.LOCATION_MANAGER)
        head = session.get_one(User, pipeline.manager.user_id)
        asking = [
            (one, {head.email}, {one.email, two.email}),
            (local, {head.email}, {local.email, one.email, two.email}),
            (colleague, {head.email, colleague.email}, {one.email, two.email}),
            (head, {head.email}, {one.email, two.email}),
        ]
    for person, ours, theirs in asking:
        pipeline.link(a_link(account, email=one.email))
        pipeline.advance()
        with pipeline.runtime.database.transaction() as session:
            principal = principal_of(session, session.get_one(User, person.id))
            attached = session.get_one(Account, account.id)
            id = submit_detach(session, principal, attached, "de", pipeline.clock.now).id
        pipeline.advance()
        with pipeline.runtime.database.transaction() as session:
            query = sa.select(Message.template, Message.recipient_address).where(Message.request_id == id)
            told = sorted((template, to) for template, to in session.execute(query) if "completed" in template)
        expected = [("detach_completed", to) for to in ours] + [("detach_completed_owner", to) for to in theirs]
        assert told == sorted(expected)


@pytest.mark.parametrize("of_main", [True, False])
def test_who_is_shut_out_gets_no_mail_about_the_detachment_that_they_asked_for(
    pipeline: Pipeline, owned: tuple[Account, User, User], of_main: bool
) -> None:
    account, one, two = owned
    pipeline.link(a_link(account, email=one.email))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        asking = session.get_one(User, pipeline.manager.user_id if of_main else one.id)
        attached = session.get_one(Account, account.id)
        id = submit_detach(session, principal_of(session, asking), attached, "de", pipeline.clock.now).id
        disable(session, asking, pipeline.clock.now)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        told = set(session.scalars(sa.select(Message.recipient_address).where(Message.request_id == id)))
    assert pipeline.request(id).status is Status.COMPLETED
    assert told == ({one.email, two.email} if of_main else {pipeline.manager.email, two.email})


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


def test_asking_for_consent_is_no_means_to_pester_people(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, _ = owned
    for number in (account.customer_number, "1000001"):
        for _ in range(5):
            id = pipeline.link(a_link(number, method=ProofMethod.CONSENT))
            pipeline.advance()
            with pipeline.runtime.database.transaction() as session:
                cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
        with pytest.raises(TooEarly):
            pipeline.link(a_link(number, method=ProofMethod.CONSENT))
    assert len(mails_to(pipeline, one.email)) == 5
    pipeline.clock.advance(DAY)
    pipeline.link(a_link(account, method=ProofMethod.CONSENT))


def test_owners_who_agreed_are_told_if_nothing_comes_of_it(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        promote(session, account.id)
    assert answer(pipeline, id, one, Decision.ACCEPTED, None)
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.IS_MAIN_ACCOUNT
    assert "selbst ein Hauptaccount" in mails_to(pipeline, one.email)[-1]
    assert f"/zustimmung/{id}" in mails_to(pipeline, two.email)[-1]
