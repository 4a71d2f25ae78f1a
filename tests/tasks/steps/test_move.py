"""Tests of moves to another connection address: what stays and goes, the proof, the day, and what the move changes."""

from __future__ import annotations

from dataclasses import asdict, astuple, replace
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import Limit, Limits, used_today
from models.accounts.hierarchy import attach, detach
from models.calendar_days import first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, MoveQuote, quote_move, submit_move
from models.contracts.contracts import ContractItem
from models.errors import AlreadyRequested, Forbidden, InvalidField, LimitReached, PricesChanged
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.orders.number_release import release_numbers
from models.orders.orders import Location, cancel_and_release
from models.orders.restocking import restock
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Principal
from models.people.users import principal_of
from models.proofs.order_codes import answer_letter, enter_letter_code
from models.proofs.proofs import AddressProof
from models.requests.moved_blocks import MovedBlock, moved_blocks_of, replacements_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.same_address import Place
from models.staff.place_questions import answer_place_question, find_question, open_question_of
from models.states import AddressMethod, Origin, Reason, Status, StepName
from models.telephony.directory import DirectoryEntry
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import QUARANTINE, RESERVED, give_reserved_block
from models.telephony.numbers import NumberBlock
from models.telephony.place_answers import ask as ask_staff
from models.telephony.place_answers import open_questions
from models.telephony.trunks import SipTrunk, close_trunk
from tasks.ports import GatewayUnavailable, NumberTaken
from tasks.wording.formats import number_text
from tests.factories import an_order, fill_pool, join, make_account, make_staff, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.test_change import go_to, in_days

MUNICH = Place("Marienplatz 8", "80331", "München")
BERLIN = Place("Invalidenstr. 10", "10115", "Berlin")


@pytest.fixture
def account_id(pipeline: Pipeline) -> int:
    """Complete the order of a sub-account in Berlin with ten numbers, delete the kept mails, and return its id.

    The pool has numbers in Munich, too.
    """
    with pipeline.owner.transaction() as session:
        fill_pool(session, area_code="089", first="20000000", count=5)
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(SipTrunk.account_id)).one()


def ask(
    pipeline: Pipeline,
    account_id: int,
    place: Place = MUNICH,
    day: date | None = None,
    area_code: str | None = None,
    person: Principal | None = None,
    shown: str | None = None,
) -> UUID:
    """Request that the account moves to `place` on `day` (None: at once); return the request's id."""
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        draft = MoveDraft(place, area_code, day, "de")
        return submit_move(session, person or pipeline.manager, account, draft, now, shown=shown).id


def prove(pipeline: Pipeline, id: UUID) -> None:
    """Enter the code of the letter about the move."""
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        key = {"main_id": request.account_id, "address_key": request.place.key}
        code = pipeline.runtime.vault.code(*session.get_one(AddressProof, key).words())
        assert enter_letter_code(session, pipeline.runtime.vault, request, code, pipeline.clock.now)


def asked_and_proved(pipeline: Pipeline, account_id: int, place: Place = MUNICH, day: date | None = None) -> UUID:
    """Request a move, let a worker ask for the proof of the address, and give it."""
    id = ask(pipeline, account_id, place, day)
    go_to(pipeline, pipeline.clock.now)
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now)
    return id


def ask_for_sub(pipeline: Pipeline, location: Location) -> UUID:
    """Order a sub-account at the location, with an area code of Munich; return the order's id."""
    return pipeline.order(an_order(location=location, area_code="089"))


def give(pipeline: Pipeline, account_id: int, size: int, first: str) -> None:
    """Give the account's trunk a block of `size` more numbers of Berlin, beginning with `first`."""
    with pipeline.owner.transaction() as session:
        fill_pool(session, size=size, count=1, first=first)
        trunk_id = session.scalars(sa.select(SipTrunk.id).where(SipTrunk.account_id == account_id)).one()
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.first_number == int(f"4930{first}"))).one()
        give_reserved_block(session, block, account_id, trunk_id, pipeline.clock.now)


def set_available(session: Session, ids: sa.Select[int], at: datetime) -> None:
    """Make the number blocks with these ids free at `at`."""
    session.execute(sa.update(NumberBlock).where(NumberBlock.id.in_(ids)).values(available_from=at))


