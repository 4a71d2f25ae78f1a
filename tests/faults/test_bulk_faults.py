"""Tests that every row of a bulk file becomes exactly one order although workers are killed in the middle."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.messages.outbox import Message
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from tests.factories import fill_pool, make_bulk, sites
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
