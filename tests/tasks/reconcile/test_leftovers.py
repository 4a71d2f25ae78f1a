"""Tests of the scheduled job `leftovers`: it deletes only rows that nobody can use any more; a dry run counts them."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from models import retention
from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, put_holder
from models.bulk.bulk import Bulk, BulkRow
from models.calendar_days import end_of_day
from models.contracts.contracts import new_contract
from models.db.base import Base
from models.jobs.jobs import Outcome
from models.links.account_closing import close_account
from models.links.invoice_membership import InvoiceOffer
from models.messages.outbox import Recipient
from models.orders.drafts import Draft, begin_draft, find_draft, new_draft_id
from models.people import login_sessions
from models.people.attempt_counts import AttemptCount
from models.people.invitations import INVITATION_VALID_FOR, Invitation, invite
from models.people.invited_people import InvitedPerson
from models.people.login_sessions import Login, begin_login
from models.people.rights import Role
from models.people.users import User
from models.proofs.deadlines import VALID_FOR
from models.requests.idempotency import IdempotencyKey, reserve_key
from models.telephony.directory import DirectoryEntry, put_entry
from models.telephony.number_history import NumberAssignment
from tasks.ports import GatewayUnavailable
from tasks.reconcile import leftovers
from tasks.reconcile.schedule import JOBS
from tests.factories import ENTRY, HOLDER, NOW, VAULT, an_order, make_account, make_bulk, sites
from tests.tasks.conftest import Pipeline

TABLES = [
    (Bulk, retention.BULKS),
    (Draft, end_of_day(NOW + retention.DRAFTS) - NOW),
    (IdempotencyKey, retention.IDEMPOTENCY_KEYS),
    (Invitation, end_of_day(NOW + INVITATION_VALID_FOR) + retention.INVITATIONS - NOW),
    (InvitedPerson, retention.INVITED_NAMES),
    (InvoiceOffer, end_of_day(NOW + VALID_FOR) - NOW),
    (Login, login_sessions.IDLE),
]
MOMENT = timedelta(seconds=1)


def leave(pipeline: Pipeline, words: str) -> None:
    """Add a row to each table from which the job `leftovers` deletes rows that nobody uses any more.

    `words` is a text in these rows, and has to differ between two calls.
    """
    manager, now = pipeline.manager, pipeline.clock.now
    with pipeline.owner.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        make_bulk(session, manager, main, [an_order(location=replace(an_order().location, name=words))], now=now)
        begin_draft(session, new_draft_id(session, VAULT, manager), main, manager, now)
        reserve_key(session, main.id, manager.user_id, words, [b"body"], now)
        invite(session, manager, main, Recipient("Toni", f"{words}@example.com", "de"), Role.ADMINISTRATOR, now)
        begin_login(session, session.get_one(User, manager.user_id), "", "", now)
        asked = {"account_id": make_account(session).id, "main_id": main.id}
        session.add(InvoiceOffer(offered_at=now, expires_at=end_of_day(now + VALID_FOR), **asked))
    pipeline.registrar.calls.append(now)


def left(pipeline: Pipeline) -> dict[type[Base], int]:
    """Return the number of rows of each table from which the job `leftovers` deletes, by the table's class."""
    with pipeline.runtime.database.transaction() as session:
        return {table: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table, _ in TABLES}


@pytest.mark.parametrize(("table", "kept_for"), TABLES)
def test_a_row_is_kept_for_its_time_and_no_longer(pipeline: Pipeline, table: Any, kept_for: timedelta) -> None:
    leave(pipeline, "one")
    pipeline.clock.advance(kept_for - MOMENT)
    assert pipeline.run("leftovers").counts[table.__tablename__] == 0
    assert left(pipeline)[table] == 1
    pipeline.clock.advance(MOMENT)
    assert pipeline.run("leftovers").counts[table.__tablename__] == 1
    assert left(pipeline)[table] == 0


def test_counts_of_wrong_tries_go_when_no_limit_reads_them(pipeline: Pipeline) -> None:
    now = pipeline.clock.now
    assert JOBS["attempt_counts"].every == timedelta(minutes=5)
    with pipeline.owner.transaction() as session:
        for number in range(3):
            session.add(
                AttemptCount(key="one", number=number, attempts=1, ends_at=now + timedelta(minutes=15 * number))
            )
    pipeline.clock.advance(timedelta(minutes=15) - MOMENT)
    assert pipeline.run("attempt_counts").counts == {"attempt_counts": 1}
    pipeline.clock.advance(MOMENT)
    assert pipeline.run("attempt_counts").counts == {"attempt_counts": 1}
    assert pipeline.run("attempt_counts").counts == {"attempt_counts": 0}


def test_what_was_noted_of_calls_goes_after_a_week(pipeline: Pipeline) -> None:
    pipeline.registrar.calls = [pipeline.clock.now]
    pipeline.clock.advance(timedelta(days=7))
    assert pipeline.run("leftovers").counts["calls"] == 0
    pipeline.clock.advance(MOMENT)
    assert pipeline.run("leftovers").counts["calls"] == 1
    assert pipeline.registrar.calls == []