def blocks_of(pipeline: Pipeline, account_id: int) -> list[NumberBlock]:
    with pipeline.runtime.database.transaction() as session:
        query = sa.select(NumberBlock).where(NumberBlock.account_id == account_id)
        return list(session.scalars(query.order_by(NumberBlock.first_number)))


def forward(pipeline: Pipeline, account_id: int, first: int, last: int, target: str) -> None:
    """Save a forwarding of the account's numbers from `first` to `last`."""
    with pipeline.runtime.database.transaction() as session:
        numbers = {"first_number": first, "last_number": last}
        session.add(CallForwarding(account_id=account_id, condition=Condition.BUSY, target=target, **numbers))


def refused(pipeline: Pipeline, account_id: int, place: Place, **changes: object) -> tuple[str, str]:
    """Return field and code of the error with which a move to `place` is refused."""
    with pytest.raises(InvalidField) as error:
        ask(pipeline, account_id, place, **changes)  # type: ignore[arg-type]
    return error.value.field, error.value.code


def test_a_move_changes_address_location_numbers_and_registrar_together(pipeline: Pipeline, account_id: int) -> None:
    [old] = blocks_of(pipeline, account_id)
    first, last = old.first_number, old.last_number
    forward(pipeline, account_id, first + 3, first + 5, "+4915123456789")
    forward(pipeline, account_id, first - 20, last, "+4915123456780")
    with pipeline.runtime.database.transaction() as session:
        entry = {"name": "Palmer", "show_address": True, "published_in": ["print"]}
        at = {"created_at": pipeline.clock.now, "changed_at": pipeline.clock.now}
        session.add(DirectoryEntry(account_id=account_id, number=first + 1, **entry, **at))
    pipeline.clock.advance(timedelta(hours=1))
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    waiting = pipeline.request(id)
    assert (waiting.status, waiting.reason) == (Status.PENDING, Reason.ADDRESS_NOT_PROVED)
    # Nothing has changed yet, and the letter goes to the new address.
    [letter] = pipeline.printer.printed
    assert letter.recipient[-2:] == ("Marienplatz 8", "80331 München") and "zieht mit dem Anschluss" in letter.text
    [record] = pipeline.registrar.trunks.values()
    assert (record.postal_code, set(record.numbers)) == ("10179", set(old.numbers))
    [reserved] = (block for _, block in pairs(pipeline, id))
    assert (reserved.account_id, reserved.available_from, reserved.area_code) == (None, RESERVED, "089")
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id) == [
        "move_received", "letter_sent", "replacement_reserved", "pending", "address_proved", "numbers_replaced",
        "forwarding_lost", "moved", "location_written", "completed", "confirmed",
    ]  # fmt: skip
    [new] = blocks_of(pipeline, account_id)
    assert (new.id, new.trunk_id, new.size) == (reserved.id, old.trunk_id, old.size)
    # The registrar was written once with all of it.
    [record] = pipeline.registrar.trunks.values()
    assert (record.postal_code, set(record.numbers)) == ("80331", set(new.numbers))
    assert [one.numbers for one in record.forwardings] == [(new.first_number + 3, new.first_number + 5)]
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        assert (account.street, account.postal_code, account.city) == tuple(asdict(MUNICH).values())
        gone = session.get_one(NumberBlock, old.id)
        assert (gone.account_id, gone.trunk_id, gone.available_from) == (None, None, now + QUARANTINE)
        [forwarding] = session.scalars(sa.select(CallForwarding))
        assert forwarding.numbers == (new.first_number + 3, new.first_number + 5)
        known = session.get_one(DirectoryEntry, account_id)
        assert (known.number, known.changed_at, known.withdrawn_at) == (new.first_number + 1, now, None)
        history = session.scalars(sa.select(NumberAssignment).order_by(NumberAssignment.since)).all()
        assert [(one.block_id, one.until, one.city) for one in history] == [
            (old.id, now, "Berlin"), (new.id, None, "München"),
        ]  # fmt: skip
    [receipt, done] = pipeline.mailer.sent
    assert (receipt.recipient_address, done.recipient_address) == (pipeline.manager.email,) * 2
    for mail in (receipt, done):
        assert "Marienplatz 8, 80331 München" in mail.text and "Brückenstr. 5, 10179 Berlin" in mail.text
    assert new.display in done.text.replace("\u2068", "").replace("\u2069", "")
    # The contract goes on as it was: nothing is charged for the move.
    assert pipeline.request(id).price_lines == pipeline.request(id).replaced_lines


