"""Tests of cancellations of accounts: which day is possible, what ends then, and what prevents it.

Also of withdrawing a cancellation, and of the mails.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, put_holder
from models.accounts.hierarchy import attach
from models.calendar_days import Month, berlin_day, first_moment
from models.changes.cancellations import earliest_end_of, quote_cancellation, submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.contracts.catalogue import set_price
from models.contracts.contracts import Contract
from models.contracts.terms import ContractTerms, months_later
from models.errors import AlreadyRequested, Forbidden, InvalidField
from models.links.collective_invoices import CollectiveInvoiceItem, put_on_invoice
from models.links.links import submit_detach, submit_link
from models.messages.outbox import Recipient
from models.orders.orders import cancel_and_release
from models.people.api_tokens import ApiToken, create_token
from models.people.audit_log import AuditEntry
from models.people.invitations import Invitation, invite
from models.people.rights import Principal, Role, Scope
from models.people.users import User, administrators_of, principal_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.states import AccountRole, AccountState, Origin, ProofMethod, Reason, Status
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.number_pool import QUARANTINE
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from models.views.account_costs import total_costs
from tests.factories import HOLDER, a_link, an_order, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline


@pytest.fixture
def site(pipeline: Pipeline) -> str:
    """Complete the order of a sub-account, clear the list of sent mails, and return the account's customer number."""
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(Account.customer_number).where(Account.role == AccountRole.SUB)).one()


def account_of(session: Session, number: str) -> Account:
    """Return the account with the customer number."""
    return session.scalars(sa.select(Account).where(Account.customer_number == number)).one()


def ask(pipeline: Pipeline, number: str, last_day: date | None = None, person: Principal | None = None) -> UUID:
    """Request to cancel the account with the end of `last_day` (None: as early as possible); return the request's id.

    `person` requests it (None: the manager).
    """
    with pipeline.runtime.database.transaction() as session:
        account, now = account_of(session, number), pipeline.clock.now
        return submit_cancellation(session, person or pipeline.manager, account, last_day, "de", now).id


def change(pipeline: Pipeline, number: str, product: str, channels: int, day: date | None = None) -> UUID:
    """Request the tariff `product` with `channels` channels for the account's only trunk; return the request's id.

    The change takes effect on `day` (None: at once).
    """
    with pipeline.runtime.database.transaction() as session:
        account = account_of(session, number)
        trunk_id = session.scalars(sa.select(SipTrunk.id).where(SipTrunk.account_id == account.id)).one()
        draft = ChangeDraft(product, channels, day, "de")
        return submit_change(session, pipeline.manager, account, trunk_id, draft, pipeline.clock.now).id


def go_to(pipeline: Pipeline, at: datetime) -> None:
    """Set the clock to `at` and run the workers."""
    pipeline.clock.now = at
    for _ in range(3):
        pipeline.advance()


def earliest(pipeline: Pipeline) -> date:
    """Return the earliest possible last day of a contract without a first term, if it is cancelled now."""
    return months_later(berlin_day(pipeline.clock.now), 1)


def test_nothing_ends_before_the_day_and_everything_with_it(pipeline: Pipeline, site: str) -> None:
    last_day = earliest(pipeline)
    ends = first_moment(last_day + timedelta(days=1))
    with pipeline.runtime.database.transaction() as session:
        account = account_of(session, site)
        put_holder(session, pipeline.main.id, HOLDER, pipeline.clock.now)
        user = session.get_one(User, pipeline.manager.user_id)
        create_token(session, account, user, "ERP", frozenset(Scope), pipeline.clock.now)
        guest = Recipient("Ida", "ida@example.com", "de")
        invite(session, pipeline.manager, account, guest, Role.LOCATION_MANAGER, pipeline.clock.now)
        session.add(CallForwarding(account_id=account.id, condition=Condition.BUSY, target="+4930901820"))
    id = ask(pipeline, site)
    request = pipeline.request(id)
    assert (request.status, request.due_at) == (Status.ACKNOWLEDGED, ends)
    assert request.is_scheduled(pipeline.clock.now)
    go_to(pipeline, ends - timedelta(seconds=1))
    with pipeline.runtime.database.transaction() as session:
        assert account_of(session, site).state is AccountState.ACTIVE
        assert session.scalars(sa.select(SipTrunk.state)).one() is TrunkState.ACTIVE
    go_to(pipeline, ends)
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id) == ["cancellation_received", "contract_ended", "completed"]
    with pipeline.runtime.database.transaction() as session:
        account = account_of(session, site)
        assert (account.state, account.role, account.main_id) == (AccountState.CLOSED, AccountRole.STANDALONE, None)
        [trunk] = session.scalars(sa.select(SipTrunk))
        assert trunk.state is TrunkState.CLOSED
        assert session.scalars(sa.select(Contract.ended_at)).all() == [ends]
        [block] = session.scalars(sa.select(NumberBlock).where(NumberBlock.available_from > ends))
        assert (block.account_id, block.trunk_id, block.available_from) == (None, None, ends + QUARANTINE)
        for table in (CallForwarding, Invitation):
            assert session.scalars(sa.select(table.id)).all() == []
        assert session.scalars(sa.select(ApiToken.revoked_at)).all() == [ends]
        closed = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "account_closed")).one()
        assert (closed.account_id, closed.facts) == (account.id, {"ended_at": ends.isoformat()})
        # The law wants to know for longer in whose name the numbers were.
        assert session.get(ContractHolder, account.id) is not None
    assert pipeline.registrar.trunks == {}


