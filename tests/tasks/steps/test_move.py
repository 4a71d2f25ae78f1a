"""Tests of moves to another connection address: what stays and goes, the day, and what the move changes."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import first_moment
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.contracts.contracts import ContractItem
from models.links.links import submit_detach
from models.people.audit_log import AuditEntry, AuditEvent
from models.states import Origin, Reason, Status, StepName
from models.telephony.directory import DirectoryEntry
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import QUARANTINE, RESERVED
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, close_trunk
from tasks.ports import GatewayRefused, GatewayUnavailable, NumberTaken
from tasks.wording.formats import number_text
from tests.factories import fill_pool, join, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.moving import (
    BERLIN,
    MUNICH,
    account_id,
    ask,
    asked_and_proved,
    blocks_of,
    forward,
    pairs,
    prove,
    refused_as_running,
)
from tests.tasks.steps.test_change import go_to, in_days

__all__ = ["account_id"]


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


def test_a_closed_trunk_or_account_rejects_the_move(pipeline: Pipeline, account_id: int) -> None:
    day = in_days(pipeline, 10)
    id = asked_and_proved(pipeline, account_id, day=day)
    with pipeline.runtime.database.transaction() as session:
        close_trunk(session.scalars(sa.select(SipTrunk)).one(), pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.TRUNK_CLOSED)


def test_the_mail_tells_of_forwardings_and_directory_entry_only_if_there_were_some(
    pipeline: Pipeline, account_id: int
) -> None:
    asked_and_proved(pipeline, account_id)
    text = " ".join(pipeline.mailer.sent[-1].text.split())
    assert "Diese Rufnummern wurden ersetzt" in text
    assert "Rufweiterleitungen" not in text and "Telefonbucheintrag" not in text
    [block] = blocks_of(pipeline, account_id)
    forward(pipeline, account_id, block.first_number, block.first_number, "+4915123456789")
    asked_and_proved(pipeline, account_id, BERLIN)
    text = " ".join(pipeline.mailer.sent[-1].text.split())
    assert "Rufweiterleitungen sind auf die neuen" in text and "Telefonbucheintrag" not in text
    [block] = blocks_of(pipeline, account_id)
    with pipeline.runtime.database.transaction() as session:
        entry = {"name": "Palmer", "show_address": True, "published_in": ["print"]}
        at = {"created_at": pipeline.clock.now, "changed_at": pipeline.clock.now}
        session.add(DirectoryEntry(account_id=account_id, number=block.first_number + 1, **entry, **at))
        session.execute(sa.delete(CallForwarding))
    asked_and_proved(pipeline, account_id, replace(MUNICH, street="Marienplatz 9"))
    text = " ".join(pipeline.mailer.sent[-1].text.split())
    assert "Der Telefonbucheintrag ist auf die neue Rufnummer" in text and "Rufweiterleitungen" not in text


def test_a_move_that_waits_for_the_network_keeps_nobody_from_detaching_the_account(
    pipeline: Pipeline, account_id: int
) -> None:
    id = ask(pipeline, account_id)
    go_to(pipeline, pipeline.clock.now)
    prove(pipeline, id)
    pipeline.registrar.failures = [GatewayRefused("no")] * 3
    go_to(pipeline, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now + timedelta(minutes=11))
    assert (pipeline.request(id).status, pipeline.request(id).step) == (Status.HELD, StepName.CONFIRM)
    with pipeline.runtime.database.transaction() as session:
        account, member = session.get_one(Account, account_id), make_user(session)
        join(session, member, account)
        submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now)
    for _ in range(3):
        go_to(pipeline, pipeline.clock.now + timedelta(minutes=10))
    request = pipeline.request(id)
    assert (request.status, request.main_id) == (Status.COMPLETED, account_id)
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, account_id).main_id is None