def test_forwardings_that_are_lost_or_lead_nowhere_are_told_to_those_who_may_see_them(
    pipeline: Pipeline, account_id: int
) -> None:
    [old] = blocks_of(pipeline, account_id)
    first, last = old.first_number, old.last_number
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    # Saved after the order, so that no page has said it.
    forward(pipeline, account_id, first - 20, last, "+4915123456780")
    with pipeline.runtime.database.transaction() as session:
        other = make_account(session, name="Lager")
        attach(session, pipeline.main.id, other.id, Origin.LINK, pipeline.clock.now)
        foreign, member = make_account(session, name="Fremd"), make_user(session)
        join(session, member, session.get_one(Account, account_id))
        for aiming in (other, foreign):
            target = f"+{first + 4}"
            session.add(CallForwarding(account_id=aiming.id, condition=Condition.ALWAYS, target=target))
        target = f"+{last + 1}"
        session.add(CallForwarding(account_id=other.id, condition=Condition.BUSY, target=target))
    prove(pipeline, id)
    pipeline.mailer.sent.clear()
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.codes(id).count("forwarding_lost") == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(CallForwarding.account_id)).all() == [other.id, foreign.id, other.id]
        [logged] = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.FORWARDING_REMOVED))
    assert (logged.account_id, logged.user_id) == (account_id, pipeline.manager.user_id)
    assert (logged.facts["numbers"], logged.facts["target"]) == ([first - 20, last], "+4915123456780")
    mails = {mail.recipient_address: mail.text for mail in pipeline.mailer.sent}
    assert set(mails) == {pipeline.manager.email, member.email}
    aimed = f"Lager ({other.customer_number}) → {number_text(f'+{first + 4}')}"
    for address, text in mails.items():
        assert "→ 01512 3456780" in text and "Fremd" not in text
        assert (aimed in text, text.count("Lager")) == ((True, 1) if address == pipeline.manager.email else (False, 0))


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


def pairs(pipeline: Pipeline, id: UUID) -> list[tuple[NumberBlock, NumberBlock]]:
    """Return what goes and what comes by the move, as it is now; every block that goes must have a replacement."""
    with pipeline.runtime.database.transaction() as session:
        rows = session.scalars(sa.select(MovedBlock).where(MovedBlock.request_id == id)).all()
        return [
            (session.get_one(NumberBlock, row.block_id), session.get_one(NumberBlock, row.replacement_id))
            for row in rows
        ]


def test_numbers_of_the_same_ortsnetz_stay(pipeline: Pipeline, account_id: int) -> None:
    before = blocks_of(pipeline, account_id)
    id = asked_and_proved(pipeline, account_id, BERLIN)
    assert pipeline.request(id).status is Status.COMPLETED
    assert [block.id for block in blocks_of(pipeline, account_id)] == [block.id for block in before]
    [record] = pipeline.registrar.trunks.values()
    assert (record.postal_code, set(record.numbers)) == ("10115", set(before[0].numbers))
    with pipeline.runtime.database.transaction() as session:
        # Who had the number at which address (§ 172 TKG).
        history = session.scalars(sa.select(NumberAssignment).order_by(NumberAssignment.id)).all()
        assert [(one.postal_code, one.until is None) for one in history] == [("10179", False), ("10115", True)]
    assert "Alle Rufnummern bleiben" in pipeline.mailer.sent[-1].text