def test_a_month_after_the_end_nobody_else_has_the_numbers() -> None:
    """Check § 59 (6) TKG: a number can be ported for a month after its contract's end, so it must rest for longer."""
    assert timedelta(days=31) < QUARANTINE


def test_the_day_is_the_end_of_the_first_term_that_was_agreed_and_not_that_of_the_price_list_since(
    pipeline: Pipeline,
) -> None:
    prices = {"monthly_cents": 1, "one_off_cents": 1}
    today, agreed = berlin_day(pipeline.clock.now), ContractTerms(24, 1, 12)
    with pipeline.owner.transaction() as session:
        set_price(session, "trunk-10", today, pipeline.clock.now, **prices, orderable=True, terms=agreed)
    pipeline.order(an_order())
    with pipeline.owner.transaction() as session:
        set_price(session, "trunk-10", today, pipeline.clock.now, **prices, orderable=True, terms=ContractTerms(6))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        [contract] = session.scalars(sa.select(Contract))
        assert contract.terms == agreed
        began = berlin_day(contract.started_at)
        account = session.get_one(Account, contract.account_id)
        first_term = months_later(began - timedelta(days=1), 24)
        assert earliest_end_of(session, account, pipeline.clock.now) == first_term
        quote = quote_cancellation(session, pipeline.manager, account, None, pipeline.clock.now)
        assert (quote.earliest, quote.last_day) == (first_term, first_term)


def test_after_weeks_without_workers_it_ends_once_at_the_agreed_moment_and_after_the_changes_before_it(
    pipeline: Pipeline, site: str
) -> None:
    last_day = earliest(pipeline) + timedelta(days=10)
    first, second = last_day - timedelta(days=5), last_day
    changes = [change(pipeline, site, "trunk-50", 50, first), change(pipeline, site, "trunk-2", 2, second)]
    id = ask(pipeline, site, last_day)
    pipeline.clock.now = late = first_moment(last_day) + timedelta(days=40)
    for _ in range(6):
        go_to(pipeline, pipeline.clock.now + timedelta(seconds=3))
    assert {pipeline.request(one).status for one in (*changes, id)} == {Status.COMPLETED}
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(Contract.ended_at)).all() == [first_moment(last_day + timedelta(days=1))]
        # Nobody else gets the numbers for the whole rest after they were really switched off.
        rested = session.scalars(sa.select(sa.func.max(NumberBlock.available_from))).one()
        assert rested >= late + QUARANTINE
    assert sum("beendet" in mail.subject for mail in pipeline.mailer.sent) == 1


def test_it_is_taken_back_until_its_day_and_can_be_asked_for_again(pipeline: Pipeline, site: str) -> None:
    last_day = earliest(pipeline)
    id = ask(pipeline, site)
    go_to(pipeline, first_moment(last_day + timedelta(days=1)) - timedelta(seconds=1))
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    go_to(pipeline, first_moment(last_day) + timedelta(days=3))
    assert pipeline.request(id).status is Status.CANCELLED
    assert [mail.subject for mail in pipeline.mailer.sent][-1] == f"Kündigung der Kundennummer {site} zurückgenommen"
    with pipeline.runtime.database.transaction() as session:
        assert account_of(session, site).state is AccountState.ACTIVE
    again = ask(pipeline, site)
    assert pipeline.request(again).effective_on == earliest(pipeline) + timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "code", "allowed"),
    [(-1, "before_earliest_end", 0), (-400, "before_earliest_end", 0), (367, "end_too_far", 366)],
)
def test_a_day_that_is_not_possible_is_refused_with_the_one_that_is(
    pipeline: Pipeline, site: str, days: int, code: str, allowed: int
) -> None:
    first = earliest(pipeline)
    with pytest.raises(InvalidField) as refused:
        ask(pipeline, site, first + timedelta(days=days))
    assert (refused.value.field, refused.value.code) == ("last_day", code)
    assert refused.value.allowed == first + timedelta(days=allowed)
    ask(pipeline, site, first + timedelta(days=366))


