"""Orders and link requests from acknowledged to their end, and what happens on the way when things go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from celery.exceptions import SoftTimeLimitExceeded

from models.accounts.accounts import Account
from models.contracts.catalogue import Product
from models.contracts.contracts import Contract, ContractItem
from models.errors import InvalidField, TooLate
from models.jobs.outages import LONGEST
from models.messages.outbox import Message
from models.orders.orders import OrderDraft, cancel_and_release
from models.people.users import principal_of
from models.proofs.proofs import AddressProof
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.staff.place_questions import answer_place_question
from models.states import AccountRole, AccountState, Actor, Origin, Reason, Status, StepName
from models.telephony.known_places import open_questions
from models.telephony.number_pool import QUARANTINE, SET_ASIDE
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import RequestUri, SipTrunk, TrunkState
from tasks.engine import advance
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable, NumberTaken, TrunkRecord
from tasks.steps.step import Outcome, Work
from tasks.wording.timeline import sentence
from tests.factories import MOBILE, a_link, an_order, fill_pool, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline

ORDER_CODES = ["order_received", "order_verified", "provisioned", "attached", "completed", "confirmed", "confirmed"]


def test_an_order_ends_as_an_attached_account_with_contract_numbers_and_trunk(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason, request.due_at) == (Status.COMPLETED, None, None)
    assert pipeline.codes(id) == ORDER_CODES
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, request.account_id)
        assert (account.role, account.origin, account.state) == (AccountRole.SUB, Origin.ORDER, AccountState.ACTIVE)
        assert account.main_id == pipeline.main.id
        assert session.get_one(Account, pipeline.main.id).role is AccountRole.MAIN
        items = {item.product_key: item.monthly_cents for item in session.scalars(sa.select(ContractItem))}
        assert items == {"trunk-10": 2990, "block-10": 290, "mobile-backup": 490}
        trunk = session.scalars(sa.select(SipTrunk)).one()
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk.id)).one()
    record = pipeline.registrar.trunks[trunk.sip_user]
    assert record.numbers == block.numbers
    assert len(record.numbers) == 10
    assert pipeline.runtime.vault.open(trunk.secret) == record.secret
    assert record.secret.encode() not in trunk.secret
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {
        pipeline.manager.email,
        "hanna.palmer@example.com",
    }
    assert record.secret not in "".join(mail.text + mail.html for mail in pipeline.mailer.but_receipts)


@pytest.mark.parametrize(
    ("size", "chosen", "told"),
    [
        (1, None, RequestUri.CONTACT),
        (1, RequestUri.NUMBER, RequestUri.NUMBER),
        (10, None, RequestUri.NUMBER),
        (10, RequestUri.CONTACT, RequestUri.CONTACT),
    ],
)
def test_a_trunk_is_called_as_the_order_says_or_as_is_usual_for_so_many_numbers(
    pipeline: Pipeline, size: int, chosen: RequestUri | None, told: RequestUri
) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, size=1, count=1, first="30000000")
    pipeline.order(an_order(block_size=size, request_uri=chosen))
    pipeline.advance()
    [record] = pipeline.registrar.trunks.values()
    assert record.request_uri is told
    # Older trunks have no such preference, and are called by the number.
    assert record.preferences.get("request_uri") == ("contact" if told is RequestUri.CONTACT else None)


def test_a_trunk_calls_the_countries_of_its_order(pipeline: Pipeline) -> None:
    pipeline.order(an_order(countries=("AT", "870")))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
    assert trunk.countries == ["870", "AT", "DE"]


@pytest.mark.usefixtures("changing_products")
def test_an_option_that_is_withdrawn_after_the_order_stays_in_it(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(option_keys=("mobile-backup",), mobile_number=MOBILE))
    with pipeline.owner.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "mobile-backup").values(orderable=False))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        assert "mobile-backup" in session.scalars(sa.select(ContractItem.product_key)).all()


def test_a_hint_that_comes_again_changes_nothing(pipeline: Pipeline) -> None:
    ids = [pipeline.order(an_order()) for _ in range(3)]
    for _ in range(3):
        pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}
    assert [pipeline.codes(id) for id in ids] == [ORDER_CODES] * 3
    assert len(pipeline.registrar.writes) == 3
    assert len(pipeline.mailer.but_receipts) == 6


def test_who_is_requester_and_contact_gets_one_mail(pipeline: Pipeline) -> None:
    draft = an_order()
    contact = type(draft.contact)("Max", pipeline.manager.email.upper(), None)
    pipeline.order(an_order(contact=contact))
    pipeline.advance()
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts] == [pipeline.manager.email]


def test_link_by_somebody_who_administers_both(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = make_account(session, administrator=make_user(session, email="owner@example.com", locale="en"))
        user = make_user(session)
        main = make_account(session, administrator=user)
        join(session, user, account)
        manager = principal_of(session, user)
    id = pipeline.link(a_link(account), manager, main)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id) == [
        "link_received",
        "proved_administers_both",
        "attached",
        "completed",
        *["confirmed"] * 2,
    ]
    mails = {mail.recipient_address: mail for mail in pipeline.mailer.but_receipts}
    assert set(mails) == {manager.email, "owner@example.com"}
    assert mails["owner@example.com"].locale == "en"
    assert manager.name in mails["owner@example.com"].text


def test_link_by_credentials_of_an_administrator(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
    id = pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert "proved_credentials" in pipeline.codes(id)


def test_an_outsider_learns_nothing(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner, other_owner = make_user(session), make_user(session)
        account = make_account(session, administrator=owner)
        make_account(session, administrator=other_owner)
        taken = make_account(session, administrator=owner)
        _, other = make_main(session)
    del other
    drafts = [
        a_link("1000001", email=owner.email),
        a_link(account, email=owner.email, password="wrong"),
        a_link(taken, email=other_owner.email),
        a_link("1000002"),
    ]
    ids = [pipeline.link(draft) for draft in drafts]
    seen = []
    for id in ids:
        pipeline.advance()
        request = pipeline.request(id)
        seen.append((request.status, request.reason, request.account_id, tuple(pipeline.codes(id))))
    outcome = (Status.REJECTED, Reason.OWNERSHIP_NOT_PROVEN, None, ("link_received", "rejected"))
    assert seen == [outcome] * 4
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {pipeline.manager.email}


def test_only_one_main_account_and_no_tree(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        elsewhere, elsewhere_manager = make_main(session, subs=1)
        join(session, owner, elsewhere)
    first = pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    second = pipeline.link(a_link(account, email=owner.email), elsewhere_manager, elsewhere)
    third = pipeline.link(a_link(elsewhere, email=owner.email))
    pipeline.advance()
    assert pipeline.request(first).status is Status.COMPLETED
    assert pipeline.request(second).reason is Reason.ALREADY_ATTACHED
    assert pipeline.request(third).reason is Reason.IS_MAIN_ACCOUNT


def dachau() -> OrderDraft:
    """Return an order from a town near München, with the area code of München."""
    place = replace(an_order().location, street="Münchner Str. 1", postal_code="85221", city="Dachau")
    return an_order(location=place, area_code="089")


def answer(pipeline: Pipeline, *, fits: bool) -> int:
    """Answer the only open question as a member of staff. Returns how many orders it is about."""
    with pipeline.runtime.database.transaction() as session:
        staff = principal_of(session, make_user(session, is_staff=True))
        [question] = open_questions(session, 10)
        assert (question.postal_code, question.town, question.area_code) == ("85221", "Dachau", "089")
        return len(answer_place_question(session, staff, question.id, pipeline.clock.now, fits=fits, seen=0))


def prove(pipeline: Pipeline, id: UUID) -> None:
    """Prove every address and look at the order now."""
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
        assert request.waiting_until is None and request.due_at is not None
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


def test_an_empty_pool_holds_the_order_until_there_are_numbers(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(block_size=100))
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.NO_NUMBERS_AVAILABLE)
    again = request.due_at
    assert again is not None
    pipeline.clock.now = again
    pipeline.advance()
    assert pipeline.codes(id).count("held") == 1
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, size=100, area_code="030", count=1, first="30000000")
    pipeline.clock.advance(timedelta(hours=1))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def _failed_attempts(pipeline: Pipeline, id: UUID, count: int) -> list[timedelta]:
    pauses = []
    for _ in range(count):
        pipeline.advance()
        due = pipeline.request(id).due_at
        assert due is not None
        pauses.append(due - pipeline.clock.now)
        # All leave the registrar alone for a while, at most for `LONGEST`.
        pipeline.clock.now = due + LONGEST
    return pauses


def test_what_can_heal_is_tried_again_with_growing_pauses_and_held_in_the_end(pipeline: Pipeline) -> None:
    policy = pipeline.runtime.retry
    pipeline.registrar.failures = [GatewayUnavailable("away")] * (policy.patience + 1)
    id = pipeline.order(an_order())
    pauses = _failed_attempts(pipeline, id, policy.patience - 1)
    for attempt, pause in enumerate(pauses):
        plain = min(policy.first * 2**attempt, policy.ceiling)
        assert plain * 0.8 <= pause <= plain * 1.2
    assert pipeline.request(id).status is Status.IN_PROGRESS
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.GATEWAY_UNAVAILABLE)
    assert pipeline.codes(id) == ["order_received", "order_verified", "retrying", "held"]
    assert request.due_at == pipeline.clock.now + policy.while_held
    pipeline.clock.now = request.due_at + LONGEST
    pipeline.registrar.failures = []
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert len(pipeline.registrar.writes) == 1


def test_numbers_that_are_somebody_elses_are_set_aside_and_others_drawn(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [NumberTaken("taken")] * 2
    ids = [pipeline.order(an_order()) for _ in range(3)]
    pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}
    with pipeline.runtime.database.transaction() as session:
        aside = session.scalars(sa.select(NumberBlock).where(NumberBlock.available_from == SET_ASIDE)).all()
        assert [(block.account_id, block.trunk_id) for block in aside] == [(None, None)] * 2
        drawn = session.scalars(sa.select(NumberBlock.trunk_id).where(NumberBlock.trunk_id.is_not(None))).all()
        assert len(set(drawn)) == 3
    run = pipeline.run("registrar")
    assert (run.found["block_set_aside"], run.unrepaired) == (2, 2)
    pipeline.clock.advance(timedelta(days=3650))
    pipeline.advance()
    assert pipeline.run("registrar").found["block_set_aside"] == 2


def test_what_the_telephone_network_refuses_fails_and_the_back_office_can_try_again(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = pipeline.order(an_order())
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason, request.step) == (
        Status.FAILED,
        Reason.GATEWAY_REFUSED,
        StepName.PROVISION,
    )
    with pipeline.runtime.database.transaction() as session:
        session.merge(request).retry(pipeline.clock.now)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_mail_that_has_left_is_not_sent_again(pipeline: Pipeline) -> None:
    pipeline.mailer.failures = {"hanna.palmer@example.com": [GatewayUnavailable("away")]}
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id).count("confirmed") == 1
    pipeline.clock.advance(timedelta(minutes=1))
    pipeline.advance()
    assert pipeline.codes(id).count("confirmed") == 2
    assert sorted(mail.recipient_address for mail in pipeline.mailer.but_receipts) == sorted(
        [pipeline.manager.email, "hanna.palmer@example.com"]
    )


def test_a_refused_address_does_not_stop_the_order(pipeline: Pipeline) -> None:
    pipeline.mailer.failures = {"hanna.palmer@example.com": [GatewayRefused("550")]}
    id = pipeline.order(an_order())
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert "mail_refused" in pipeline.codes(id)
    with pipeline.runtime.database.transaction() as session:
        states = {message.recipient_address: message.state for message in session.scalars(sa.select(Message))}
    assert states == {"hanna.palmer@example.com": "refused", pipeline.manager.email: "sent"}


def test_a_bug_holds_its_own_request_and_no_other(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [pipeline.order(an_order()) for _ in range(5)]
    real = advance.STEPS[StepName.ATTACH]

    def broken(work: Work, request: object) -> Outcome:
        assert isinstance(request, Request)
        if request.id == ids[2]:
            raise ZeroDivisionError
        return real(work, request)

    monkeypatch.setattr(advance, "STEPS", {**advance.STEPS, StepName.ATTACH: broken})
    pipeline.advance()
    statuses = [pipeline.request(id).status for id in ids]
    assert statuses == [Status.COMPLETED, Status.COMPLETED, Status.HELD, Status.COMPLETED, Status.COMPLETED]
    assert pipeline.request(ids[2]).reason is Reason.INTERNAL_ERROR
    assert len(pipeline.registrar.writes) == 5


def test_a_gateway_with_a_bug_holds_one_request_and_no_other(pipeline: Pipeline) -> None:
    # Once for both together, and once for the first when each is tried alone.
    pipeline.registrar.failures = [ValueError("a bug")] * 2
    ids = [pipeline.order(an_order()) for _ in range(2)]
    pipeline.advance()
    assert [pipeline.request(id).status for id in ids] == [Status.HELD, Status.COMPLETED]
    assert pipeline.request(ids[0]).reason is Reason.INTERNAL_ERROR


def test_what_is_done_after_the_lease_is_lost_is_not_recorded(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    real = pipeline.registrar.put_trunks

    def slow(records: Sequence[TrunkRecord]) -> list[GatewayError | None]:
        # While this worker waits for the registrar, its lease ends and another one does the work.
        pipeline.registrar.put_trunks = real  # type: ignore[method-assign]
        pipeline.clock.advance(pipeline.runtime.lease)
        pipeline.advance()
        return real(records)

    pipeline.registrar.put_trunks = slow  # type: ignore[method-assign]
    pipeline.advance()
    assert pipeline.codes(id) == ORDER_CODES
    assert len(pipeline.mailer.but_receipts) == 2


def test_a_hint_is_good_for_what_is_due_and_nothing_else(pipeline: Pipeline) -> None:
    ids = [pipeline.order(an_order()) for _ in range(4)]
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, ids[1]).make_due(pipeline.clock.now + timedelta(seconds=1))
    pipeline.advance()
    statuses = [pipeline.request(id).status for id in ids]
    assert statuses == [Status.COMPLETED, Status.ACKNOWLEDGED, Status.COMPLETED, Status.COMPLETED]
    assert pipeline.hints == []


def test_a_full_batch_asks_for_another_hint_and_takes_the_oldest(pipeline: Pipeline) -> None:
    pipeline.runtime = replace(pipeline.runtime, batch=2)
    ids = []
    for _ in range(3):
        ids.append(pipeline.order(an_order()))
        pipeline.clock.advance(timedelta(seconds=1))
    pipeline.advance()
    assert "more" in pipeline.hints
    assert [pipeline.request(id).status for id in ids] == [Status.COMPLETED, Status.COMPLETED, Status.ACKNOWLEDGED]
    pipeline.advance()
    assert pipeline.request(ids[2]).status is Status.COMPLETED


def test_an_order_that_the_registrar_may_know_of_cannot_be_cancelled(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayUnavailable("timed out")]
    id = pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Request, id).can_cancel
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session, pytest.raises(TooLate):
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    pipeline.clock.advance(timedelta(minutes=1))
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def _tried_again(pipeline: Pipeline, id: UUID) -> None:
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, id).retry(pipeline.clock.now)
    pipeline.advance()


def test_what_is_refused_again_ends_again_and_its_requester_hears_of_it(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")] * 3
    id = pipeline.order(an_order())
    pipeline.advance()
    for _ in range(2):
        _tried_again(pipeline, id)
        assert pipeline.request(id).status is Status.FAILED
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts] == [pipeline.manager.email] * 3
    _tried_again(pipeline, id)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_failed_order_can_be_called_off_and_gives_everything_back(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = pipeline.order(an_order())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_BACK_OFFICE, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        assert request.status is Status.CANCELLED
        assert session.get_one(Account, request.account_id).state is AccountState.CLOSED
        trunk = session.scalars(sa.select(SipTrunk)).one()
        assert (trunk.state, trunk.due_at) == (TrunkState.CLOSED, pipeline.clock.now)
        assert session.get_one(Contract, trunk.contract_id).ended_at is not None
        blocks = session.scalars(sa.select(NumberBlock)).all()
        assert all(block.account_id is None for block in blocks)
        assert [block.available_from for block in blocks].count(pipeline.clock.now + QUARANTINE) == 1


def test_the_end_of_a_tasks_time_is_no_bug_of_a_request(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [pipeline.order(an_order()) for _ in range(2)]

    verify = advance.STEPS[StepName.VERIFY]
    signals = iter([SoftTimeLimitExceeded()])

    def out_of_time(work: Work, request: Request) -> Outcome:
        # Celery raises it once, wherever the task is at that moment.
        for signal in signals:
            raise signal
        return verify(work, request)

    with monkeypatch.context() as late:
        late.setitem(advance.STEPS, StepName.VERIFY, out_of_time)
        with pytest.raises(SoftTimeLimitExceeded):
            pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.ACKNOWLEDGED}
    pipeline.clock.advance(pipeline.runtime.lease)
    pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}


def test_one_by_one_a_batch_ends_in_time_and_gives_the_rest_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [pipeline.order(an_order()) for _ in range(3)]
    monkeypatch.setattr(advance, "ONE_BY_ONE", 0)

    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setitem(advance.STEPS, StepName.VERIFY, breaks)
        pipeline.advance()
    assert {(pipeline.request(id).status, pipeline.request(id).lease) for id in ids} == {(Status.ACKNOWLEDGED, None)}
    pipeline.clock.advance(timedelta(seconds=1))
    pipeline.advance()
    assert {pipeline.request(id).status for id in ids} == {Status.COMPLETED}