def test_blocks_with_lines_of_their_own_keep_them(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        fill_pool(session, area_code="089", first="30000000", size=1, count=1)
        fill_pool(session, area_code="030", first="30000000", size=1, count=1)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        trunk_id = session.scalars(sa.select(SipTrunk.id)).one()
        draft = NumbersDraft("030", 1, None, "de")
        submit_numbers(session, pipeline.manager, account, trunk_id, draft, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)
    id = asked_and_proved(pipeline, account_id)
    moved = {goes.size: comes for goes, comes in pairs(pipeline, id)}
    assert set(moved) == {1, 10}
    with pipeline.runtime.database.transaction() as session:
        lines = sa.select(ContractItem).where(ContractItem.block_id.is_not(None))
        line = session.scalars(lines).one()
        assert (line.block_id, line.ended_at) == (moved[1].id, None)
    [record] = pipeline.registrar.trunks.values()
    assert len(record.numbers) == 11 and all(number.startswith("+4989") for number in record.numbers)


def test_until_its_day_everything_stays_and_on_it_all_changes(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 40)
    id = asked_and_proved(pipeline, account_id, day=day)
    request = pipeline.request(id)
    assert (request.due_at, request.is_scheduled(pipeline.clock.now)) == (first_moment(day), True)
    go_to(pipeline, first_moment(day) - timedelta(seconds=1))
    [record] = pipeline.registrar.trunks.values()
    assert record.postal_code == "10179" and pipeline.request(id).status is Status.IN_PROGRESS
    go_to(pipeline, first_moment(day) + timedelta(days=3))
    assert pipeline.request(id).status is Status.COMPLETED
    [record] = pipeline.registrar.trunks.values()
    assert record.postal_code == "80331"
    assert pipeline.codes(id).count("moved") == 1


def test_the_move_is_confirmed_once_the_network_has_it(pipeline: Pipeline, account_id: int) -> None:
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    prove(pipeline, id)
    pipeline.mailer.sent.clear()
    pipeline.registrar.failures = [NumberTaken("number_of_another_trunk")] * 2
    go_to(pipeline, pipeline.clock.now)
    [record] = pipeline.registrar.trunks.values()
    request = pipeline.request(id)
    assert (record.postal_code, request.status, request.step) == ("10179", Status.IN_PROGRESS, StepName.CONFIRM)
    assert "location_written" not in pipeline.codes(id) and not request.can_cancel
    assert refused_as_running(pipeline, account_id) == str(id)
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    request = pipeline.request(id)
    # The second attempt was refused, too.
    assert (request.status, request.reason) == (Status.HELD, Reason.GATEWAY_REFUSED)
    [told] = pipeline.mailer.sent
    assert "Umzug" in told.text and "Notruf" not in told.text
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=1))
    [record] = pipeline.registrar.trunks.values()
    assert record.postal_code == "80331" and pipeline.request(id).status is Status.COMPLETED
    pipeline.advance()
    assert pipeline.codes(id)[-3:] == ["location_written", "completed", "confirmed"]
    assert len(pipeline.mailer.sent) == 2 and "112" in pipeline.mailer.sent[-1].text


def refused_as_running(pipeline: Pipeline, account_id: int) -> str | None:
    """Return the id of the running move because of which another one is refused."""
    with pytest.raises(AlreadyRequested) as error:
        ask(pipeline, account_id, BERLIN)
    return error.value.request_id


def test_a_move_is_held_for_a_registrar_that_is_away(pipeline: Pipeline, account_id: int) -> None:
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    prove(pipeline, id)
    pipeline.registrar.failures = [GatewayUnavailable("away")] * 2
    go_to(pipeline, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.GATEWAY_UNAVAILABLE)
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=5))
    assert pipeline.request(id).status is Status.COMPLETED


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


def test_a_pool_without_numbers_holds_the_move_until_it_is_filled(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        far = pipeline.clock.now + timedelta(days=900)
        session.execute(sa.update(NumberBlock).where(NumberBlock.area_code == "089").values(available_from=far))
    id = asked_and_proved(pipeline, account_id)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.NO_NUMBERS_AVAILABLE)
    assert (request.area_code, request.block_size) == ("089", 10)
    with pipeline.owner.transaction() as session:
        assert restock(session, "089", "50000000", 10, 1, pipeline.clock.now).retried == [id]
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_size_that_is_missing_keeps_no_other_size_waiting(pipeline: Pipeline, account_id: int) -> None:
    give(pipeline, account_id, 100, "70000000")
    give(pipeline, account_id, 10, "71000000")
    id = asked_and_proved(pipeline, account_id)
    assert pipeline.request(id).reason is Reason.NO_NUMBERS_AVAILABLE
    assert pipeline.request(id).block_size == 100
    with pipeline.runtime.database.transaction() as session:
        reserved = [
            (goes.size, comes is not None) for goes, comes in replacements_of(session, session.get_one(Request, id))
        ]
    assert reserved == [(10, True), (100, False), (10, True)]