def test_a_second_cancellation_is_refused_with_the_first(pipeline: Pipeline, site: str) -> None:
    id = ask(pipeline, site)
    with pytest.raises(AlreadyRequested) as refused:
        ask(pipeline, site, earliest(pipeline) + timedelta(days=3))
    assert refused.value.request_id == str(id)


def test_a_change_that_is_planned_for_later_has_to_be_taken_back_first(pipeline: Pipeline, site: str) -> None:
    last_day = earliest(pipeline)
    planned = change(pipeline, site, "trunk-50", 50, last_day + timedelta(days=1))
    with pytest.raises(InvalidField) as refused:
        ask(pipeline, site)
    assert (refused.value.code, refused.value.allowed) == ("change_planned", last_day + timedelta(days=1))
    ask(pipeline, site, last_day + timedelta(days=1))
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, planned), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)


def test_no_change_begins_when_the_contract_has_ended(pipeline: Pipeline, site: str) -> None:
    last_day = earliest(pipeline)
    ask(pipeline, site)
    with pytest.raises(InvalidField) as refused:
        change(pipeline, site, "trunk-50", 50, last_day + timedelta(days=1))
    assert (refused.value.field, refused.value.code, refused.value.allowed) == (
        "effective_on", "contract_ends", last_day,
    )  # fmt: skip
    change(pipeline, site, "trunk-50", 50, last_day)


def test_a_change_that_is_held_does_not_delay_the_end(pipeline: Pipeline, site: str) -> None:
    held = change(pipeline, site, "trunk-50", 50, earliest(pipeline))
    id = ask(pipeline, site)
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, held).hold(Reason.INTERNAL_ERROR, pipeline.clock.now)
    go_to(pipeline, first_moment(earliest(pipeline) + timedelta(days=1)))
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, held).retry(pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)
    assert (pipeline.request(held).status, pipeline.request(held).reason) == (Status.REJECTED, Reason.ACCOUNT_CLOSED)


def test_who_may_not_change_the_contracts_may_not_cancel_them(pipeline: Pipeline, site: str) -> None:
    with pipeline.owner.transaction() as session:
        account = account_of(session, site)
        stranger, local = make_main(session)[1], make_user(session)
        join(session, local, account, Role.LOCAL_MEMBER)
        people = [stranger, principal_of(session, local)]
    for person in people:
        with pytest.raises(Forbidden):
            ask(pipeline, site, person=person)
    with pipeline.owner.transaction() as session:
        linked = make_account(session)
        attach(session, pipeline.main.id, linked.id, Origin.LINK, pipeline.clock.now)
    with pytest.raises(Forbidden):
        ask(pipeline, linked.customer_number)


def test_the_notice_is_confirmed_with_its_moment_and_the_last_day_to_both_accounts(
    pipeline: Pipeline, site: str
) -> None:
    with pipeline.owner.transaction() as session:
        owner, boss = make_user(session), make_user(session)
        join(session, owner, account_of(session, site))
        join(session, boss, session.get_one(Account, pipeline.main.id))
        emails = {owner.email, boss.email, pipeline.manager.email}
    last_day = earliest(pipeline)
    id = ask(pipeline, site)
    pipeline.advance()
    assert {mail.recipient_address for mail in pipeline.mailer.sent} == emails
    assert len(pipeline.mailer.sent) == len(emails)
    for mail in pipeline.mailer.sent:
        assert mail.subject.startswith(f"Kundennummer {site} ist zum")
        assert str(last_day.year) in mail.subject and "Uhr" in mail.text
    pipeline.mailer.sent.clear()
    go_to(pipeline, pipeline.request(id).effective_at)
    assert {mail.recipient_address for mail in pipeline.mailer.sent} == emails
    assert all("beendet" in mail.subject for mail in pipeline.mailer.sent)


