"""Tests that every row of a bulk file becomes exactly one request although workers are killed in the middle."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.bulk.uploads import CheckedRow, fingerprints_of, keep_file
from models.changes.file_rows import quote_row
from models.messages.outbox import Message
from models.requests.requests import Request
from models.states import Kind, Status
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from tests.factories import VAULT, fill_pool, join, make_bulk, make_user, sites
from tests.fakes import wait_until
from tests.faults.conftest import Plant

ROWS = 120


def count(plant: Plant, *conditions: sa.ColumnElement[bool]) -> int:
    with plant.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Request).where(*conditions)) or 0


def test_a_bulk_goes_on_after_its_workers_were_killed(plant: Plant) -> None:
    with plant.database.transaction() as session:
        fill_pool(session, count=ROWS, first="40000000")
        found = make_bulk(session, plant.manager, plant.main, sites(ROWS))
        found.send(utc_now())
    plant.start_beat()
    # Once while rows are being written down, and once while the orders are on their way.
    for reached in (1, ROWS // 2):
        doomed = plant.start_worker(concurrency=2, kinds=())
        plant.publish()
        wait_until(lambda least=reached: count(plant) >= least, seconds=60, what=f"{reached} rows")  # type: ignore[misc]
        plant.kill(doomed)
    doomed = plant.start_worker(concurrency=2, kinds=())
    wait_until(lambda: count(plant, Request.status == Status.COMPLETED) > ROWS // 4, seconds=60, what="the first ends")
    plant.kill(doomed)
    plant.start_worker(concurrency=2, kinds=())

    def has_ended() -> bool:
        with plant.database.transaction() as session:
            return session.get_one(Bulk, found.id).ended_at is not None

    wait_until(has_ended, seconds=240, what="the end of the bulk")
    wait_until(lambda: plant.unsent() == 0, seconds=120, what="the last mail")
    with plant.database.transaction() as session:
        rows = list(session.scalars(sa.select(BulkRow)))
        ids = list(session.scalars(sa.select(Request.id)))
    assert len(rows) == ROWS and {row.fate for row in rows} == {RowFate.PLACED}
    assert sorted(row.request_id for row in rows if row.request_id) == sorted(ids)
    assert count(plant, Request.status == Status.COMPLETED) == ROWS
    plant.assert_provisioned_once(ids)
    mails = {(recipient, mail["Message-ID"]) for recipient, mail in plant.sink.received}
    to_sender = [recipient for recipient, _ in mails if recipient == plant.manager.email]
    # The receipt of the file and the word of its end; a row has no receipt of its own.
    assert len(to_sender) == 2 and len(mails) == ROWS + 2
    with plant.database.transaction() as session:
        templates = Counter(session.scalars(sa.select(Message.template)))
    assert templates == {"bulk_receipt": 1, "bulk_ended": 1, "order_completed_contact": ROWS}


def test_each_row_about_an_account_is_carried_out_once_though_workers_die(plant: Plant) -> None:
    count_of = 24
    with plant.database.transaction() as session:
        fill_pool(session, count=count_of, first="50000000")
        orders = make_bulk(session, plant.manager, plant.main, sites(count_of))
        orders.send(utc_now())
    plant.start_beat()
    first = plant.start_worker(concurrency=2, kinds=())
    completed = Request.status == Status.COMPLETED
    wait_until(lambda: count(plant, completed) == count_of, seconds=120, what="the accounts")
    with plant.database.transaction() as session:
        # Somebody who can go on with the accounts alone.
        local = make_user(session)
        for account in session.scalars(sa.select(Account).where(Account.main_id == plant.main.id)):
            join(session, local, account)
    with plant.database.transaction() as session:
        files = [_file(session, plant, kind) for kind in (Kind.CHANGE, Kind.DETACH)]
        for file in files:
            file.send(utc_now())
    # While rows become requests, and while these are carried out.
    changes, ids = Request.kind == Kind.CHANGE, [file.id for file in files]
    plant.publish()
    wait_until(lambda: count(plant, changes) >= 1, seconds=60, what="the first row")
    plant.kill(first)
    second = plant.start_worker(concurrency=2, kinds=())
    wait_until(lambda: count(plant, changes, completed) >= 1, seconds=60, what="the first change")
    plant.kill(second)
    plant.start_worker(concurrency=2, kinds=())

    def have_ended() -> bool:
        with plant.database.transaction() as session:
            return all(session.get_one(Bulk, id).ended_at is not None for id in ids)

    wait_until(have_ended, seconds=240, what="the ends of both files")
    wait_until(lambda: plant.unsent() == 0, seconds=120, what="the last mail")
    for kind in (Kind.CHANGE, Kind.DETACH):
        assert count(plant, Request.kind == kind, completed) == count_of
    with plant.database.transaction() as session:
        assert set(session.scalars(sa.select(SipTrunk.channels))) == {7}
        assert set(session.scalars(sa.select(Account.main_id).where(Account.id != plant.main.id))) == {None}
    mails = {(recipient, mail["Message-ID"]) for recipient, mail in plant.sink.received}
    # Of each of the three files the receipt and the word of its end.
    assert len([recipient for recipient, _ in mails if recipient == plant.manager.email]) == 6


def _file(session: Session, plant: Plant, kind: Kind) -> Bulk:
    """Save a file of this kind about all sub-accounts, with the quotes that its page would show; return it."""
    found = session.scalars(sa.select(Account).where(Account.main_id == plant.main.id).order_by(Account.id)).all()
    change = {"sip_user": None, "product_key": "trunk-10", "channels": 7, "effective_on": None}
    asked = change if kind is Kind.CHANGE else {"effective_on": None}
    rows = []
    for line, account in enumerate(found, 2):
        facts = {"customer_number": account.customer_number, **asked}
        draft = quote_row(session, plant.manager, account, kind, facts, "de", utc_now())
        rows.append(CheckedRow(line, {}, None, draft))
    prints = fingerprints_of(VAULT, kind, [{"rows": str(len(rows))}])
    return keep_file(session, plant.manager, plant.main, kind, f"{kind}.csv", prints, rows, utc_now())
