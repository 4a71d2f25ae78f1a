"""Tests of which moves can be asked for, by whom, how many on one day, and what is said before."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.company_limits import Limit, Limits, used_today
from models.accounts.hierarchy import attach
from models.changes.cancellations import submit_cancellation
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, MoveQuote, quote_move, submit_move
from models.errors import AlreadyRequested, Forbidden, InvalidField, LimitReached, PricesChanged
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.people.users import principal_of
from models.requests.moved_blocks import moved_blocks_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.same_address import Place
from models.states import Origin, Reason
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import join, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.moving import (
    BERLIN,
    MUNICH,
    account_id,
    ask,
    blocks_of,
    forward,
    give,
    refused,
    set_available,
)
from tests.tasks.steps.test_change import in_days

__all__ = ["account_id"]


def test_the_quote_names_each_forwarding_that_is_lost_or_leads_nowhere(pipeline: Pipeline, account_id: int) -> None:
    [old] = blocks_of(pipeline, account_id)
    with pipeline.runtime.database.transaction() as session:
        second = session.get_one(NumberBlock, old.id + 1)
        assert second.first_number == old.last_number + 1
        account, trunk_id = session.get_one(Account, account_id), old.trunk_id
        second.account_id, second.trunk_id = account_id, trunk_id
        other, member = make_account(session), make_user(session)
        attach(session, pipeline.main.id, other.id, Origin.LINK, pipeline.clock.now)
        join(session, member, account)
        session.add(CallForwarding(account_id=other.id, condition=Condition.ALWAYS, target=f"+{second.last_number}"))
        manager, local = pipeline.manager, principal_of(session, member)
    draft = MoveDraft(MUNICH, None, None, "de")

    def quote(person: Principal) -> MoveQuote:
        with pipeline.runtime.database.transaction() as session:
            return quote_move(session, person, session.get_one(Account, account_id), draft, pipeline.clock.now)

    before = quote(manager)
    # Of both blocks that go.
    forward(pipeline, account_id, old.first_number, old.last_number + 1, "+4915123456780")
    after = quote(manager)
    assert (len(before.lost), len(after.lost)) == (0, 1) and before.shown_text != after.shown_text
    assert [own.id for own, _ in after.aimed] == [other.id] and quote(local).aimed == []


def test_contradictions_are_named_when_they_are_asked_for(pipeline: Pipeline, account_id: int) -> None:
    place = "Marienplatz 8", "80331", "München"
    assert refused(pipeline, account_id, Place("Brückenstraße 5", "10179", "Berlin")) == (
        "location.street", "present_address",
    )  # fmt: skip
    for wrong, field, code in (
        (Place("Marienplatz", *place[1:]), "location.street", "house_number_missing"),
        (Place(place[0], "00000", place[2]), "location.postal_code", "unknown_postal_code_of"),
        (Place(place[0], "10179", place[2]), "location.postal_code", "postal_code_elsewhere"),
    ):
        assert refused(pipeline, account_id, wrong) == (field, code)
    assert refused(pipeline, account_id, MUNICH, area_code="030") == ("numbers.area_code", "area_code_mismatch")
    assert refused(pipeline, account_id, MUNICH, area_code="0123456") == ("numbers.area_code", "unknown_area_code")
    yesterday = in_days(pipeline, -1)
    assert refused(pipeline, account_id, MUNICH, day=yesterday) == ("effective_on", "day_passed")
    assert refused(pipeline, account_id, MUNICH, day=in_days(pipeline, 400)) == ("effective_on", "day_too_far")
    now = pipeline.clock.now
    numbers = NumbersDraft("030", 10, in_days(pipeline, 5), "de")
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        trunk_id = session.scalars(sa.select(SipTrunk.id)).one()
        asked = submit_numbers(session, pipeline.manager, account, trunk_id, numbers, now).id
    assert refused(pipeline, account_id, MUNICH) == ("effective_on", "numbers_planned")
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, asked), Reason.CANCELLED_BY_REQUESTER, now)
    day = in_days(pipeline, 60)
    id = ask(pipeline, account_id, day=day)
    with pytest.raises(AlreadyRequested) as error:
        ask(pipeline, account_id, BERLIN)
    assert error.value.request_id == str(id)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        with pytest.raises(InvalidField) as wrong_day:
            submit_numbers(session, pipeline.manager, account, trunk_id, numbers, now)
        assert wrong_day.value.code == "move_planned"
        with pytest.raises(InvalidField) as too_early:
            submit_cancellation(session, pipeline.manager, account, day - timedelta(days=1), "de", now)
        assert (too_early.value.code, too_early.value.allowed) == ("change_planned", day)


def test_a_move_after_the_end_of_the_contract_is_refused(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        ending = submit_cancellation(session, pipeline.manager, account, None, "de", pipeline.clock.now)
        day = ending.effective_on
    assert refused(pipeline, account_id, MUNICH, day=day) == ("effective_on", "contract_ends")


def test_only_those_may_ask_who_may_change_the_contracts(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.runtime.database.transaction() as session:
        account, stranger = session.get_one(Account, account_id), make_user(session)
        member = make_user(session)
        join(session, member, account)
        local, foreign = principal_of(session, member), principal_of(session, stranger)
    with pytest.raises(Forbidden):
        ask(pipeline, account_id, person=foreign)
    id = ask(pipeline, account_id, person=local)
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        assert concerns(session, local, request) and may_change(session, local, request)
        assert concerns(session, pipeline.manager, request) and may_change(session, pipeline.manager, request)
        assert not concerns(session, foreign, request) and not may_change(session, foreign, request)


def test_what_was_shown_must_still_be_true(pipeline: Pipeline, account_id: int) -> None:
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        quote = quote_move(session, pipeline.manager, account, MoveDraft(MUNICH, None, None, "de"), now)
    assert (quote.area_code, len(quote.goes), quote.stays, quote.in_stock) == ("089", 1, [], True)
    with pytest.raises(PricesChanged):
        ask(pipeline, account_id, shown=f"{quote.shown_text}0")
    ask(pipeline, account_id, shown=quote.shown_text)


def test_a_pool_with_one_block_has_not_enough_for_two(pipeline: Pipeline, account_id: int) -> None:
    give(pipeline, account_id, 10, "71000000")
    for free, enough in ((2, True), (1, False)):
        with pipeline.owner.transaction() as session:
            munich = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089").order_by(NumberBlock.id)
            set_available(session, munich.offset(free), pipeline.clock.now + timedelta(days=900))
        with pipeline.runtime.database.transaction() as session:
            account, draft = session.get_one(Account, account_id), MoveDraft(MUNICH, None, None, "de")
            quote = quote_move(session, pipeline.manager, account, draft, pipeline.clock.now)
            assert (len(quote.goes), quote.in_stock) == (2, enough)


def test_an_account_with_more_blocks_than_a_day_allows_can_move(pipeline: Pipeline, account_id: int) -> None:
    give(pipeline, account_id, 10, "71000000")
    with pipeline.runtime.database.transaction() as session:
        account, draft = session.get_one(Account, account_id), MoveDraft(MUNICH, None, None, "de")
        asked = submit_move(session, pipeline.manager, account, draft, pipeline.clock.now, usual=Limits(blocks=1))
        assert len(moved_blocks_of(session, asked)) == 2
        assert used_today(session, pipeline.main.id, pipeline.clock.now)[Limit.BLOCKS] == 1


def test_moves_count_for_the_daily_limits_of_the_company(pipeline: Pipeline, account_id: int) -> None:
    now = pipeline.clock.now
    for limits, what in ((Limits(blocks=1), "blocks"), (Limits(letters=1), "letters")):
        with pipeline.runtime.database.transaction() as session:
            account, draft = session.get_one(Account, account_id), MoveDraft(MUNICH, None, None, "de")
            asked = submit_move(session, pipeline.manager, account, draft, now, usual=limits)
            cancel_and_release(asked, Reason.CANCELLED_BY_REQUESTER, now)
            session.flush()
            with pytest.raises(LimitReached) as error:
                submit_move(session, pipeline.manager, account, draft, now, usual=limits)
            session.rollback()
        assert error.value.limit == what