def test_it_goes_on_when_the_account_is_detached_whose_people_can_take_it_back(pipeline: Pipeline, site: str) -> None:
    with pipeline.owner.transaction() as session:
        owner = make_user(session)
        join(session, owner, account_of(session, site))
    id = ask(pipeline, site)
    pipeline.advance()
    with pipeline.owner.transaction() as session:
        submit_detach(session, pipeline.manager, account_of(session, site), "de", pipeline.clock.now)
    pipeline.advance()
    with pipeline.owner.transaction() as session:
        request, person = session.get_one(Request, id), principal_of(session, session.get_one(User, owner.id))
        assert concerns(session, person, request) and may_change(session, person, request)
        assert not may_change(session, pipeline.manager, request)
    pipeline.mailer.sent.clear()
    go_to(pipeline, pipeline.request(id).effective_at)
    assert pipeline.request(id).status is Status.COMPLETED
    assert [mail.recipient_address for mail in pipeline.mailer.sent] == [owner.email]


def test_an_account_on_a_collective_invoice_leaves_it(pipeline: Pipeline, site: str) -> None:
    with pipeline.owner.transaction() as session:
        main, account = session.get_one(Account, pipeline.main.id), account_of(session, site)
        put_on_invoice(session, "SR-1", main, account, pipeline.clock.now)
    id = ask(pipeline, site)
    ends = pipeline.request(id).effective_at
    go_to(pipeline, ends)
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.owner.transaction() as session:
        assert session.scalars(sa.select(CollectiveInvoiceItem.left_at)).one() == ends


@pytest.mark.parametrize("origin", list(Origin))
def test_the_main_account_sees_what_it_cost_from_the_same_month_on(
    pipeline: Pipeline, site: str, origin: Origin
) -> None:
    linked_at = pipeline.clock.now + timedelta(days=70)
    with pipeline.owner.transaction() as session:
        account = account_of(session, site)
        account.origin, account.attached_at = origin, linked_at
        join(session, make_user(session), account)
        person = principal_of(session, administrators_of(session, account.id)[0])
    pipeline.clock.now = linked_at
    id = ask(pipeline, site, person=person)
    first = Month.of(berlin_day(account.created_at))
    months = [first.later(place) for place in range(6)]

    def sums() -> list[int]:
        with pipeline.runtime.database.transaction() as session:
            main = session.get_one(Account, pipeline.main.id)
            return [total_costs(session, main, month).net for month in months]

    expected = sums()
    assert bool(expected[0]) == (origin is Origin.ORDER) and expected[2] and not expected[5]
    ending = pipeline.request(id).effective_on
    assert ending is not None
    go_to(pipeline, first_moment(ending))
    assert pipeline.request(id).status is Status.COMPLETED
    assert sums() == expected


def test_a_link_that_is_asked_for_meanwhile_does_not_delay_the_end(pipeline: Pipeline) -> None:
    with pipeline.owner.transaction() as session:
        account, person = make_main(session)
    id = ask(pipeline, account.customer_number, person=person)
    with pipeline.runtime.database.transaction() as session:
        draft = a_link(account.customer_number, method=ProofMethod.CONSENT)
        main, now = session.get_one(Account, pipeline.main.id), pipeline.clock.now
        submit_link(session, pipeline.runtime.vault, pipeline.manager, main, draft, now)
    go_to(pipeline, pipeline.request(id).effective_at)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_detachment_planned_for_later_ends_with_the_account(pipeline: Pipeline, site: str) -> None:
    with pipeline.owner.transaction() as session:
        owner = make_user(session)
        join(session, owner, account_of(session, site))
        person = principal_of(session, owner)
        day = earliest(pipeline) + timedelta(days=10)
        detach_id = submit_detach(session, person, account_of(session, site), "de", pipeline.clock.now, day).id
    id = ask(pipeline, site, person=person)
    go_to(pipeline, pipeline.request(id).effective_at)
    assert pipeline.request(id).status is Status.COMPLETED
    planned = pipeline.request(detach_id)
    assert (planned.status, planned.reason, planned.due_at) == (Status.REJECTED, Reason.ACCOUNT_CLOSED, None)


def test_who_no_longer_pays_for_an_account_cancels_nothing(pipeline: Pipeline, site: str) -> None:
    with pipeline.owner.transaction() as session:
        account = account_of(session, site)
        account.origin = Origin.COLLECTIVE_INVOICE
        main = session.get_one(Account, pipeline.main.id)
        put_on_invoice(session, "SR-1", main, account, pipeline.clock.now)
    with pipeline.owner.transaction() as session:
        quote_cancellation(session, pipeline.manager, account_of(session, site), None, pipeline.clock.now)
        session.execute(sa.update(CollectiveInvoiceItem).values(left_at=pipeline.clock.now + timedelta(seconds=1)))
    with pipeline.owner.transaction() as session, pytest.raises(Forbidden):
        quote_cancellation(session, pipeline.manager, account_of(session, site), None, pipeline.clock.now)
