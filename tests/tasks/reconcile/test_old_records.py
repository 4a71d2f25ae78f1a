"""Tests of the scheduled job `leftovers` with periods that the carrier can choose, and of the list of all periods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import retention
from models.accounts.accounts import Account
from models.accounts.contract_holders import HolderData, LegalForm, put_holder
from models.bulk.bulk import Bulk, BulkRow
from models.contracts.contracts import Contract
from models.links.account_closing import close_account
from models.messages.outbox import Message, Recipient, queue_message
from models.people.api_tokens import ApiToken, create_token, use_token
from models.people.rights import Scope
from models.people.users import User
from models.proofs.documents import ProofDocument
from models.proofs.link_codes import create_link_code
from models.proofs.proofs import EmailProof, LinkCode
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.retention import KEPT, End, Periods
from models.schema import metadata
from models.staff.erasing_people import BUSINESS_LETTERS, ERASED_NAME
from models.staff.old_records import OF_REQUEST
from models.states import AccountRole, AccountState, Kind, Reason, Status
from tasks.ports import GatewayRefused
from tasks.reconcile import leftovers
from tests.factories import a_link, an_order, make_account, make_bulk, make_user, sites
from tests.tasks.conftest import Pipeline

MOMENT = timedelta(seconds=1)
SIX_YEARS_LATER = datetime(2032, 12, 31, 23, tzinfo=UTC)
"""The first moment of 2033 in Berlin: what ended in 2026 was kept for six whole years."""
DOCUMENT = b"%PDF-1.7"


def run_at(pipeline: Pipeline, now: datetime) -> Callable[[str], int]:
    """Run the job `leftovers` at this time.

    Return a function that returns, for a table's name, how many of its rows were deleted.
    """
    pipeline.clock.now = now
    counts = pipeline.run("leftovers").counts
    return lambda table: counts.get(table, 0)


def complete_order(pipeline: Pipeline) -> UUID:
    id = pipeline.order(an_order())
    for _ in range(3):
        pipeline.advance()
        pipeline.send()
    return id


def reject_order(pipeline: Pipeline) -> UUID:
    id = pipeline.order(an_order())
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, id).reject(Reason.ACCOUNT_CLOSED, pipeline.clock.now)
    pipeline.send()
    return id


def templates(pipeline: Pipeline) -> set[str]:
    """Return the template names of all messages in the database."""
    with pipeline.runtime.database.transaction() as session:
        return set(session.scalars(sa.select(Message.template)))


def test_a_mail_goes_after_its_time_and_a_business_letter_after_six_years(pipeline: Pipeline) -> None:
    complete_order(pipeline)
    letters = templates(pipeline)
    assert letters and letters <= set(BUSINESS_LETTERS)
    now, to = pipeline.clock.now, Recipient("Kim", "kim@example.com", "de")
    with pipeline.runtime.database.transaction() as session:
        facts = {"email": to.address, "at": now.isoformat(), "path": "/anmelden"}
        queue_message(session, None, "login_erased", to, facts, now)
    assert run_at(pipeline, now + timedelta(days=1000))("messages") == 0
    pipeline.clock.now = now
    pipeline.send()
    assert run_at(pipeline, now + Periods().mails - MOMENT)("messages") == 0
    assert run_at(pipeline, now + Periods().mails)("messages") == 1
    assert templates(pipeline) == letters
    assert run_at(pipeline, SIX_YEARS_LATER - MOMENT)("messages") == 0
    assert run_at(pipeline, SIX_YEARS_LATER)("messages") == len(letters)
    assert templates(pipeline) == set()


def test_a_document_goes_after_the_decision_unless_its_request_runs(pipeline: Pipeline) -> None:
    ended, runs = reject_order(pipeline), pipeline.order(an_order())
    now, person = pipeline.clock.now, pipeline.manager.user_id
    with pipeline.runtime.database.transaction() as session:
        for id in (ended, runs):
            decision = {"released": True, "decided_at": now, "decided_by": person}
            file = {"name": "Auszug.pdf", "media_type": "application/pdf", "content": DOCUMENT}
            session.add(ProofDocument(request_id=id, uploaded_at=now, uploaded_by=person, **file, **decision))
    assert run_at(pipeline, now + Periods().documents - MOMENT)("address_documents") == 0
    assert run_at(pipeline, now + Periods().documents)("address_documents") == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(ProofDocument.request_id)).all() == [runs]


def test_a_request_without_a_contract_goes_with_all_that_belongs_to_it(pipeline: Pipeline) -> None:
    completed, rejected = complete_order(pipeline), reject_order(pipeline)
    ordered = pipeline.request(rejected).account_id
    assert run_at(pipeline, SIX_YEARS_LATER - MOMENT)("requests") == 0
    gone = run_at(pipeline, SIX_YEARS_LATER)
    assert (gone("requests"), gone("accounts")) == (1, 1)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(Request.id)).all() == [completed]
        assert set(session.scalars(sa.select(TimelineEntry.request_id))) == {completed}
        account = session.get_one(Account, ordered)
        assert (account.name, account.street, account.contact_phone) == (ERASED_NAME, "", None)
        assert account.contact_email == f"erased-account-{ordered}@erased.invalid"
        assert session.get_one(Account, pipeline.main.id).contact_name != ERASED_NAME
    assert run_at(pipeline, SIX_YEARS_LATER)("accounts") == 0


def test_a_request_that_is_young_or_runs_stays(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    pipeline.clock.now = datetime(2026, 12, 31, 23, tzinfo=UTC)
    reject_order(pipeline)
    gone = run_at(pipeline, SIX_YEARS_LATER)
    assert (gone("requests"), gone("accounts")) == (0, 0)


def test_a_link_with_its_proof_stays_while_the_account_is_attached_by_it(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        draft = a_link(account, email=owner.email)
    id = pipeline.link(draft)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    assert run_at(pipeline, SIX_YEARS_LATER)("requests") == 0
    with pipeline.owner.transaction() as session:
        linked = session.get_one(Account, account.id)
        linked.main_id = linked.origin = linked.attached_at = None
        linked.role = AccountRole.STANDALONE
    assert run_at(pipeline, SIX_YEARS_LATER)("requests") == 1


def test_an_account_without_contracts_here_is_kept_from_when_it_was_closed(pipeline: Pipeline) -> None:
    with pipeline.owner.transaction() as session:
        imported = make_account(session, administrator=make_user(session))
        id, holder = (
            imported.id,
            HolderData("Muster GmbH", LegalForm.COMPANY, "HRB 1", None, "Weg 1", "33602", "Bielefeld"),
        )
        put_holder(session, id, holder, pipeline.clock.now)
    closed = SIX_YEARS_LATER - timedelta(days=1)
    with pipeline.owner.transaction() as session:
        close_account(session, session.get_one(Account, id), closed)
    gone = run_at(pipeline, SIX_YEARS_LATER)
    assert (gone("accounts"), gone("contract_holders")) == (0, 0)
    gone = run_at(pipeline, SIX_YEARS_LATER.replace(year=2034))
    assert (gone("accounts"), gone("contract_holders")) == (0, 1)
    assert run_at(pipeline, SIX_YEARS_LATER.replace(year=2038))("accounts") == 1


def test_an_order_that_can_be_tried_again_keeps_its_account(pipeline: Pipeline) -> None:
    pipeline.registrar.failures = [GatewayRefused("no")]
    id = complete_order(pipeline)
    assert pipeline.request(id).status is Status.FAILED
    gone = run_at(pipeline, SIX_YEARS_LATER)
    assert (gone("requests"), gone("accounts")) == (0, 0)


def test_a_closed_account_loses_its_people_and_keeps_its_contracts(pipeline: Pipeline) -> None:
    id = complete_order(pipeline)
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, pipeline.request(id).account_id)
        # As if it had been detached.
        account.main_id = account.origin = account.attached_at = None
        account.role = AccountRole.STANDALONE
        session.flush()
        close_account(session, account, pipeline.clock.now)
        closed = account.id
    assert run_at(pipeline, SIX_YEARS_LATER - MOMENT)("accounts") == 0
    assert run_at(pipeline, SIX_YEARS_LATER)("accounts") == 1
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, closed)
        assert (account.state, account.contact_name) == (AccountState.CLOSED, ERASED_NAME)
        assert session.scalar(sa.select(Contract.ended_at).where(Contract.account_id == closed)) is not None
        assert session.get(Request, id) is not None


def test_a_file_goes_after_its_time_and_its_requests_stay(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        bulk = make_bulk(session, pipeline.manager, pipeline.main, sites(2), now=pipeline.clock.now)
        bulk.send(pipeline.clock.now)
        id = bulk.id
    for _ in range(8):
        pipeline.advance()
        pipeline.send()
        pipeline.clock.advance(timedelta(minutes=1))
    with pipeline.runtime.database.transaction() as session:
        ended = session.get_one(Bulk, id).ended_at
    assert ended is not None
    assert run_at(pipeline, ended + Periods().files - MOMENT)("bulks") == 0
    assert run_at(pipeline, ended + Periods().files)("bulks") == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(BulkRow.line)).all() == []
        assert session.scalars(sa.select(Request.bulk_id)).all() == [None, None]
        assert set(session.scalars(sa.select(Message.bulk_id))) == {None}


def test_the_last_address_of_a_token_goes_after_its_end(pipeline: Pipeline) -> None:
    now = pipeline.clock.now
    with pipeline.owner.transaction() as session:
        main, person = session.get_one(Account, pipeline.main.id), session.get_one(User, pipeline.manager.user_id)
        for name in ("revoked", "used"):
            use_token(session, create_token(session, main, person, name, frozenset(Scope), now), "192.0.2.7", now)
        session.scalars(sa.select(ApiToken).where(ApiToken.name == "revoked")).one().revoke(now)
    assert run_at(pipeline, now + retention.TOKEN_ADDRESSES - MOMENT)("api_tokens") == 0
    assert run_at(pipeline, now + retention.TOKEN_ADDRESSES)("api_tokens") == 1
    with pipeline.runtime.database.transaction() as session:
        left = session.execute(sa.select(ApiToken.name, ApiToken.last_used_address).order_by(ApiToken.id))
        assert [tuple(row) for row in left] == [("revoked", None), ("used", "192.0.2.7")]


def test_a_link_code_goes_after_its_end(pipeline: Pipeline) -> None:
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, pipeline.main.id)
        create_link_code(session, pipeline.manager, account, now)
        # It voids the first.
        create_link_code(session, pipeline.manager, account, now)
    assert run_at(pipeline, now + retention.LINK_CODES - MOMENT)("link_codes") == 0
    assert run_at(pipeline, now + retention.LINK_CODES)("link_codes") == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(LinkCode)) == 1


def test_an_unanswered_proof_goes_after_its_time_but_not_under_a_request_that_runs(pipeline: Pipeline) -> None:
    contact = an_order().contact
    id = pipeline.order(an_order(contact=replace(contact, email="nobody@example.com")))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        expires = session.get_one(EmailProof, (pipeline.main.id, "nobody@example.com")).expires_at
    old = expires + retention.UNANSWERED
    assert run_at(pipeline, old)("email_proofs") == 0
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, id).reject(Reason.ACCOUNT_CLOSED, pipeline.clock.now)
    assert run_at(pipeline, old - MOMENT)("email_proofs") == 0
    assert run_at(pipeline, old)("email_proofs") == 1
    with pipeline.runtime.database.transaction() as session:
        # The proofs that were given.
        assert None not in session.scalars(sa.select(EmailProof.proved_at)).all()


def test_a_dry_run_counts_and_changes_nothing(pipeline: Pipeline) -> None:
    reject_order(pipeline)
    pipeline.clock.now = SIX_YEARS_LATER
    counts = pipeline.run("leftovers", dry=True).counts
    assert counts["requests"] == 1
    gone = run_at(pipeline, SIX_YEARS_LATER)
    assert (gone("requests"), gone("accounts")) == (1, 1)


def test_old_rows_go_in_batches(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        reject_order(pipeline)
    monkeypatch.setattr(leftovers, "BATCH", 2)
    assert run_at(pipeline, SIX_YEARS_LATER)("requests") == 3


def test_a_detachment_outlives_the_one_to_which_it_gave_way(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = reject_order(pipeline), reject_order(pipeline)
    with pipeline.runtime.database.transaction() as session:
        # Rows as detachments leave them; how they come about is tested with them.
        for id, displaced in ((first, None), (second, first)):
            of_detachment = {"kind": Kind.DETACH, "displaced_id": displaced, "effective_on": date(2026, 2, 1)}
            of_order = dict.fromkeys(("product_key", "channels", "area_code", "block_size", "price_lines"))
            session.execute(sa.update(Request).where(Request.id == id).values(**of_detachment, **of_order))
    monkeypatch.setattr(leftovers, "BATCH", 1)
    assert run_at(pipeline, SIX_YEARS_LATER)("requests") == 2


def test_every_table_says_how_long_its_rows_are_kept_and_the_job_does_what_it_says() -> None:
    assert set(KEPT) == {*metadata.tables, "alembic_version"}
    with_requests = {table.__tablename__ for table in OF_REQUEST}
    # Deleted with their files.
    done = {rule.table.__tablename__: rule.values is None for rule in leftovers.ALL} | {"bulk_rows": True}
    said = {name: kept.end for name, kept in KEPT.items() if kept.end in (End.BY_LEFTOVERS, End.BLANKED)}
    assert {name: end is End.BY_LEFTOVERS for name, end in said.items()} == done | dict.fromkeys(with_requests, True)


def test_operations_says_the_same() -> None:
    operations = Path(__file__).parents[3].joinpath("docs/operations.md").read_text()
    rows = [f"| `{name}` | {kept.how_long} | {kept.end} | {kept.why} |" for name, kept in sorted(KEPT.items())]
    assert "\n".join(rows) in operations