def test_numbers_that_come_before_the_proof_are_reserved_at_once(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        munich = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089")
        set_available(session, munich, pipeline.clock.now + timedelta(days=900))
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).reason is Reason.ADDRESS_NOT_PROVED
    with pipeline.owner.transaction() as session:
        assert restock(session, "089", "50000000", 10, 1, pipeline.clock.now).retried == [id]
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.PENDING, Reason.ADDRESS_NOT_PROVED)
    [(_, reserved)] = pairs(pipeline, id)
    assert reserved.first_number == 498950000000
    assert pipeline.codes(id).count("letter_sent") == 1
    with pipeline.owner.transaction() as session:
        assert restock(session, "089", "50000010", 10, 1, pipeline.clock.now).retried == []


def test_the_office_hears_of_missing_numbers_before_the_proof(pipeline: Pipeline, account_id: int) -> None:
    with pipeline.owner.transaction() as session:
        munich = sa.select(NumberBlock.id).where(NumberBlock.area_code == "089")
        set_available(session, munich, pipeline.clock.now + timedelta(days=900))
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    pipeline.clock.advance(timedelta(minutes=2))
    pipeline.runtime = replace(pipeline.runtime, office_email="office@example.com")
    told = [pipeline.run("office").counts["requests"] for _ in range(2)]
    assert told == [1, 0]
    with pipeline.runtime.database.transaction() as session:
        [mail] = session.scalars(sa.select(Message).where(Message.template == "office_digest"))
        [line] = mail.facts["lines"]
        assert line["cause"].endswith("(089, 10)")
    prove(pipeline, id)
    go_to(pipeline, pipeline.clock.now)
    pipeline.clock.advance(timedelta(minutes=2))
    # Now held for the same reason: the office has heard of it.
    assert pipeline.request(id).status is Status.HELD
    assert pipeline.run("office").counts["requests"] == 0


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


def test_what_staff_have_to_confirm_is_held_and_answered(pipeline: Pipeline, account_id: int) -> None:
    # A town beside Berlin whose postal code has an Ortsnetz of its own.
    place = Place("Hauptstr. 1", "16540", "Hohen Neuendorf")
    id = asked_and_proved(pipeline, account_id, place)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.AREA_CODE_UNCONFIRMED)
    with pipeline.owner.transaction() as session:
        staff = principal_of(session, make_staff(session))
    with pipeline.runtime.database.transaction() as session:
        questions = open_questions(session, 5)
        assert open_question_of(session, session.get_one(Request, id)) in [question.id for question in questions]
        for question in questions:
            waiting = answer_place_question(session, staff, question.id, pipeline.clock.now, fits=False, seen=0)
            assert [one.id for one in waiting] == [id]
        assert questions
    with pipeline.runtime.database.transaction() as session:
        assert open_question_of(session, session.get_one(Request, id)) is None
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.AREA_CODE_MISMATCH)
    said = " ".join(pipeline.mailer.sent[-1].text.split())
    assert "ein neu beauftragter Umzug ersetzt die Rufnummern, die nicht bleiben können" in said
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        assert account.postal_code == "10179"
        quote = quote_move(session, pipeline.manager, account, MoveDraft(place, None, None, "de"), pipeline.clock.now)
        assert (len(quote.goes), quote.stays) == (1, [])


def test_an_open_question_about_numbers_that_go_is_not_one_of_the_move(pipeline: Pipeline, account_id: int) -> None:
    id = asked_and_proved(pipeline, account_id, day=in_days(pipeline, 10))
    with pipeline.owner.transaction() as session:
        # Asked by an order there that has chosen the area code of the numbers that go.
        ask_staff(session, MUNICH.postal_code, MUNICH.city, "030", pipeline.clock.now)
        session.flush()
        [question] = open_questions(session, 5)
        assert open_question_of(session, session.get_one(Request, id)) is None
        staff = principal_of(session, make_staff(session))
        assert find_question(session, staff, question.id).orders == []


def test_a_block_given_back_meanwhile_is_not_replaced(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 10)
    id = asked_and_proved(pipeline, account_id, day=day)
    [(old, reserved)] = pairs(pipeline, id)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account_id)
        release_numbers(session, pipeline.manager, account, old.id, pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED
    assert blocks_of(pipeline, account_id) == [] and pairs(pipeline, id) == []
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(NumberBlock, reserved.id).available_from == pipeline.clock.now


def test_a_closed_trunk_or_account_rejects_the_move(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 10)
    id = asked_and_proved(pipeline, account_id, day=day)
    with pipeline.runtime.database.transaction() as session:
        close_trunk(session.scalars(sa.select(SipTrunk)).one(), pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.TRUNK_CLOSED)


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
