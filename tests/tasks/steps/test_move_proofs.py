"""Tests of the proof of the address to which an account moves, and of what happens to a move while it waits."""

from __future__ import annotations

from dataclasses import astuple
from datetime import timedelta

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.calendar_days import first_moment
from models.changes.moves import MoveDraft, quote_move
from models.errors import InvalidField
from models.links.links import submit_detach
from models.orders.orders import Location, cancel_and_release
from models.people.users import principal_of
from models.proofs.order_codes import answer_letter, enter_letter_code
from models.proofs.proofs import AddressProof
from models.requests.requests import Request
from models.same_address import Place
from models.states import AddressMethod, Reason, Status
from models.telephony.numbers import NumberBlock
from tests.factories import join, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.moving import (
    BERLIN,
    MUNICH,
    account_id,
    ask,
    ask_for_sub,
    asked_and_proved,
    blocks_of,
    pairs,
    prove,
)
from tests.tasks.steps.test_change import go_to, in_days

__all__ = ["account_id"]


def test_a_proof_that_comes_after_the_day_moves_then(pipeline: Pipeline, account_id: int) -> None:
    id = ask(pipeline, account_id, day=in_days(pipeline, 2))
    go_to(pipeline, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now + timedelta(days=5))
    assert pipeline.request(id).reason is Reason.ADDRESS_NOT_PROVED
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_move_that_is_taken_back_leaves_everything_and_frees_the_numbers(pipeline: Pipeline, account_id: int) -> None:
    id = asked_and_proved(pipeline, account_id, day=in_days(pipeline, 10))
    [(_, reserved)] = pairs(pipeline, id)
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now + timedelta(days=20))
    assert pipeline.request(id).status is Status.CANCELLED
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(NumberBlock, reserved.id).available_from <= pipeline.clock.now
        assert session.get_one(Account, account_id).postal_code == "10179"
    # It can be asked for anew: the address is proved, and the same numbers may come again.
    again = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(again).status is Status.COMPLETED
    assert "letter_sent" not in pipeline.codes(again)


def test_a_proof_that_is_not_given_ends_the_move_and_nothing_else(pipeline: Pipeline, account_id: int) -> None:
    [old] = blocks_of(pipeline, account_id)
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    [(_, reserved)] = pairs(pipeline, id)
    go_to(pipeline, pipeline.clock.now + timedelta(days=16))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.PROOF_EXPIRED)
    assert [block.id for block in blocks_of(pipeline, account_id)] == [old.id]
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(NumberBlock, reserved.id).available_from <= pipeline.clock.now
    assert "Umzug" in pipeline.mailer.sent[-1].text


def test_the_letter_is_answered_without_a_login(pipeline: Pipeline, account_id: int) -> None:
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    [letter] = pipeline.printer.printed
    vault, now, number = pipeline.runtime.vault, pipeline.clock.now, pipeline.request(id).customer_number
    with pipeline.runtime.database.transaction() as session:
        assert answer_letter(session, vault, number, "AAAA-AAAA", now) is None
        found = answer_letter(session, vault, number, letter.code or "", now)
        assert found is not None and found.id == id
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED


def test_an_address_that_the_company_has_proved_needs_no_letter(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        draft = MoveDraft(BERLIN, None, None, "de")
        assert not quote_move(session, pipeline.manager, account, draft, pipeline.clock.now).is_proved
    asked_and_proved(pipeline, account_id, BERLIN)
    # Back to the first address, which the main account has proved with the order.
    day = in_days(pipeline, 10)
    id = ask(pipeline, account_id, Place("Brueckenstraße 5", "10179", "Berlin"), day)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).is_scheduled(pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        detach(session, pipeline.main.id, account_id)
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED
    assert "letter_sent" not in pipeline.codes(id)


@pytest.mark.parametrize("by", ["code", "job"])
def test_a_move_goes_on_when_an_order_of_the_company_proves_its_address(
    pipeline: Pipeline, account_id: int, by: str
) -> None:
    id = ask(pipeline, account_id)
    elsewhere = ask_for_sub(pipeline, Location("Filiale Marienplatz", *astuple(MUNICH)))
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).reason is Reason.ADDRESS_NOT_PROVED
    with pipeline.runtime.database.transaction() as session:
        order, vault = session.get_one(Request, elsewhere), pipeline.runtime.vault
        proof = session.get_one(AddressProof, {"main_id": order.main_id, "address_key": order.place.key})
        if by == "code":
            assert enter_letter_code(session, vault, order, vault.code(*proof.words()), pipeline.clock.now)
        else:
            # As a stranger does who has no right to see the move.
            proof.prove(AddressMethod.LETTER, pipeline.clock.now, None)
    if by == "job":
        assert pipeline.run("proofs").counts["proved_meanwhile"] == 2
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_proved_move_goes_on_under_another_main_account(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 10)
    id = asked_and_proved(pipeline, account_id, day=day)
    with pipeline.runtime.database.transaction() as session:
        detach(session, pipeline.main.id, account_id)
    go_to(pipeline, first_moment(day))
    request = pipeline.request(id)
    assert (request.status, request.main_id) == (Status.COMPLETED, account_id)


@pytest.mark.parametrize("days", [None, 2], ids=["at once", "on a day"])
def test_a_move_that_is_proved_after_the_account_has_left_is_not_that_of_the_former_main_account(
    pipeline: Pipeline, account_id: int, days: int | None
) -> None:
    id = ask(pipeline, account_id, day=in_days(pipeline, days) if days is not None else None)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        detach(session, pipeline.main.id, account_id)
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now + timedelta(days=3))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.NOT_ATTACHED)
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, account_id).postal_code == "10179"


def test_before_a_detachment_the_main_account_moves_only_what_is_proved(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 14)
    with pipeline.runtime.database.transaction() as session:
        account, member = session.get_one(Account, account_id), make_user(session)
        join(session, member, account)
        local = principal_of(session, member)
        planned = submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now, day).id
    with pytest.raises(InvalidField) as error:
        ask(pipeline, account_id)
    assert (error.value.code, error.value.allowed) == ("detached_before_proof", day)
    id = ask(pipeline, account_id, person=local)
    with pipeline.runtime.database.transaction() as session:
        cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
        cancel_and_release(session.get_one(Request, planned), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
        account = session.get_one(Account, account_id)
        # Far enough for a letter; then the move comes first, also if no worker has seen it yet.
        later = submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now, in_days(pipeline, 15)).id
    ask(pipeline, account_id)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        cancel_and_release(session.get_one(Request, later), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
        with pytest.raises(InvalidField) as lost:
            submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now, in_days(pipeline, 1))
    assert lost.value.code == "change_is_lost"