def test_the_history_of_numbers_is_completed_without_a_warning(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        # As the import of customers enters a holder.
        session.execute(sa.insert(ContractHolder).values(account_id=pipeline.main.id, changed_at=NOW, **asdict(HOLDER)))
    with capture_logs() as logs:
        assert pipeline.run("registrar").outcome is Outcome.DONE
        assert pipeline.run("leftovers", dry=True).counts["history"] == 2
        assert pipeline.run("leftovers").counts["history"] == 2
        assert pipeline.run("leftovers").counts["history"] == 0
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    with pipeline.runtime.database.transaction() as session:
        names = sa.select(NumberAssignment.holder_name).order_by(NumberAssignment.id)
        assert session.scalars(names).all()[-1] == HOLDER.name


def test_without_the_telephone_network_the_rest_is_deleted_all_the_same(pipeline: Pipeline) -> None:
    leave(pipeline, "one")
    pipeline.clock.advance(timedelta(days=410))
    pipeline.registrar.away = GatewayUnavailable("away")
    run = pipeline.run("leftovers")
    assert (run.outcome, run.error) == (Outcome.FAILED, "GatewayUnavailable('away')")
    assert set(left(pipeline).values()) == {0}


def test_a_dry_run_counts_and_deletes_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "BATCH", 2)
    for words in ("one", "two", "three", "Four", "_five"):
        leave(pipeline, words)
    pipeline.clock.advance(timedelta(days=410))
    leave(pipeline, "fresh")
    dry = pipeline.run("leftovers", dry=True)
    due = {table.__tablename__: 5 for table, _ in TABLES} | {"calls": 5, "history": 0, "daily_uses": 1}
    assert dry.counts == {rule.table.__tablename__: 0 for rule in leftovers.ALL} | due
    assert set(left(pipeline).values()) == {6} and len(pipeline.registrar.calls) == 6
    run = pipeline.run("leftovers")
    assert (run.outcome, run.counts, run.found) == (Outcome.DONE, dry.counts, {})
    assert set(left(pipeline).values()) == {1} and len(pipeline.registrar.calls) == 1
    assert pipeline.run("leftovers").counts == dict.fromkeys(run.counts, 0)
    assert pipeline.hints == []


def test_a_draft_that_somebody_has_in_hand_stays(pipeline: Pipeline) -> None:
    leave(pipeline, "one")
    now = pipeline.clock.advance(retention.DRAFTS)
    with pipeline.runtime.database.transaction() as session:
        id = session.scalars(sa.select(Draft.id)).one()
        draft = find_draft(session, id, lock=True)
        assert draft is not None
        assert pipeline.run("leftovers").counts["order_drafts"] == 0
        draft.touch(now)
    assert pipeline.run("leftovers").counts["order_drafts"] == 0
    assert left(pipeline)[Draft] == 1


def test_a_file_that_was_sent_stays_and_one_that_was_not_goes_with_its_rows(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        sent, unsent = (
            make_bulk(session, pipeline.manager, pipeline.main, wanted, now=pipeline.clock.now)
            for wanted in (sites(2), sites(3, first=3))
        )
        sent.send(pipeline.clock.now)
        kept, gone = sent.id, unsent.id
    pipeline.clock.advance(retention.BULKS)
    assert pipeline.run("leftovers").counts["bulks"] == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(Bulk.id)).all() == [kept]
        assert set(session.scalars(sa.select(BulkRow.bulk_id))) == {kept}
        assert session.get(Bulk, gone) is None


def test_a_contract_holder_is_kept_to_the_end_of_the_year_after_the_contracts(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        gone, there = make_account(session), make_account(session)
        for account in (gone, there):
            put_holder(session, account.id, HOLDER, NOW)
            session.add(new_contract(account.id, [], NOW))
        session.flush()
        close_account(session, gone, datetime(2026, 12, 31, 22, 59, tzinfo=UTC))
    pipeline.clock.now = datetime(2027, 12, 31, 22, 59, tzinfo=UTC)
    assert pipeline.run("leftovers").counts["contract_holders"] == 0
    pipeline.clock.now = datetime(2027, 12, 31, 23, 0, tzinfo=UTC)
    assert pipeline.run("leftovers").counts["contract_holders"] == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(ContractHolder.account_id)).all() == [there.id]


def test_a_withdrawn_directory_entry_is_known_for_a_while(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        for withdrawn_at in (None, pipeline.clock.now):
            account_id = make_account(session).id
            put_entry(session, account_id, 4930000, ENTRY, pipeline.clock.now)
            session.get_one(DirectoryEntry, account_id).withdrawn_at = withdrawn_at
    pipeline.clock.advance(retention.DIRECTORY_ENTRIES - MOMENT)
    assert pipeline.run("leftovers").counts["directory_entries"] == 0
    pipeline.clock.advance(MOMENT)
    assert pipeline.run("leftovers").counts["directory_entries"] == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(DirectoryEntry.withdrawn_at)).all() == [None]
